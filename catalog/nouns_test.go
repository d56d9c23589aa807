package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"
)

// fullService is an instance with every part that has a shape of its own.
func fullService() *Service {
	s := &Service{
		Kind: KindConnectProxy, ID: "f1", Service: "full", Port: 1, Tags: []string{"a"},
		TaggedAddresses: map[string]ServiceAddress{"lan": {"1.2.3.4", 3}},
		Locality:        &Locality{Region: "r", Zone: "z"},
		Proxy: &Proxy{
			TransparentProxy:       &TransparentProxy{OutboundListenerPort: 808},
			DestinationServiceName: "e", DestinationServiceID: "e1",
			LocalServiceAddress: "127.0.0.1", LocalServicePort: 33, Mode: "direct",
			Config:      map[string]any{"a": 1, "b": 1.5, "e": json.Number("1000")},
			Upstreams:   []Upstream{{DestinationName: "db", LocalBindPort: 99, Config: map[string]any{"q": json.Number("1")}}},
			MeshGateway: MeshGateway{Mode: "local"},
			Expose:      Expose{Checks: true, Paths: []ExposePath{{ListenerPort: 1, Path: "/x", LocalPathPort: 2, Protocol: "http"}}},
		},
	}
	s.Normalize()
	s.CreateIndex, s.ModifyIndex = 133, 133
	return s
}

// TestNouns_MarshalAsConsulDoes holds answers of Consul 1.21.4 to the same input.
func TestNouns_MarshalAsConsulDoes(t *testing.T) {
	plain := &Service{Service: "x"}
	plain.Normalize()
	check := Check{Node: "w1", Name: "d", Definition: &CheckDefinition{
		Interval: 10 * time.Second, Timeout: time.Second, DeregisterCriticalServiceAfter: time.Minute,
		HTTP: "http://x", TLSServerName: "t", TLSSkipVerify: true, Header: map[string][]string{"a": {"b"}},
		Method: "PUT", Body: "b", DisableRedirects: true, TCP: "a:1", TCPUseTLS: true, UDP: "u", H2PING: "h",
		OSService: "o", H2PingUseTLS: true, ScriptArgs: []string{"a"}, GRPC: "g", GRPCUseTLS: true,
		AliasNode: "x", AliasService: "y", TTL: 3 * time.Second,
	}}
	check.Normalize()
	serf := Check{Node: "ora", CheckID: SerfHealth, Name: SerfHealthName, Status: StatusPassing, Output: "Agent alive and reachable",
		Indexes: Indexes{12, 12}}
	serf.ServiceTags, serf.Definition = []string{}, NoDefinition()
	for _, c := range []struct {
		name string
		noun any
		want string
	}{
		{"node without maps", Node{ID: "i", Node: "n1", Address: "1.1.1.1", Datacenter: "dc1", Indexes: Indexes{33, 36}},
			`{"ID":"i","Node":"n1","Address":"1.1.1.1","Datacenter":"dc1","TaggedAddresses":null,"Meta":null,"CreateIndex":33,"ModifyIndex":36}`},
		{"node with maps", Node{Node: "c2", TaggedAddresses: map[string]string{}, Meta: map[string]string{"k": "v"}},
			`{"ID":"","Node":"c2","Address":"","Datacenter":"","TaggedAddresses":{},"Meta":{"k":"v"},"CreateIndex":0,"ModifyIndex":0}`},
		{"plain service", plain,
			`{"ID":"x","Service":"x","Tags":[],"Address":"","Meta":null,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Proxy":{"Mode":"","MeshGateway":{},"Expose":{}},"Connect":{},"PeerName":"","CreateIndex":0,"ModifyIndex":0}`},
		{"full service", fullService(),
			`{"Kind":"connect-proxy","ID":"f1","Service":"full","Tags":["a"],"Address":"","TaggedAddresses":{"lan":{"Address":"1.2.3.4","Port":3}},"Meta":null,"Port":1,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"Locality":{"Region":"r","Zone":"z"},` +
				`"Proxy":{"TransparentProxy":{"OutboundListenerPort":808},"DestinationServiceName":"e","DestinationServiceID":"e1","LocalServiceAddress":"127.0.0.1","LocalServicePort":33,"Mode":"direct","Config":{"a":1,"b":1.5,"e":1000},` +
				`"Upstreams":[{"DestinationType":"","DestinationName":"db","Datacenter":"","LocalBindPort":99,"Config":{"q":1},"MeshGateway":{}}],"MeshGateway":{"Mode":"local"},"Expose":{"Checks":true,"Paths":[{"ListenerPort":1,"Path":"/x","LocalPathPort":2,"Protocol":"http"}]}},` +
				`"Connect":{},"PeerName":"","CreateIndex":133,"ModifyIndex":133}`},
		{"node check", serf,
			`{"Node":"ora","CheckID":"serfHealth","Name":"Serf Health Status","Status":"passing","Notes":"","Output":"Agent alive and reachable","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"","Interval":"","Timeout":"","ExposedPort":0,"Definition":{},"CreateIndex":12,"ModifyIndex":12}`},
		{"check with a definition", check,
			`{"Node":"w1","CheckID":"d","Name":"d","Status":"critical","Notes":"","Output":"","ServiceID":"","ServiceName":"","ServiceTags":[],"Type":"grpc","Interval":"","Timeout":"","ExposedPort":0,` +
				`"Definition":{"Interval":"10s","Timeout":"1s","DeregisterCriticalServiceAfter":"1m0s","HTTP":"http://x","TLSServerName":"t","TLSSkipVerify":true,"Header":{"a":["b"]},"Method":"PUT","Body":"b","DisableRedirects":true,"TCP":"a:1","TCPUseTLS":true,"UDP":"u","H2PING":"h","OSService":"o","H2PingUseTLS":true,"ScriptArgs":["a"],"GRPC":"g","GRPCUseTLS":true,"AliasNode":"x","AliasService":"y","TTL":3000000000},` +
				`"CreateIndex":0,"ModifyIndex":0}`},
	} {
		got, err := json.Marshal(c.noun)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.name, err, got, c.want)
		}
	}
}

