package configentry

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ServiceIntentions says who may connect to a service, "*" for all services
// (https://developer.hashicorp.com/consul/docs/reference/config-entry/service-intentions).
type ServiceIntentions struct {
	Head
	Sources []IntentionSource
	JWT     *JWTRequirement `json:",omitempty"`
}

// IntentionSource says what holds for one service that connects, "*" for all:
// Action, or for requests of HTTP the first of Permissions that matches. It is kept
// with its Precedence, which follows from the two names.
type IntentionSource struct {
	Name        string
	Action      string       `json:",omitempty"`
	Permissions []Permission `json:",omitempty"`
	Precedence  int
	Type        string
	Description string `json:",omitempty"`
	Peer        string `json:",omitempty"`
	// LegacyID is the ID of one that was made by itself; the others are its own.
	LegacyID         string            `json:",omitempty"`
	LegacyMeta       map[string]string `json:",omitempty"`
	LegacyCreateTime *time.Time        `json:",omitempty"`
	LegacyUpdateTime *time.Time        `json:",omitempty"`
	// SamenessGroup is a feature of Consul Enterprise.
	SamenessGroup string `json:",omitempty"`
}

// Permission says what holds for requests of HTTP that match.
type Permission struct {
	Action string
	HTTP   *PermissionMatch `json:",omitempty"`
	JWT    *JWTRequirement  `json:",omitempty"`
}

// PermissionMatch is what a request must be like: all that is said of it.
type PermissionMatch struct {
	PathExact  string             `json:",omitempty"`
	PathPrefix string             `json:",omitempty"`
	PathRegex  string             `json:",omitempty"`
	Header     []PermissionHeader `json:",omitempty"`
	Methods    []string           `json:",omitempty"`
}

// PermissionHeader is what a header must be like.
type PermissionHeader struct {
	Name       string
	Present    bool   `json:",omitempty"`
	Exact      string `json:",omitempty"`
	Prefix     string `json:",omitempty"`
	Suffix     string `json:",omitempty"`
	Contains   string `json:",omitempty"`
	Regex      string `json:",omitempty"`
	Invert     bool   `json:",omitempty"`
	IgnoreCase bool   `json:",omitempty"`
}

// JWTRequirement is what a request's token must say.
type JWTRequirement struct {
	Providers []JWTProviderRequirement `json:",omitempty"`
}

// JWTProviderRequirement is what the token of one issuer must say.
type JWTProviderRequirement struct {
	Name         string     `json:",omitempty"`
	VerifyClaims []JWTClaim `json:",omitempty"`
}

// JWTClaim is a value at a path within a token.
type JWTClaim struct {
	Path  []string `json:",omitempty"`
	Value string   `json:",omitempty"`
}

// What an intention says of connections, and who keeps it.
const (
	Allow       = "allow"
	Deny        = "deny"
	intentionBy = "consul"

	// Wildcard stands for all services.
	Wildcard = "*"

	maxDescription = 512
	maxLegacyMeta  = 64
)

// Precedence ranks an intention by how exact its names are, highest first.
func Precedence(source, destination string) int {
	rank := 9
	if destination == Wildcard {
		rank -= 3
	}
	if source == Wildcard {
		rank--
	}
	return rank
}

// Put sets what holds for a source. One that has an ID keeps it.
func (e *ServiceIntentions) Put(s IntentionSource) {
	for i, old := range e.Sources {
		if old.Name == s.Name && old.Peer == s.Peer {
			s.LegacyID, s.LegacyMeta = old.LegacyID, old.LegacyMeta
			s.LegacyCreateTime, s.LegacyUpdateTime = old.LegacyCreateTime, old.LegacyUpdateTime
			e.Sources[i] = s
			return
		}
	}
	e.Sources = append(e.Sources, s)
}

// Remove takes a source out, if it is there.
func (e *ServiceIntentions) Remove(name, peer string) {
	e.Sources = slices.DeleteFunc(e.Sources, func(s IntentionSource) bool { return s.Name == name && s.Peer == peer })
}

