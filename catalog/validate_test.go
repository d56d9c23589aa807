package catalog

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
)

// valid is a normalised register that has nothing wrong; changes follow.
func valid(changes ...func(*Register)) *Register {
	r := &Register{Node: Node{Node: "n1", Address: "10.0.0.1"}}
	for _, change := range changes {
		change(r)
	}
	r.Normalize()
	return r
}

func on(s Service) func(*Register) { return func(r *Register) { r.Service = &s } }

func with(c Check) func(*Register) { return func(r *Register) { r.Checks = append(r.Checks, c) } }

func TestRegister_Validate(t *testing.T) {
	long := strings.Repeat("x", MaxNameLen+1)
	node := func(change func(*Node)) func(*Register) { return func(r *Register) { change(&r.Node) } }
	for _, c := range []struct {
		name   string
		change func(*Register)
		want   string // in the error; "" for none
	}{
		{"plain", node(func(*Node) {}), ""},
		{"no node", node(func(n *Node) { n.Node = "" }), "Must provide node"},
		{"no address", node(func(n *Node) { n.Address = "" }), "Must provide address if SkipNodeUpdate is not set"},
		{"no address and none needed", func(r *Register) { r.Node.Address, r.SkipNodeUpdate = "", true }, ""},
		{"long node", node(func(n *Node) { n.Node = long }), "node name is 513 bytes long; at most 512 are allowed"},
		{"NUL", node(func(n *Node) { n.Node = "a\x00" }), "node name contains a NUL character"},
		{"UTF-8", node(func(n *Node) { n.Address = "\xff" }), "node address is not valid UTF-8"},
		{"short ID", node(func(n *Node) { n.ID = "zz" }), "Bad node ID: uuid string is wrong length"},
		{"odd ID", node(func(n *Node) { n.ID = "aaaaaaaa-1111-1111-1111-11111111111g" }), "Bad node ID: uuid is improperly formatted"},
		{"ID", node(func(n *Node) { n.ID = "aaaaaaaa-1111-1111-1111-11111111111F" }), ""},
		{"node meta", node(func(n *Node) { n.Meta = map[string]string{"consul-x": "a b"} }), ""},
		{"long node meta", node(func(n *Node) { n.Meta = map[string]string{"k": long} }), "node metadata value of k is 513 bytes"},
		{"place", node(func(n *Node) { n.Locality = &Locality{Region: "r", Zone: "z"} }), ""},
		{"zone of nowhere", node(func(n *Node) { n.Locality = &Locality{Zone: "z"} }), "zone cannot be set without region"},
		{"two faults", node(func(n *Node) { n.Node, n.Address = long, "\xff" }), "node name is 513 bytes long; at most 512 are allowed\nnode address is not valid UTF-8"},

		{"service", on(Service{Service: "web"}), ""},
		{"service without anything", on(Service{}), "Must provide service name (Service.Service)"},
		{"service without name", on(Service{ID: "a"}), "Must provide service name (Service.Service) when service ID is provided"},
		{"long service", on(Service{Service: long}), "service name is 513 bytes"},
		{"any address", on(Service{Service: "w", Address: "0.0.0.0"}), "Invalid service address"},
		{"any address 6", on(Service{Service: "w", Address: "::"}), "Invalid service address"},
		{"huge tag", on(Service{Service: "w", Tags: []string{strings.Repeat("x", MaxTagLen+1)}}), "tag is 4097 bytes"},
		{"meta key", on(Service{Service: "w", Meta: map[string]string{"a b": "c"}}),
			"Invalid Service Meta for node n1 and serviceID w: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters"},
		{"meta blank", on(Service{Service: "w", Meta: map[string]string{"": "c"}}), "Key cannot be blank"},
		{"meta reserved", on(Service{Service: "w", Meta: map[string]string{"consul-x": "c"}}), "Key prefix 'consul-' is reserved for internal use"},
		{"meta long key", on(Service{Service: "w", Meta: map[string]string{strings.Repeat("x", 129): "c"}}), "Key is too long (limit: 128 characters)"},
		{"meta long value", on(Service{Service: "w", Meta: map[string]string{"k": long}}), "Value is too long (limit: 512 characters)"},
		{"proxy", on(Service{Service: "p", Kind: KindConnectProxy, Port: 1, Proxy: &Proxy{DestinationServiceName: "w"}}), ""},
		{"proxy of nothing", on(Service{Service: "p", Kind: KindConnectProxy}),
			"2 errors occurred:\n\t* Port or SocketPath must be set for a connect-proxy\n\t* Proxy.DestinationServiceName must be non-empty for Connect proxy services\n\n"},
		{"proxy on a socket", on(Service{Service: "p", Kind: KindConnectProxy, SocketPath: "/s", Proxy: &Proxy{DestinationServiceName: "w"}}), ""},
		{"native proxy", on(Service{Service: "p", Kind: KindConnectProxy, Port: 1, Connect: Connect{Native: true}, Proxy: &Proxy{DestinationServiceName: "w"}}),
			"1 error occurred:\n\t* A Proxy cannot also be Connect Native, only typical services\n\n"},
		{"native without port", on(Service{Service: "w", Connect: Connect{Native: true}}),
			"1 error occurred:\n\t* Port or SocketPath must be set for a Connect native service.\n\n"},
		{"zone", on(Service{Service: "w", Locality: &Locality{Zone: "z"}}), "1 error occurred:\n\t* zone cannot be set without region\n\n"},
		{"NaN", on(Service{Service: "w", Proxy: &Proxy{Config: map[string]any{"a": []any{math.NaN()}}}}), "Proxy.Config has the number NaN"},
		{"odd type", on(Service{Service: "w", Proxy: &Proxy{Upstreams: []Upstream{{Config: map[string]any{"a": struct{}{}}}}}}), "Proxy.Upstreams[0].Config has a value of type struct {}"},
		{"deep config", on(Service{Service: "w", Proxy: &Proxy{Config: nested(maxConfigDepth + 2)}}), "is nested deeper than 32"},
		{"sidecar", on(Service{Service: "w", Connect: Connect{SidecarService: &Service{}}}), ""},
		{"bad sidecar", on(Service{Service: "w", Connect: Connect{SidecarService: &Service{Service: long}}}), "service name is 513 bytes"},
		{"sidecar of a sidecar", on(Service{Service: "w", Connect: Connect{SidecarService: &Service{Service: "s", Connect: Connect{SidecarService: &Service{}}}}}),
			"a sidecar service can't have a sidecar itself"},

		{"check", with(Check{Name: "c"}), ""},
		{"check without anything", with(Check{}), "Must provide a check's CheckID or Name"},
		{"check of another node", with(Check{Node: "other", Name: "z"}), "Node 'other' for check 'z' doesn't match register request node 'n1'"},
		{"check of the same node", with(Check{Node: "N1", Name: "z"}), ""},
		{"state", with(Check{Name: "c", Status: "wat"}), `Invalid check status: "wat"; it must be passing, warning or critical`},
		{"output", with(Check{Name: "c", Output: "\xff"}), ""},
		{"long output", with(Check{Name: "c", Output: strings.Repeat("x", MaxTextLen+1)}), "check output is 65537 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := valid(c.change).Validate()
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v\nwant %s", err, c.want)
			case err != nil && KindOf(err) != Invalid:
				t.Errorf("the error has kind %d", KindOf(err))
			}
		})
	}
}

