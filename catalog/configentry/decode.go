package configentry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"muster/catalog"
)

// kind is a pointer to the struct of a kind.
type kind interface {
	head() *Head
	// normalize fills in what may be left out and brings the rest to one form.
	normalize()
	// validate says what is wrong, nil if nothing.
	validate() error
}

// Head is what entries of nearly all kinds have.
type Head struct {
	Kind string
	Name string            `json:",omitempty"`
	Meta map[string]string `json:",omitempty"`
}

func (h *Head) head() *Head { return h }

// named says that an entry lacks a name, in the words that Consul has for the kind.
func (h *Head) named() error {
	if h.Name == "" {
		return wrong("Name is required")
	}
	return nil
}

// The kinds that are known.
const (
	KindServiceDefaults    = "service-defaults"
	KindProxyDefaults      = "proxy-defaults"
	KindServiceRouter      = "service-router"
	KindServiceSplitter    = "service-splitter"
	KindServiceResolver    = "service-resolver"
	KindIngressGateway     = "ingress-gateway"
	KindTerminatingGateway = "terminating-gateway"
	KindServiceIntentions  = "service-intentions"
	KindMesh               = "mesh"
	KindExportedServices   = "exported-services"
	KindAPIGateway         = "api-gateway"
	KindBoundAPIGateway    = "bound-api-gateway"
	KindHTTPRoute          = "http-route"
	KindTCPRoute           = "tcp-route"
	KindInlineCertificate  = "inline-certificate"
	KindFileCertificate    = "file-system-certificate"
	KindJWTProvider        = "jwt-provider"
	KindSamenessGroup      = "sameness-group"
)

// kinds makes an empty entry of each kind that can be written.
var kinds = map[string]func() kind{
	KindServiceDefaults:    func() kind { return new(ServiceDefaults) },
	KindProxyDefaults:      func() kind { return new(ProxyDefaults) },
	KindServiceRouter:      func() kind { return new(ServiceRouter) },
	KindServiceSplitter:    func() kind { return new(ServiceSplitter) },
	KindServiceResolver:    func() kind { return new(ServiceResolver) },
	KindIngressGateway:     func() kind { return new(IngressGateway) },
	KindTerminatingGateway: func() kind { return new(TerminatingGateway) },
	KindServiceIntentions:  func() kind { return new(ServiceIntentions) },
	KindMesh:               func() kind { return new(Mesh) },
	KindExportedServices:   func() kind { return new(ExportedServices) },
	KindAPIGateway:         func() kind { return new(APIGateway) },
	KindHTTPRoute:          func() kind { return new(HTTPRoute) },
	KindTCPRoute:           func() kind { return new(TCPRoute) },
	KindInlineCertificate:  func() kind { return new(InlineCertificate) },
	KindFileCertificate:    func() kind { return new(FileCertificate) },
	KindJWTProvider:        func() kind { return new(JWTProvider) },
}

// CheckKind says that there is no such kind, nil where there is. Of two there are
// no entries: what an api-gateway is bound to is said with a data plane, which is
// not here, and sameness groups are a feature of Consul Enterprise.
func CheckKind(kind string) error {
	if kinds[kind] == nil && kind != KindBoundAPIGateway && kind != KindSamenessGroup {
		return catalog.Errorf(catalog.Invalid, "invalid config entry kind: %s", kind)
	}
	return nil
}

// Decode makes an entry of a JSON object. Keys may be in snake case. What only a
// commit or a controller gives (indexes, Hash, Status) is passed over. Errors are of
// kind catalog.Invalid, in Consul's words where it has any.
func Decode(body []byte) (*catalog.ConfigEntry, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var raw any
	if err := dec.Decode(&raw); err != nil {
		if err == io.EOF {
			return nil, undecodable("EOF")
		}
		return nil, undecodable("%v", err)
	}
	object, ok := raw.(map[string]any)
	if !ok {
		return nil, undecodable("'' expected a map, got %s", nameOf(raw))
	}
	kind, entry, err := empty(object)
	if err != nil {
		return nil, err
	}
	for key := range maps.Clone(object) {
		if slices.Contains([]string{"createindex", "modifyindex", "hash", "status"}, plain(key)) {
			delete(object, key)
		}
	}
	if err := fill(entry, object); err != nil {
		return nil, err
	}
	entry.head().Kind = kind
	return Make(entry)
}