func TestCheckDefinition_ReadsDurations(t *testing.T) {
	var d CheckDefinition
	in := `{"HTTP":"http://x","Interval":"10s","Timeout":1000000000,"DeregisterCriticalServiceAfter":"","TTL":"1m"}`
	if err := json.Unmarshal([]byte(in), &d); err != nil {
		t.Fatal(err)
	}
	want := CheckDefinition{HTTP: "http://x", Interval: 10 * time.Second, Timeout: time.Second, TTL: time.Minute}
	if !d.same(&want) {
		t.Errorf("got %+v, want %+v", d, want)
	}
	out, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back CheckDefinition
	if err := json.Unmarshal(out, &back); err != nil || !back.same(&d) {
		t.Errorf("read back %+v (%v) from %s", back, err, out)
	}
	// The other names of the three count where these say nothing.
	in = `{"IntervalDuration":"10s","TimeoutDuration":1000000000,"Timeout":"2s","DeregisterCriticalServiceAfterDuration":"1m"}`
	want = CheckDefinition{Interval: 10 * time.Second, Timeout: 2 * time.Second, DeregisterCriticalServiceAfter: time.Minute}
	if err := json.Unmarshal([]byte(in), &back); err != nil {
		t.Fatal(err)
	}
	if back.HTTP, back.TTL = "", 0; !back.same(&want) {
		t.Errorf("got %+v, want %+v", back, want)
	}
	for _, bad := range []string{`{"TimeoutDuration":"x"}`, `{"Interval":"soon"}`, `{"Timeout":true}`, `{"TTL":1e300}`, `[]`, `{"HTTP":5}`} {
		if err := json.Unmarshal([]byte(bad), new(CheckDefinition)); err == nil {
			t.Errorf("%s was read", bad)
		}
	}
}