func (e *ServiceIntentions) normalize() {
	for i := range e.Sources {
		s := &e.Sources[i]
		s.Precedence = Precedence(s.Name, e.Name)
		if s.Type == "" {
			s.Type = intentionBy
		}
		for _, p := range s.Permissions {
			if p.HTTP != nil {
				for j, m := range p.HTTP.Methods {
					p.HTTP.Methods[j] = strings.ToUpper(m)
				}
			}
		}
	}
	slices.SortStableFunc(e.Sources, func(a, b IntentionSource) int { return b.Precedence - a.Precedence })
}

func (e *ServiceIntentions) validate() error {
	if err := e.named(); err != nil {
		return err
	}
	if partly(e.Name) {
		return wrong("Name: wildcard character '*' cannot be used with partial values")
	}
	if e.JWT != nil {
		for _, p := range e.JWT.Providers {
			if p.Name == "" {
				return several([]string{"JWT provider name is required"})
			}
		}
	}
	if len(e.Sources) == 0 {
		return wrong("At least one source is required")
	}
	for i, s := range e.Sources {
		if fault := s.fault(e.Name == Wildcard); fault != "" {
			return wrong("Sources[%d]%s", i, fault)
		}
	}
	if i := repeated(e.Sources, func(s IntentionSource) [2]string { return [2]string{s.Name, s.Peer} }); i >= 0 {
		return wrong("Sources[%d] defines %q more than once", i, e.Sources[i].Name)
	}
	return nil
}

// partly says whether a name has a wildcard among other letters.
func partly(name string) bool { return name != Wildcard && strings.Contains(name, Wildcard) }

func validAction(a string) bool { return a == Allow || a == Deny }

func (s *IntentionSource) fault(all bool) string {
	switch {
	case s.Name == "":
		return ".Name is required"
	case partly(s.Name):
		return ".Name: wildcard character '*' cannot be used with partial values"
	case s.SamenessGroup != "":
		return ".SamenessGroup: Sameness groups are a Consul Enterprise feature."
	case strings.Contains(s.Peer, Wildcard):
		return ".Peer: cannot use wildcard '*' in peer"
	case s.Type != intentionBy:
		return ".Type must be set to 'consul'"
	case len(s.Description) > maxDescription:
		return fmt.Sprintf(".Description exceeds maximum length %d", maxDescription)
	case len(s.LegacyMeta) > maxLegacyMeta:
		return fmt.Sprintf(".Meta exceeds maximum element count %d", maxLegacyMeta)
	case len(s.Permissions) == 0 && !validAction(s.Action):
		return ".Action must be set to 'allow' or 'deny'"
	case len(s.Permissions) > 0 && s.Action != "":
		return ".Action must be omitted if Permissions are specified"
	case len(s.Permissions) > 0 && all:
		return ".Permissions cannot be specified on intentions with wildcarded destinations"
	}
	for i, p := range s.Permissions {
		if fault := p.fault(); fault != "" {
			return fmt.Sprintf(".Permissions[%d]%s", i, fault)
		}
	}
	return ""
}

func (p *Permission) fault() string {
	switch {
	case !validAction(p.Action):
		return ".Action must be set to 'allow' or 'deny'"
	case p.HTTP == nil && p.JWT == nil:
		return ".HTTP is required"
	case p.HTTP == nil:
		return ""
	}
	m := p.HTTP
	if fault := pathFault(".", m.PathExact, m.PathPrefix, m.PathRegex); fault != "" {
		return ".HTTP" + fault
	}
	for i, h := range m.Header {
		switch {
		case h.Name == "":
			return fmt.Sprintf(".HTTP.Header[%d] missing required Name field", i)
		case set(h.Exact, h.Prefix, h.Suffix, h.Contains, h.Regex)+count(h.Present) != 1:
			return fmt.Sprintf(".HTTP.Header[%d] should only contain one of Present, Exact, Prefix, Suffix, Contains, or Regex", i)
		}
	}
	for _, method := range m.Methods {
		if method == "" || !slices.Contains(methods, method) {
			return fmt.Sprintf(".HTTP.Methods contains an invalid method %q", method)
		}
	}
	if i := repeated(m.Methods, strings.Clone); i >= 0 {
		return fmt.Sprintf(".HTTP.Methods contains %q more than once", m.Methods[i])
	}
	return ""
}
