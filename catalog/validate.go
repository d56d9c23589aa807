package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits on what the catalog takes. Their unit is bytes.
const (
	MaxNameLen      = 512  // of names and IDs
	MaxTagLen       = 4096 // of one tag
	MaxAddressLen   = 1024
	MaxTextLen      = 64 << 10 // of notes and output
	MaxMetaPairs    = 64
	MaxMetaKeyLen   = 128
	MaxMetaValueLen = 512

	maxConfigDepth = 32 // of free-form configuration; below the encoding's maxDepth
)

// Validate says everything that is wrong with a normalised register, as one
// *Error of kind Invalid, or returns nil.
func (r *Register) Validate() error {
	switch {
	case r.Node.Node == "":
		return Errorf(Invalid, "Must provide node")
	case r.Node.Address == "" && !r.SkipNodeUpdate:
		return Errorf(Invalid, "Must provide address if SkipNodeUpdate is not set")
	}
	var faults []error
	faults = append(faults, r.Node.Validate())
	if s := r.Service; s != nil {
		faults = append(faults, s.validateOn(r.Node.Node))
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		if Fold(c.Node) != Fold(r.Node.Node) {
			faults = append(faults, Errorf(Invalid, "Node '%s' for check '%s' doesn't match register request node '%s'",
				clip(c.Node), clip(c.CheckID), clip(r.Node.Node)))
		}
		faults = append(faults, c.Validate())
	}
	return invalid(faults)
}

// Validate says everything that is wrong with a deregister, as one *Error of
// kind Invalid, or returns nil.
func (d *Deregister) Validate() error {
	if d.Node == "" {
		return Errorf(Invalid, "Must provide node")
	}
	return invalid([]error{
		checkName("node name", d.Node),
		checkText("service ID", d.ServiceID, MaxNameLen),
		checkText("check ID", d.CheckID, MaxNameLen),
	})
}

// Validate says what is wrong with a node, nil if nothing.
func (n *Node) Validate() error {
	faults := []error{
		checkName("node name", n.Node),
		checkText("node address", n.Address, MaxAddressLen),
		checkText("datacenter", n.Datacenter, MaxNameLen),
	}
	if n.ID != "" {
		faults = append(faults, checkUUID(n.ID))
	}
	for k, v := range sorted(n.TaggedAddresses) {
		faults = append(faults, checkText("tagged address name", k, MaxNameLen), checkText("tagged address", v, MaxAddressLen))
	}
	if len(n.Meta) > MaxMetaPairs {
		faults = append(faults, fmt.Errorf("node metadata has %d pairs; at most %d are allowed", len(n.Meta), MaxMetaPairs))
	}
	for k, v := range sorted(n.Meta) {
		faults = append(faults, checkText("node metadata key", k, MaxMetaKeyLen), checkText("node metadata value of "+clip(k), v, MaxMetaValueLen))
	}
	if n.Locality != nil {
		faults = append(faults, n.Locality.Validate())
	}
	return invalid(faults)
}

// Validate says what is wrong with a place, nil if nothing.
func (l Locality) Validate() error {
	faults := []error{
		checkText("locality region", l.Region, MaxNameLen),
		checkText("locality zone", l.Zone, MaxNameLen),
	}
	if l.Zone != "" && l.Region == "" {
		faults = append(faults, errors.New("zone cannot be set without region"))
	}
	return invalid(faults)
}

// Validate says what is wrong with an instance, nil if nothing.
func (s *Service) Validate() error { return s.validateOn("") }

func (s *Service) validateOn(node string) error {
	if s.Service == "" {
		if s.ID != "" {
			return Errorf(Invalid, "Must provide service name (Service.Service) when service ID is provided")
		}
		return Errorf(Invalid, "Must provide service name (Service.Service)")
	}
	if s.Address == "0.0.0.0" || s.Address == "::" || s.Address == "[::]" {
		return Errorf(Invalid, "Invalid service address")
	}
	faults := []error{
		checkName("service name", s.Service),
		checkName("service ID", s.ID),
		checkText("service kind", s.Kind, MaxNameLen),
		checkText("service address", s.Address, MaxAddressLen),
		checkText("service socket path", s.SocketPath, MaxAddressLen),
		checkText("peer name", s.PeerName, MaxNameLen),
	}
	for _, tag := range s.Tags {
		faults = append(faults, checkText("tag", tag, MaxTagLen))
	}
	for k, a := range sorted(s.TaggedAddresses) {
		faults = append(faults, checkText("tagged address name", k, MaxNameLen), checkText("tagged address", a.Address, MaxAddressLen))
	}
	if err := checkServiceMeta(s.Meta); err != nil {
		whose := "" // an agent's own registration names no node, as Consul's
		if node != "" {
			whose = fmt.Sprintf(" for node %s and serviceID %s", clip(node), clip(s.ID))
		}
		faults = append(faults, Errorf(Invalid, "Invalid Service Meta%s: %v", whose, err))
	}
	faults = append(faults, s.Proxy.validate())
	if side := s.Connect.SidecarService; side != nil && side.Service != "" {
		if side.Connect.SidecarService != nil {
			faults = append(faults, errors.New("a sidecar service can't have a sidecar itself"))
		} else {
			faults = append(faults, side.validateOn(node))
		}
	}
	if err := invalid(faults); err != nil {
		return err
	}
	return s.ValidateMesh()
}

