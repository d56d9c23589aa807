package local_test

import (
	"strings"
	"testing"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

func TestSidecar_IsMadeUpFromItsService(t *testing.T) {
	s := newState(t)
	add := func(name string, side catalog.Service) *catalog.Service {
		t.Helper()
		svc := catalog.Service{Service: name, Port: 80, Tags: []string{"a"}, Meta: map[string]string{"k": "v"}}
		if err := s.AddService(svc, nil, local.Options{Sidecar: &local.Sidecar{Service: side}}); err != nil {
			t.Fatal(err)
		}
		got, ok := s.Service(name + "-sidecar-proxy")
		if !ok {
			t.Fatalf("no sidecar beside %s", name)
		}
		return got
	}
	first := add("web", catalog.Service{})
	if first.Kind != "connect-proxy" || first.Service != "web-sidecar-proxy" || first.Port != 21000 || first.Tags[0] != "a" || first.Meta["k"] != "v" {
		t.Errorf("%+v", first)
	}
	if p := first.Proxy; p.DestinationServiceID != "web" || p.DestinationServiceName != "web" || p.LocalServiceAddress != "127.0.0.1" || p.LocalServicePort != 80 {
		t.Errorf("%+v", p)
	}
	if again := add("web", catalog.Service{}); again.Port != 21000 {
		t.Errorf("registered again it has port %d", again.Port)
	}
	if second := add("db", catalog.Service{}); second.Port != 21001 {
		t.Errorf("the second has port %d", second.Port)
	}
	own := add("own", catalog.Service{Service: "proxy", Port: 1234, Tags: []string{"b"}, Address: "192.0.2.7"})
	if own.Service != "proxy" || own.Port != 1234 || own.Tags[0] != "b" || own.Address != "192.0.2.7" {
		t.Errorf("%+v", own)
	}
	for id, want := range map[string]string{
		"service:web-sidecar-proxy:1": "127.0.0.1:21000", "service:own-sidecar-proxy:1": "192.0.2.7:1234",
	} {
		if d, ok := s.Definition(id); !ok || d.TCP != want || d.Name != "Connect Sidecar Listening" {
			t.Errorf("%s is %+v", id, d)
		}
	}
	if d, ok := s.Definition("service:web-sidecar-proxy:2"); !ok || d.AliasService != "web" {
		t.Errorf("the alias is %+v", d)
	}
}

func TestSidecar_BringsItsOwnChecks(t *testing.T) {
	s := newState(t)
	side := &local.Sidecar{Checks: []checks.Definition{{TTL: 1e10}}}
	if err := s.AddService(catalog.Service{Service: "web", Port: 80}, nil, local.Options{Sidecar: side}); err != nil {
		t.Fatal(err)
	}
	if all := s.Checks(); len(all) != 1 || all["service:web-sidecar-proxy"] == nil {
		t.Errorf("checks %v", all)
	}
}

func TestSidecar_GoesWithItsServiceEvenAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, local.Definitions{})
	if err := s.AddService(catalog.Service{Service: "web", Port: 80}, nil, local.Options{Sidecar: &local.Sidecar{}}); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, local.Definitions{})
	if len(s.Services()) != 2 || len(s.Checks()) != 2 {
		t.Fatalf("services %v, checks %v", s.Services(), s.Checks())
	}
	if err := s.RemoveService("web"); err != nil {
		t.Fatal(err)
	}
	if len(s.Services()) != 0 || len(s.Checks()) != 0 {
		t.Errorf("left behind: %v %v", s.Services(), s.Checks())
	}
}

func TestSidecar_OfAServiceInAFileComesAndGoesWithTheFile(t *testing.T) {
	s := newState(t)
	web := local.ServiceDefinition{Service: catalog.Service{Service: "web", Port: 80}, Sidecar: &local.Sidecar{}}
	db := local.ServiceDefinition{Service: catalog.Service{Service: "db", Port: 81}, Sidecar: &local.Sidecar{}}
	if err := s.Load(local.Definitions{Services: []local.ServiceDefinition{web, db}}); err != nil {
		t.Fatal(err)
	}
	ports := map[int]bool{}
	for _, id := range []string{"web-sidecar-proxy", "db-sidecar-proxy"} {
		if side, ok := s.Service(id); ok {
			ports[side.Port] = true
		}
	}
	if len(ports) != 2 || !ports[21000] || !ports[21001] {
		t.Errorf("ports %v", ports)
	}
	web.Sidecar = nil
	if err := s.Reload(local.Definitions{Services: []local.ServiceDefinition{web}}); err != nil {
		t.Fatal(err)
	}
	if all := s.Services(); len(all) != 1 || all["web"] == nil {
		t.Errorf("after a reload without them: %v", all)
	}
}

func TestSidecar_RefusesWhatTheAgentManages(t *testing.T) {
	s := newState(t)
	for want, side := range map[string]catalog.Service{
		"cannot specify an ID":               {ID: "x"},
		"cannot have a nested":               {Connect: catalog.Connect{SidecarService: &catalog.Service{}}},
		"A Proxy cannot also be Connect Nat": {Connect: catalog.Connect{Native: true}},
	} {
		err := s.AddService(catalog.Service{Service: "web", Port: 80}, nil, local.Options{Sidecar: &local.Sidecar{Service: side}})
		if err == nil || !strings.HasPrefix(err.Error(), "Validation failed: 1 error occurred:\n\t* ") || !strings.Contains(err.Error(), want) || catalog.KindOf(err) != catalog.Invalid {
			t.Errorf("%+v: %v", side, err)
		}
		if len(s.Services()) != 0 {
			t.Errorf("%+v: its service was registered all the same", side)
		}
	}
	for port := 21000; port <= 21255; port++ {
		if err := s.AddService(catalog.Service{ID: "s" + string(rune(port)), Service: "s", Port: port}, nil, local.Options{}); err != nil {
			t.Fatal(err)
		}
	}
	err := s.AddService(catalog.Service{Service: "web", Port: 80}, nil, local.Options{Sidecar: &local.Sidecar{}})
	if err == nil || !strings.Contains(err.Error(), "21255") {
		t.Errorf("with no port left: %v", err)
	}
}
