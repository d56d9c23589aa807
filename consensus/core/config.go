package core

import (
	"errors"
	"fmt"
)

// DefaultConfig gives the constants a server uses unless told otherwise. ID and
// Rand are the caller's to set.
func DefaultConfig() Config {
	return Config{
		MaxAppendBytes:      1 << 20,
		MaxInflight:         256,
		MaxInflightBytes:    8 << 20,
		MaxUncommittedBytes: 64 << 20,
		CacheBytes:          16 << 20,
	}
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	d := DefaultConfig()
	for _, f := range []struct {
		field    *int
		standard int
	}{
		{&c.MaxAppendBytes, d.MaxAppendBytes},
		{&c.MaxInflight, d.MaxInflight},
		{&c.MaxInflightBytes, d.MaxInflightBytes},
		{&c.MaxUncommittedBytes, d.MaxUncommittedBytes},
		{&c.CacheBytes, d.CacheBytes},
	} {
		if *f.field == 0 {
			*f.field = f.standard
		}
	}
	return c
}

// Validate says everything that is wrong with the Config.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("raft config: "+format, args...))
		}
	}
	check(c.ID != "", "the server has no ID")
	check(c.Rand != nil, "no source of randomness")
	check(c.MaxAppendBytes > 0 && c.MaxInflight > 0 && c.MaxInflightBytes > 0 && c.MaxUncommittedBytes > 0 && c.CacheBytes > 0,
		"limits must be positive: append %d bytes, inflight %d messages and %d bytes, uncommitted %d bytes, cache %d bytes",
		c.MaxAppendBytes, c.MaxInflight, c.MaxInflightBytes, c.MaxUncommittedBytes, c.CacheBytes)
	return errors.Join(errs...)
}
