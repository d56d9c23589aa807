package checks

import "strings"

// DefaultOutputMaxSize bounds a check's output in bytes.
const DefaultOutputMaxSize = 4096

// outputMaxSize is the bound of a check whose own is given: the lower one, where
// it has one.
func (c Config) outputMaxSize(own int) int {
	if own > 0 {
		return min(own, c.OutputMaxSize)
	}
	return c.OutputMaxSize
}

// clean makes output fit for JSON, so that what an agent holds and what comes
// back from the catalog are the same bytes.
func clean(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
