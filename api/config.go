package api

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Config is how a Server answers. DefaultConfig gives Consul's defaults.
type Config struct {
	// Datacenter is this agent's own; a request that names another is refused.
	Datacenter string

	// NodeName is the node that ?near=_agent stands for.
	NodeName string

	// MaxBodyBytes bounds the body of a request, MaxValueBytes that of one that sets
	// a value of the key/value store, and the larger of MaxTxnBytes and MaxValueBytes
	// that of a transaction: 512 KiB each.
	MaxBodyBytes  int64
	MaxValueBytes int64
	MaxTxnBytes   int64

	// DefaultQueryTime is how long a blocking query waits that doesn't say so
	// (5 m), MaxQueryTime how long it waits at most (10 m).
	DefaultQueryTime time.Duration
	MaxQueryTime     time.Duration

	// HoldTimeout is how long a request waits for a leader: 7 s.
	HoldTimeout time.Duration

	// MaxActive bounds the reads of the catalog and the writes that are answered
	// at once: 2048. What comes beyond is refused with 503 and Retry-After.
	MaxActive int

	// MaxWaiting bounds the blocking queries and streams that are held at once,
	// in the same way: 32768.
	MaxWaiting int

	// CacheBytes bounds the finished answers that are kept, and on a client agent
	// those that are shared while they are handed out: 32 MiB. Zero keeps and shares none.
	CacheBytes int

	// ResponseHeaders are set on every response.
	ResponseHeaders map[string]string

	// BlockEndpoints are path prefixes that are refused with 403.
	BlockEndpoints []string

	// AllowedOrigins are web origins, such as https://ui.example.com, whose
	// pages may write, besides those that this agent serves itself.
	AllowedOrigins []string
}

// DefaultConfig gives Consul's defaults.
func DefaultConfig() Config {
	return Config{
		Datacenter:       "dc1",
		MaxBodyBytes:     512 << 10,
		MaxValueBytes:    512 << 10,
		MaxTxnBytes:      512 << 10,
		DefaultQueryTime: 5 * time.Minute,
		MaxQueryTime:     10 * time.Minute,
		HoldTimeout:      7 * time.Second,
		MaxActive:        2048,
		MaxWaiting:       32768,
		CacheBytes:       32 << 20,
	}
}

// Validate says everything that is wrong with the configuration.
func (c Config) Validate() error {
	var faults []error
	positive := func(name string, ok bool) {
		if !ok {
			faults = append(faults, fmt.Errorf("api: %s must be positive", name))
		}
	}
	if c.Datacenter == "" {
		faults = append(faults, errors.New("api: Datacenter must be set"))
	}
	positive("MaxBodyBytes", c.MaxBodyBytes > 0)
	positive("MaxValueBytes", c.MaxValueBytes > 0)
	positive("MaxTxnBytes", c.MaxTxnBytes > 0)
	positive("DefaultQueryTime", c.DefaultQueryTime > 0)
	positive("MaxQueryTime", c.MaxQueryTime > 0)
	positive("HoldTimeout", c.HoldTimeout > 0)
	positive("MaxActive", c.MaxActive > 0)
	positive("MaxWaiting", c.MaxWaiting > 0)
	if c.CacheBytes < 0 {
		faults = append(faults, errors.New("api: CacheBytes must not be negative"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.ResponseHeaders)) {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(c.ResponseHeaders[name]) {
			faults = append(faults, fmt.Errorf("api: response header %q is not a valid HTTP header", name))
		}
	}
	for _, prefix := range c.BlockEndpoints {
		if !strings.HasPrefix(prefix, "/") {
			faults = append(faults, fmt.Errorf("api: blocked endpoint %q must begin with /", prefix))
		}
	}
	return errors.Join(faults...)
}

// limit is the size that a body may have, in bytes.
func (c *Config) limit(l Limit) int64 {
	switch l {
	case ValueLimit:
		return c.MaxValueBytes
	case TxnLimit:
		return max(c.MaxTxnBytes, c.MaxValueBytes)
	}
	return c.MaxBodyBytes
}