// Make gives an entry in the form that is kept, or says what is wrong with it. Its
// Kind is set.
func Make(entry kind) (*catalog.ConfigEntry, error) {
	entry.normalize()
	if err := entry.validate(); err != nil {
		return nil, catalog.Wrap(catalog.Invalid, err)
	}
	data, err := json.Marshal(entry)
	if err != nil {
		return nil, undecodable("%v", err)
	}
	h := entry.head()
	name := h.Name
	if h.Kind == KindMesh {
		name = KindMesh // of which there is one, without a name in its body
	}
	return &catalog.ConfigEntry{Kind: h.Kind, Name: name, Body: data}, nil
}

// empty gives an entry of the kind that an object names.
func empty(object map[string]any) (string, kind, error) {
	value, ok := object["Kind"]
	if !ok {
		value, ok = object["kind"]
	}
	if !ok {
		return "", nil, undecodable("Payload does not contain a kind/Kind key at the top level")
	}
	name, ok := value.(string)
	switch {
	case !ok:
		return "", nil, undecodable("Kind value in payload is not a string")
	case name == KindBoundAPIGateway:
		return "", nil, catalog.Errorf(catalog.Denied, "Permission denied: only writeable by controller")
	case name == KindSamenessGroup:
		return "", nil, catalog.Errorf(catalog.Invalid, "sameness-groups are an enterprise-only feature")
	case kinds[name] == nil:
		return "", nil, undecodable("invalid config entry kind: %s", name)
	}
	return name, kinds[name](), nil
}

// fill sets an entry's fields.
func fill(entry kind, object map[string]any) error {
	c := conformer{types: map[reflect.Type]map[string]reflect.StructField{}}
	conformed := c.conform(object, entry)
	if len(c.unknown) > 0 {
		slices.Sort(c.unknown)
		return undecodable("%v", several(c.unknown))
	}
	if c.err != nil {
		return undecodable("%v", c.err)
	}
	data, err := json.Marshal(conformed)
	if err == nil {
		err = json.Unmarshal(data, entry)
	}
	if err != nil {
		return undecodable("%v", err)
	}
	return nil
}

// Read gives the fields of an entry that is kept. What this release doesn't know of
// it is passed over.
func Read[T any](e *catalog.ConfigEntry) (*T, error) {
	fields := new(T)
	if err := json.Unmarshal(e.Body, fields); err != nil {
		return nil, fmt.Errorf("read config entry %s/%s: %w", e.Kind, e.Name, err)
	}
	return fields, nil
}

// wrong says what is wrong with an entry, in the words that Consul has for it.
func wrong(format string, args ...any) error {
	return catalog.Errorf(catalog.Invalid, format, args...)
}

func undecodable(format string, args ...any) error {
	return catalog.Errorf(catalog.Invalid, "Request decoding failed: "+format, args...)
}

// maxFaults is how many faults are said in full.
const maxFaults = 20

// repeated gives the index of the first element whose key one before it has, -1 if
// there is none.
func repeated[T any, K comparable](list []T, key func(T) K) int {
	seen := make(map[K]bool, len(list))
	for i, e := range list {
		if k := key(e); seen[k] {
			return i
		} else {
			seen[k] = true
		}
	}
	return -1
}

// several says all that is wrong, in the form that clients know from Consul.
func several(faults []string) error {
	if len(faults) == 0 {
		return nil
	}
	what := "1 error occurred"
	if n := len(faults); n > 1 {
		what = fmt.Sprintf("%d errors occurred", n)
		faults = faults[:min(n, maxFaults)]
	}
	return wrong("%s:\n\t* %s\n\n", what, strings.Join(faults, "\n\t* "))
}
