package catalog

import (
	"encoding/json"
	"fmt"
	"time"
)

// CheckDefinition is how an external health checker should run a check that was
// registered through the catalog; agents' own definitions are agent/checks'.
// In JSON its three main durations are strings such as "10s", read also from
// numbers of nanoseconds.
type CheckDefinition struct {
	Interval                       time.Duration       `json:",omitempty"`
	Timeout                        time.Duration       `json:",omitempty"`
	DeregisterCriticalServiceAfter time.Duration       `json:",omitempty"`
	HTTP                           string              `json:",omitempty"`
	TLSServerName                  string              `json:",omitempty"`
	TLSSkipVerify                  bool                `json:",omitempty"`
	Header                         map[string][]string `json:",omitempty"`
	Method                         string              `json:",omitempty"`
	Body                           string              `json:",omitempty"`
	DisableRedirects               bool                `json:",omitempty"`
	TCP                            string              `json:",omitempty"`
	TCPUseTLS                      bool                `json:",omitempty"`
	UDP                            string              `json:",omitempty"`
	H2PING                         string              `json:",omitempty"`
	OSService                      string              `json:",omitempty"`
	H2PingUseTLS                   bool                `json:",omitempty"`
	ScriptArgs                     []string            `json:",omitempty"`
	GRPC                           string              `json:",omitempty"`
	GRPCUseTLS                     bool                `json:",omitempty"`
	AliasNode                      string              `json:",omitempty"`
	AliasService                   string              `json:",omitempty"`
	TTL                            time.Duration       `json:",omitempty"`
}

// noDefinition is shared by the checks that have none, which most do: in a large
// catalog it would stand for a good part of what each takes.
var noDefinition CheckDefinition

// NoDefinition returns the empty definition, which must not be written to.
func NoDefinition() *CheckDefinition { return &noDefinition }

// empty reports whether a definition says nothing; nil says nothing.
func (d *CheckDefinition) empty() bool {
	return d == nil || d == &noDefinition || d.same(&noDefinition)
}

// checkType names the kind of check that a definition describes, "" if none.
func (d *CheckDefinition) checkType() string {
	switch {
	case d.GRPC != "":
		return "grpc"
	case d.HTTP != "":
		return "http"
	case d.TCP != "":
		return "tcp"
	case d.UDP != "":
		return "udp"
	case d.H2PING != "":
		return "h2ping"
	case d.OSService != "":
		return "os_service"
	case d.AliasNode != "" || d.AliasService != "":
		return "alias"
	case len(d.ScriptArgs) > 0:
		return "script"
	case d.TTL != 0:
		return "ttl"
	}
	return ""
}

// plainDefinition is CheckDefinition without its methods.
type plainDefinition CheckDefinition

// MarshalJSON implements json.Marshaler.
func (d CheckDefinition) MarshalJSON() ([]byte, error) {
	if d.empty() {
		return []byte("{}"), nil
	}
	text := func(v time.Duration) string {
		if v == 0 {
			return ""
		}
		return v.String()
	}
	// The outer fields hide those of the same name inside.
	return json.Marshal(struct {
		Interval                       string `json:",omitempty"`
		Timeout                        string `json:",omitempty"`
		DeregisterCriticalServiceAfter string `json:",omitempty"`
		plainDefinition
	}{text(d.Interval), text(d.Timeout), text(d.DeregisterCriticalServiceAfter), plainDefinition(d)})
}

// UnmarshalJSON implements json.Unmarshaler.
func (d *CheckDefinition) UnmarshalJSON(b []byte) error {
	in := struct {
		Interval                       any
		Timeout                        any
		DeregisterCriticalServiceAfter any
		TTL                            any

		IntervalDuration                       any
		TimeoutDuration                        any
		DeregisterCriticalServiceAfterDuration any
		*plainDefinition
	}{plainDefinition: (*plainDefinition)(d)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		from any
		to   *time.Duration
	}{
		// The names that Consul's API has beside them, which yield to them.
		{"IntervalDuration", in.IntervalDuration, &d.Interval},
		{"TimeoutDuration", in.TimeoutDuration, &d.Timeout},
		{"DeregisterCriticalServiceAfterDuration", in.DeregisterCriticalServiceAfterDuration, &d.DeregisterCriticalServiceAfter},
		{"Interval", in.Interval, &d.Interval},
		{"Timeout", in.Timeout, &d.Timeout},
		{"DeregisterCriticalServiceAfter", in.DeregisterCriticalServiceAfter, &d.DeregisterCriticalServiceAfter},
		{"TTL", in.TTL, &d.TTL},
	} {
		if err := setDuration(f.to, f.from); err != nil {
			return fmt.Errorf("check definition: %s: %w", f.name, err)
		}
	}
	return nil
}

// setDuration reads a JSON value as a duration: text with units, or nanoseconds.
func setDuration(to *time.Duration, from any) error {
	switch v := from.(type) {
	case nil:
		return nil
	case string:
		if v == "" {
			*to = 0
			return nil
		}
		parsed, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		*to = parsed
	case float64:
		if v != v || v < -1<<63 || v >= 1<<63 {
			return fmt.Errorf("invalid duration %v", v)
		}
		*to = time.Duration(v)
	default:
		return fmt.Errorf("invalid duration %v", v)
	}
	return nil
}