// validate checks the parts of a proxy that hold free text.
func (p *Proxy) validate() error {
	if p == nil {
		return nil
	}
	faults := []error{
		checkText("Proxy.DestinationServiceName", p.DestinationServiceName, MaxNameLen),
		checkText("Proxy.DestinationServiceID", p.DestinationServiceID, MaxNameLen),
	}
	if err := checkValue(p.Config, 0); p.Config != nil && err != nil {
		faults = append(faults, fmt.Errorf("Proxy.Config %w", err))
	}
	for i, u := range p.Upstreams {
		faults = append(faults, checkText("Proxy.Upstreams.DestinationName", u.DestinationName, MaxNameLen))
		if err := checkValue(u.Config, 0); u.Config != nil && err != nil {
			faults = append(faults, fmt.Errorf("Proxy.Upstreams[%d].Config %w", i, err))
		}
	}
	for i, x := range p.EnvoyExtensions {
		if err := checkValue(x.Arguments, 0); x.Arguments != nil && err != nil {
			faults = append(faults, fmt.Errorf("Proxy.EnvoyExtensions[%d].Arguments %w", i, err))
		}
	}
	return errors.Join(faults...)
}

// Validate says what is wrong with a normalised check, nil if nothing.
func (c *Check) Validate() error {
	if c.CheckID == "" {
		return Errorf(Invalid, "Must provide a check's CheckID or Name")
	}
	faults := []error{
		checkName("check ID", c.CheckID),
		checkText("check name", c.Name, MaxNameLen),
		checkText("check notes", c.Notes, MaxTextLen),
		checkText("check output", c.Output, MaxTextLen),
		checkText("check service ID", c.ServiceID, MaxNameLen),
		checkText("check type", c.Type, MaxNameLen),
		checkText("check interval", c.Interval, MaxNameLen),
		checkText("check timeout", c.Timeout, MaxNameLen),
	}
	switch c.Status {
	case StatusPassing, StatusWarning, StatusCritical:
	default:
		faults = append(faults, Errorf(Invalid, "Invalid check status: %q; it must be %s, %s or %s",
			clip(c.Status), StatusPassing, StatusWarning, StatusCritical))
	}
	return invalid(faults)
}

// checkServiceMeta applies Consul's rules for the metadata of instances.
func checkServiceMeta(meta map[string]string) error {
	for k := range sorted(meta) {
		if strings.HasPrefix(k, "consul-") {
			return badPair(k, meta[k], "Key prefix 'consul-' is reserved for internal use")
		}
	}
	return checkMeta(meta)
}

// checkMeta applies Consul's rules for metadata, as they are where they are asked for.
func checkMeta(meta map[string]string) error {
	if len(meta) > MaxMetaPairs {
		return Errorf(Invalid, "Node metadata cannot contain more than %d key/value pairs", MaxMetaPairs)
	}
	for k, v := range sorted(meta) {
		fault := ""
		switch {
		case k == "":
			fault = "Key cannot be blank"
		case strings.ContainsFunc(k, func(r rune) bool { return !metaKeyRune(r) }):
			fault = "Key contains invalid characters"
		case len(k) > MaxMetaKeyLen:
			fault = fmt.Sprintf("Key is too long (limit: %d characters)", MaxMetaKeyLen)
		case len(v) > MaxMetaValueLen:
			fault = fmt.Sprintf("Value is too long (limit: %d characters)", MaxMetaValueLen)
		case !utf8.ValidString(v):
			fault = "Value is not valid UTF-8"
		default:
			continue
		}
		return badPair(k, v, fault)
	}
	return nil
}

func badPair(key, value, fault string) error {
	return Errorf(Invalid, "Couldn't load metadata pair ('%s', '%s'): %s", clip(key), clip(value), fault)
}

func metaKeyRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// checkName checks a name or an ID that must be there.
func checkName(what, s string) error {
	if s == "" {
		return fmt.Errorf("%s must not be empty", what)
	}
	return checkText(what, s, MaxNameLen)
}

// checkText checks text that may be empty. NUL separates names in the store's
// keys, and no client can mean it.
func checkText(what, s string, limit int) error {
	switch {
	case len(s) > limit:
		return fmt.Errorf("%s is %d bytes long; at most %d are allowed", what, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Errorf("%s is not valid UTF-8", what)
	case strings.IndexByte(s, 0) >= 0:
		return fmt.Errorf("%s contains a NUL character", what)
	}
	return nil
}

// checkUUID checks the ID of a node.
func checkUUID(id string) error {
	if len(id) != 36 {
		return Errorf(Invalid, "Bad node ID: uuid string is wrong length")
	}
	for i := range len(id) {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if c := id[i]; dash != (c == '-') || !dash && !hexDigit(c) {
			return Errorf(Invalid, "Bad node ID: uuid is improperly formatted")
		}
	}
	return nil
}

func hexDigit(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// invalid joins faults to one *Error of kind Invalid, nil if there are none.
func invalid(faults []error) error {
	if err := errors.Join(faults...); err != nil {
		return &Error{Kind: Invalid, Text: err.Error()}
	}
	return nil
}

// clip shortens what a caller sent to what a message can show.
func clip(s string) string {
	const limit = 128
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:limit], "\uFFFD") + "..."
}

// sorted ranges over a map by key, so that a message doesn't depend on the
// order of a map.
func sorted[V any](m map[string]V) func(yield func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
