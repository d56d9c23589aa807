package ca

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"muster/catalog"
)

// Config is what the authority is set to
// (https://developer.hashicorp.com/consul/docs/secure-mesh/certificate/built-in#configuration).
type Config struct {
	// LeafTTL is how long a leaf lasts: 1h to a year, default 72h.
	LeafTTL time.Duration
	// LinkTTL is how long the certificate lasts that an old root gives to a new one,
	// at least three times LeafTTL; default a year.
	LinkTTL time.Duration
	// RootTTL is how long the roots last that are made from now on, longer than
	// LinkTTL; default ten years.
	RootTTL time.Duration
	// Rotation is after how long the root that signs gets a successor; 0: shortly
	// before it ends.
	Rotation time.Duration

	// KeyType is ec or rsa, KeyBits 224, 256, 384 or 521, or 2048 or 4096; "" and 0
	// ask for nothing, which is EC with 256 bits for the first root.
	KeyType string
	KeyBits int

	// Key and RootCert, in PEM, are a root that was made elsewhere. With a key alone
	// the authority makes the certificate for it.
	Key      catalog.PrivateKey
	RootCert string

	// MaxPerSecond bounds the leaves that are signed in a second, default 50, and
	// MaxConcurrent those that are signed at the same time; 0 is no bound. Where
	// MaxConcurrent is given MaxPerSecond doesn't count.
	MaxPerSecond  float64
	MaxConcurrent int

	// TestState is what the official client's own tests set, to find it in the answer's
	// State.
	TestState map[string]string

	// ClusterID is the name of the trust domain of a cluster that has none yet; "":
	// the cluster's own ID.
	ClusterID string
}

// DefaultConfig is what holds where nothing is said.
func DefaultConfig() Config {
	return Config{LeafTTL: 72 * time.Hour, LinkTTL: 365 * 24 * time.Hour, RootTTL: 10 * 365 * 24 * time.Hour, MaxPerSecond: 50}
}

const (
	minLeafTTL = time.Hour
	maxLeafTTL = 365 * 24 * time.Hour
	// maxTTL keeps what a certificate says of its end within what X.509 has numbers
	// for, and far from what a time.Duration has.
	maxTTL = 100 * 365 * 24 * time.Hour
)

// Validate says what is wrong with c.
func (c *Config) Validate() error {
	switch {
	case c.LeafTTL < minLeafTTL:
		return invalid("leaf cert TTL must be greater or equal than %s", minLeafTTL)
	case c.LeafTTL > maxLeafTTL:
		return invalid("leaf cert TTL must be less or equal than %s", maxLeafTTL)
	case c.LinkTTL < 3*c.LeafTTL:
		return invalid("intermediate cert TTL must be greater or equal than 3 * LeafCertTTL (>=%s)", 3*c.LeafTTL)
	case c.RootTTL <= c.LinkTTL:
		return invalid("root cert TTL is set and is not greater than intermediate cert ttl. root cert ttl: %s, intermediate cert ttl: %s", c.RootTTL, c.LinkTTL)
	case c.RootTTL > maxTTL:
		return invalid("root cert TTL must be less or equal than %s", maxTTL)
	case c.Rotation != 0 && c.Rotation < c.LeafTTL:
		return invalid("RotationPeriod must be at least LeafCertTTL, %s", c.LeafTTL)
	case c.MaxConcurrent < 0 || c.MaxPerSecond < 0 || math.IsNaN(c.MaxPerSecond) || math.IsInf(c.MaxPerSecond, 0):
		return invalid("CSRMaxPerSecond and CSRMaxConcurrent must be numbers that are not negative")
	case c.RootCert != "" && c.Key == "":
		return invalid("RootCert is given without its PrivateKey")
	}
	return c.validateKey()
}

func (c *Config) validateKey() error {
	switch {
	case c.KeyType == "" && c.KeyBits == 0:
	case c.KeyType == "ec" || c.KeyType == "":
		if !slices.Contains([]int{0, 224, 256, 384, 521}, c.KeyBits) {
			return invalid("EC key length must be one of (224, 256, 384, 521) bits")
		}
	case c.KeyType == "rsa":
		if !slices.Contains([]int{0, 2048, 4096}, c.KeyBits) {
			return invalid("RSA key length must be 2048 or 4096 bits")
		}
	default:
		return invalid("private key type must be either 'ec' or 'rsa'")
	}
	return nil
}

func invalid(format string, args ...any) error {
	return catalog.Errorf(catalog.Invalid, format, args...)
}

// setting is one that a user can give: its name as the API has it, and where its
// value goes.
type setting struct {
	name string
	set  func(c *Config, value any) error
}

