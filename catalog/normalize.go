package catalog

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Normalize fills in what a request may leave out: IDs that default to names,
// weights, the state and type of a check, the node of a check. Where two checks
// have one ID the last counts. It changes the receiver and what it points to.
// Validate is to follow.
func (r *Register) Normalize() {
	if r.Service != nil {
		r.Service.Normalize()
	}
	if len(r.Checks) == 0 {
		r.Checks = nil
		return
	}
	last := make(map[string]int, len(r.Checks))
	for i := range r.Checks {
		c := &r.Checks[i]
		if c.Node == "" {
			c.Node = r.Node.Node
		}
		c.Normalize()
		last[Fold(c.CheckID)] = i
	}
	kept := r.Checks[:0]
	for i, c := range r.Checks {
		if last[Fold(c.CheckID)] == i {
			kept = append(kept, c)
		}
	}
	r.Checks = kept
}

// Normalize fills in what a definition of an instance may leave out.
func (s *Service) Normalize() {
	if s.ID == "" {
		s.ID = s.Service
	}
	if s.Tags == nil {
		s.Tags = []string{}
	}
	if w := s.Weights; w.Passing < 1 || w.Passing > math.MaxUint16 || w.Warning < 0 || w.Warning > math.MaxUint16 {
		s.Weights = Weights{Passing: 1, Warning: 1}
	}
	if s.Share(); s.Proxy != NoProxy() {
		s.Proxy.Config = normalConfig(s.Proxy.Config)
		for i := range s.Proxy.Upstreams {
			s.Proxy.Upstreams[i].Config = normalConfig(s.Proxy.Upstreams[i].Config)
		}
		for i := range s.Proxy.EnvoyExtensions {
			s.Proxy.EnvoyExtensions[i].Arguments = normalConfig(s.Proxy.EnvoyExtensions[i].Arguments)
		}
	}
	if side := s.Connect.SidecarService; side != nil {
		side.Normalize()
	}
	s.Indexes = Indexes{}
}

// Share has an instance refer to the empty Proxy that all have in common, where it
// has one of its own as decoding makes it.
func (s *Service) Share() {
	if s.Proxy.empty() {
		s.Proxy = NoProxy()
	}
}

// Normalize fills in what a definition of a check may leave out.
func (c *Check) Normalize() {
	if c.CheckID == "" {
		c.CheckID = c.Name
	}
	if c.Status == "" {
		c.Status = StatusCritical
	}
	c.Share()
	if c.Type == "" {
		c.Type = c.Definition.checkType()
	}
	if c.ServiceTags == nil {
		c.ServiceTags = []string{}
	}
	// What a check prints is for people; it must not keep its result from them.
	if !utf8.ValidString(c.Output) {
		c.Output = strings.ToValidUTF8(c.Output, "\uFFFD")
	}
	c.Indexes = Indexes{}
}

// Share has a check refer to texts that all checks have in common, where it has a copy
// of its own as decoding makes them.
func (c *Check) Share() {
	if c.Definition.empty() {
		c.Definition = NoDefinition()
	}
	for _, status := range []string{StatusPassing, StatusWarning, StatusCritical} {
		if c.Status == status {
			c.Status = status
		}
	}
}

// normalConfig brings free-form configuration to the types that Proxy.Config
// promises. What has none of them stays, for Validate to refuse.
func normalConfig(m map[string]any) map[string]any {
	if len(m) == 0 {
		return nil
	}
	return normalValue(m, 0).(map[string]any)
}

func normalValue(v any, depth int) any {
	if depth > maxDepth {
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, e := range v {
			out[k] = normalValue(e, depth+1)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = normalValue(e, depth+1)
		}
		return out
	case int:
		return int64(v)
	case int32:
		return int64(v)
	case uint32:
		return int64(v)
	case uint64:
		if v > math.MaxInt64 {
			return float64(v)
		}
		return int64(v)
	case float32:
		return float64(v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
	}
	return v
}

// checkValue says what in a normalised value can't be kept, nil if nothing.
func checkValue(v any, depth int) error {
	if depth > maxConfigDepth {
		return fmt.Errorf("is nested deeper than %d", maxConfigDepth)
	}
	switch v := v.(type) {
	case nil, bool, int64:
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("has the number %v, which JSON can't hold", v)
		}
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("has text that is not valid UTF-8")
		}
	case []any:
		for _, e := range v {
			if err := checkValue(e, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, e := range v {
			if !utf8.ValidString(k) {
				return fmt.Errorf("has a key that is not valid UTF-8")
			}
			if err := checkValue(e, depth+1); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("has a value of type %T, which JSON can't hold", v)
	}
	return nil
}