func nested(depth int) map[string]any {
	m := map[string]any{}
	for range depth {
		m = map[string]any{"m": m}
	}
	return m
}

func TestDeregister_Validate(t *testing.T) {
	for want, d := range map[string]Deregister{
		"Must provide node":         {},
		"service ID is 513 bytes":   {Node: "n", ServiceID: strings.Repeat("x", 513)},
		"check ID is not valid UTF": {Node: "n", CheckID: "\xff"},
	} {
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (&Deregister{Node: "n"}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestRegister_Normalize(t *testing.T) {
	r := valid(
		on(Service{Service: "web", Indexes: Indexes{5, 6}, Proxy: &Proxy{Config: map[string]any{
			"n": json.Number("7"), "f": json.Number("1.5"), "big": uint64(math.MaxUint64), "u": uint32(3), "g": float32(2), "l": []any{1},
		}}}),
		with(Check{Name: "a", Definition: &CheckDefinition{TCP: "x:1"}}),
		with(Check{CheckID: "b", Status: StatusPassing}),
		with(Check{CheckID: "B", Status: StatusWarning, Output: "x\xffy"}),
	)
	s := r.Service
	if s.ID != "web" || s.Tags == nil || s.Weights != (Weights{1, 1}) || s.Indexes != (Indexes{}) {
		t.Errorf("service is %+v", s)
	}
	want := map[string]any{"n": int64(7), "f": 1.5, "big": float64(math.MaxUint64), "u": int64(3), "g": 2.0, "l": []any{int64(1)}}
	if !sameConfig(s.Proxy.Config, want) {
		t.Errorf("config is %#v", s.Proxy.Config)
	}
	if len(r.Checks) != 2 {
		t.Fatalf("%d checks, want those with different IDs", len(r.Checks))
	}
	if a := r.Checks[0]; a.CheckID != "a" || a.Node != "n1" || a.Status != StatusCritical || a.Type != "tcp" || a.ServiceTags == nil {
		t.Errorf("first check is %+v", a)
	}
	if b := r.Checks[1]; b.Status != StatusWarning || b.Output != "x\uFFFDy" {
		t.Errorf("second check is %+v, want the later one", b)
	}
	for _, w := range []Weights{{}, {-3, 0}, {0, 5}, {3, -1}, {70000, 1}} {
		s := Service{Service: "w", Weights: w}
		if s.Normalize(); s.Weights != (Weights{1, 1}) {
			t.Errorf("weights %+v became %+v, want 1 and 1", w, s.Weights)
		}
	}
	s = &Service{Service: "w", Weights: Weights{3, 0}}
	if s.Normalize(); s.Weights != (Weights{3, 0}) {
		t.Errorf("weights became %+v", s.Weights)
	}
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
}

// An agent's own registration names no node; its faults read as Consul's.
func TestService_MetaFaultWithoutANode(t *testing.T) {
	s := Service{Service: "w", Meta: map[string]string{"a b": "c"}}
	s.Normalize()
	want := "Invalid Service Meta: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters"
	if err := s.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