// settings are found by their names without underscores and regard to case, as they
// are written in both ways.
var settings = []setting{
	{"LeafCertTTL", duration(func(c *Config) *time.Duration { return &c.LeafTTL })},
	{"IntermediateCertTTL", duration(func(c *Config) *time.Duration { return &c.LinkTTL })},
	{"RootCertTTL", duration(func(c *Config) *time.Duration { return &c.RootTTL })},
	{"RotationPeriod", duration(func(c *Config) *time.Duration { return &c.Rotation })},
	{"PrivateKeyType", text(func(c *Config) *string { return &c.KeyType })},
	{"PrivateKeyBits", whole(func(c *Config) *int { return &c.KeyBits })},
	{"PrivateKey", text(func(c *Config) *catalog.PrivateKey { return &c.Key })},
	{"RootCert", text(func(c *Config) *string { return &c.RootCert })},
	{"CSRMaxPerSecond", func(c *Config, v any) (err error) { c.MaxPerSecond, err = number(v); return err }},
	{"CSRMaxConcurrent", whole(func(c *Config) *int { return &c.MaxConcurrent })},
	{"test_state", texts(func(c *Config) *map[string]string { return &c.TestState })},
	{"ClusterID", text(func(c *Config) *string { return &c.ClusterID })},
}

// Parse reads settings as JSON, or a configuration file, has them. What is not given
// has its default. Shown is what is kept and told of them, under the names that the API
// has: all but the root and its key.
func Parse(given map[string]any) (c Config, shown []byte, err error) {
	c = DefaultConfig()
	told := map[string]any{}
	for name, value := range given {
		i := slices.IndexFunc(settings, func(s setting) bool {
			return strings.EqualFold(plain(s.name), plain(name))
		})
		if i < 0 {
			return c, nil, invalid("the CA's configuration has no setting %q", name)
		}
		s := settings[i]
		if value == nil {
			continue
		}
		if err := s.set(&c, value); err != nil {
			return c, nil, invalid("error decoding config: error decoding '%s': %v", s.name, err)
		}
		if s.name != "PrivateKey" && s.name != "RootCert" {
			told[s.name] = value
		}
	}
	if err := c.Validate(); err != nil {
		return c, nil, err
	}
	for name, ttl := range map[string]time.Duration{"LeafCertTTL": c.LeafTTL, "IntermediateCertTTL": c.LinkTTL, "RootCertTTL": c.RootTTL} {
		if _, written := told[name].(string); !written {
			told[name] = ttl.String()
		}
	}
	shown, err = json.Marshal(told)
	return c, shown, err
}

func plain(name string) string { return strings.ReplaceAll(name, "_", "") }

// ParseJSON reads settings that are a JSON object.
func ParseJSON(object []byte) (c Config, shown []byte, err error) {
	var given map[string]any
	d := json.NewDecoder(bytes.NewReader(object))
	d.UseNumber()
	if err := d.Decode(&given); err != nil {
		return c, nil, invalid("error decoding config: %v", err)
	}
	return Parse(given)
}

// duration takes a text such as 72h, or nanoseconds, as the official client sends a
// time.Duration.
func duration(of func(*Config) *time.Duration) func(*Config, any) error {
	return func(c *Config, v any) (err error) {
		if s, ok := v.(string); ok {
			*of(c), err = time.ParseDuration(s)
			return err
		}
		ns, err := number(v)
		if err != nil || math.Abs(ns) > float64(maxTTL) {
			return fmt.Errorf("%v is no duration such as \"72h\"", v)
		}
		*of(c) = time.Duration(ns)
		return nil
	}
}

func texts(of func(*Config) *map[string]string) func(*Config, any) error {
	return func(c *Config, v any) error {
		object, ok := v.(map[string]any)
		*of(c) = map[string]string{}
		for name, value := range object {
			s, isText := value.(string)
			(*of(c))[name], ok = s, ok && isText
		}
		if !ok {
			return fmt.Errorf("it is no object of texts")
		}
		return nil
	}
}

func text[T ~string](of func(*Config) *T) func(*Config, any) error {
	return func(c *Config, v any) error {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("it is no text")
		}
		*of(c) = T(s)
		return nil
	}
}

func whole(of func(*Config) *int) func(*Config, any) error {
	return func(c *Config, v any) error {
		n, err := number(v)
		if err == nil && (n != math.Trunc(n) || math.Abs(n) > math.MaxInt32) {
			err = fmt.Errorf("%v is no whole number, or too large", v)
		}
		*of(c) = int(n)
		return err
	}
}

// number takes what JSON and configuration files make of one; the command line of
// Consul gives it as a text.
func number(v any) (float64, error) {
	switch n := v.(type) {
	case json.Number:
		return n.Float64()
	case string:
		return json.Number(n).Float64()
	case float64:
		return n, nil
	case int64:
		return float64(n), nil
	case int:
		return float64(n), nil
	}
	return 0, fmt.Errorf("%v is no number", v)
}
