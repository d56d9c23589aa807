package archive

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"muster/catalog/state"
)

// Stat is how much of an archive's state records of one sort take.
type Stat struct {
	Name  string
	Sum   int64 // bytes
	Count int
}

// Report is what Inspect finds.
type Report struct {
	Meta  Meta
	Stats []Stat // by sort of record, the largest first
	KV    []Stat // by prefix of the key, the largest first; nil unless asked for
}

// KVDetails asks for how much the entries below each prefix take.
type KVDetails struct {
	Depth  int    // how many parts of a key, which "/" separates, make a prefix
	Filter string // only keys that begin with it
}

// Inspect reads a whole archive and verifies it. With details it also looks at
// the keys of entries.
func Inspect(in io.Reader, details *KVDetails) (*Report, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, err
	}
	sorts, prefixes := map[string]*Stat{}, map[string]*Stat{}
	err = state.Inspect(r, func(rec state.Record) {
		count(sorts, rec.Name, rec.Size)
		if details != nil && rec.KV != nil && strings.HasPrefix(rec.KV.Key, details.Filter) {
			count(prefixes, prefixOf(rec.KV.Key, details.Depth), rec.Size)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", stateName, err)
	}
	if err := r.Verify(); err != nil {
		return nil, err
	}
	report := &Report{Meta: r.Meta, Stats: largest(sorts)}
	if details != nil {
		report.KV = largest(prefixes)
	}
	return report, nil
}

func count(stats map[string]*Stat, name string, size int) {
	s := stats[name]
	if s == nil {
		s = &Stat{Name: name}
		stats[name] = s
	}
	s.Sum += int64(size)
	s.Count++
}

// prefixOf gives the first parts of a key, at most depth.
func prefixOf(key string, depth int) string {
	parts := strings.SplitN(key, "/", depth+1)
	return strings.Join(parts[:min(depth, len(parts))], "/")
}

func largest(stats map[string]*Stat) []Stat {
	all := []Stat{}
	for s := range maps.Values(stats) {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Stat) int {
		return cmp.Or(cmp.Compare(b.Sum, a.Sum), cmp.Compare(a.Name, b.Name))
	})
	return all
}