func TestWorse(t *testing.T) {
	order := []string{StatusPassing, StatusWarning, StatusCritical, StatusMaintenance}
	for i, a := range order {
		for j, b := range order {
			if got, want := Worse(a, b), order[max(i, j)]; got != want {
				t.Errorf("the worse of %s and %s is %s, want %s", a, b, got, want)
			}
		}
	}
	if got := Worse("odd", StatusWarning); got != "odd" {
		t.Errorf("an unknown state is better than %s", got)
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{"": "", "web": "web", "Web-1_ÄZ": "web-1_Äz", "X": "x"} {
		if got := Fold(in); got != want {
			t.Errorf("Fold(%q) is %q, want %q", in, got, want)
		}
	}
}

func TestSame_IgnoresIndexesAndEmptiness(t *testing.T) {
	a, b := fullService(), fullService()
	b.CreateIndex, b.Meta = 5, map[string]string{}
	if !a.Same(b) {
		t.Error("indexes or an empty map make a difference")
	}
	for name, change := range map[string]func(*Service){
		"port":            func(s *Service) { s.Port++ },
		"tags":            func(s *Service) { s.Tags = append(s.Tags, "x") },
		"weights":         func(s *Service) { s.Weights.Warning = 9 },
		"locality":        func(s *Service) { s.Locality = nil },
		"locality's zone": func(s *Service) { s.Locality = &Locality{Region: "r"} },
		"config":          func(s *Service) { s.Proxy.Config["a"] = int64(2) },
		"upstream":        func(s *Service) { s.Proxy.Upstreams[0].LocalBindPort++ },
		"upstream config": func(s *Service) { s.Proxy.Upstreams[0].Config["q"] = "1" },
		"exposed path":    func(s *Service) { s.Proxy.Expose.Paths[0].Path = "/y" },
		"transparent":     func(s *Service) { s.Proxy.TransparentProxy = nil },
		"sidecar":         func(s *Service) { s.Connect.SidecarService = &Service{} },
		"tagged address":  func(s *Service) { s.TaggedAddresses = nil },
	} {
		c := fullService()
		change(c)
		if a.Same(c) || c.Same(a) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}

func TestMeshName(t *testing.T) {
	for _, c := range []struct {
		s    Service
		want string
	}{
		{Service{Service: "web"}, ""},
		{Service{Service: "web", Connect: Connect{Native: true}}, "web"},
		{Service{Service: "p", Kind: KindConnectProxy, Proxy: &Proxy{DestinationServiceName: "web"}}, "web"},
		{Service{Service: "g", Kind: "mesh-gateway"}, ""},
	} {
		if got := c.s.MeshName(); got != c.want {
			t.Errorf("%+v gives mesh access to %q, want %q", c.s, got, c.want)
		}
	}
}

func FuzzCheckDefinition(f *testing.F) {
	f.Add([]byte(`{"Interval":"10s","Header":{"a":["b"]},"TTL":5}`))
	f.Add([]byte(`{"Interval":-1e400}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var d, back CheckDefinition
		if json.Unmarshal(in, &d) != nil {
			return
		}
		out, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("can't read back %s: %v", out, err)
		}
		if again, _ := json.Marshal(back); !bytes.Equal(again, out) {
			t.Fatalf("%s became %s", out, again)
		}
	})
}

func TestWrap_SaysWhatItsCauseSaysOnce(t *testing.T) {
	cause := errors.New("the disk is full")
	err := error(Wrap(Unknown, fmt.Errorf("commit: %w", cause)))
	if err.Error() != "commit: the disk is full" || KindOf(err) != Unknown || !errors.Is(err, cause) {
		t.Errorf("%v of kind %d", err, KindOf(err))
	}
}
