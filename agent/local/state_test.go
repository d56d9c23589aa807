package local_test

import (
	"testing"
	"testing/synctest"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

func TestAddService_FillsInWhatIsLeftOut(t *testing.T) {
	s := newState(t)
	ok(t, s.AddService(catalog.Service{Service: "one"}, []checks.Definition{{TTL: time.Minute}}, local.Options{}))
	ok(t, s.AddService(catalog.Service{Service: "two", ID: "two-1"}, []checks.Definition{{TTL: time.Minute}, {TTL: time.Minute, Name: "x", Status: "warning", Notes: "n"}}, local.Options{}))

	one, found := s.Service("one")
	if !found || one.Service != "one" || one.Tags == nil || one.Meta == nil || one.Weights != (catalog.Weights{Passing: 1, Warning: 1}) {
		t.Errorf("service one is %+v", one)
	}
	if c, _ := s.Check("service:one"); c == nil || c.Name != "Service 'one' check" || c.Status != "critical" || c.Type != "ttl" || c.Node != "n1" || c.ServiceID != "one" || c.ServiceName != "one" {
		t.Errorf("check of one is %+v", c)
	}
	if c, _ := s.Check("service:two-1:2"); c == nil || c.Name != "x" || c.Status != "warning" || c.Notes != "n" || c.ServiceName != "two" {
		t.Errorf("second check of two is %+v", c)
	}
	if len(s.Checks()) != 3 || len(s.Services()) != 2 {
		t.Errorf("has\n%s", show(s))
	}
}

func TestAddService_SharesNothingWithItsCaller(t *testing.T) {
	s := newState(t)
	svc := web()
	svc.Meta = map[string]string{"a": "b"}
	ok(t, s.AddService(svc, nil, local.Options{}))
	svc.Tags[0], svc.Meta["a"] = "changed", "changed"
	if got, _ := s.Service("web"); got.Tags[0] != "a" || got.Meta["a"] != "b" {
		t.Errorf("the caller's change shows: %+v", got)
	}
}

func TestAddService_RefusesWholeWhatIsWrong(t *testing.T) {
	s := newState(t)
	before := show(s)
	for text, add := range map[string]func() error{
		"Missing service name": func() error { return s.AddService(catalog.Service{ID: "x"}, nil, local.Options{}) },
		"Invalid check: TTL must be > 0 for TTL checks": func() error {
			return s.AddService(web(), []checks.Definition{ttl("good"), {Interval: time.Second}}, local.Options{})
		},
		`two checks of service "web" have the ID "C"`: func() error {
			return s.AddService(web(), []checks.Definition{ttl("c"), ttl("C")}, local.Options{})
		},
		"Invalid service address": func() error {
			return s.AddService(catalog.Service{Service: "x", Address: "0.0.0.0"}, nil, local.Options{})
		},
		`the check ID "serfHealth" belongs to the cluster, which sets it by gossip; choose another one`: func() error {
			return s.AddCheck(checks.Definition{Name: "serfHealth", TTL: time.Second}, local.Options{})
		},
		"Missing check name": func() error { return s.AddCheck(ttl("x"), local.Options{}) },
	} {
		wantErr(t, add(), catalog.Invalid, text)
	}
	wantErr(t, s.AddCheck(checks.Definition{Name: "x", TTL: time.Second, ServiceID: "nope"}, local.Options{}), catalog.NotFound, `ServiceID "nope" does not exist`)
	if got := show(s); got != before {
		t.Errorf("something was registered:\n%s", got)
	}
}

func TestUnknownIDs_AnswerAsConsul(t *testing.T) {
	s := newState(t)
	const service = `Unknown service ID "nope". Ensure that the service ID is passed, not the service name.`
	const check = `Unknown check ID "nope". Ensure that the check ID is passed, not the check name.`
	wantErr(t, s.RemoveService("nope"), catalog.NotFound, service)
	wantErr(t, s.MaintainService("nope", true, ""), catalog.NotFound, service)
	wantErr(t, s.RemoveCheck("nope"), catalog.NotFound, check)
	wantErr(t, s.UpdateTTL("nope", "passing", ""), catalog.NotFound, check)
	ok(t, s.AddCheck(checks.Definition{Name: "tcp", TCP: "127.0.0.1:1", Interval: time.Hour}, local.Options{}))
	wantErr(t, s.UpdateTTL("tcp", "passing", ""), catalog.Internal, `CheckID "tcp" does not have associated TTL`)
}

func TestAddService_AgainKeepsStatusAndOtherChecks(t *testing.T) {
	s := newState(t)
	ok(t, s.AddService(web(), []checks.Definition{ttl("c1"), ttl("c2")}, local.Options{}))
	ok(t, s.UpdateTTL("c1", "passing", "fine"))
	changed := ttl("c1")
	changed.TTL = time.Minute
	ok(t, s.AddService(web(), []checks.Definition{changed}, local.Options{}))
	want := "check c1 of \"web\" passing \"fine\"\ncheck c2 of \"web\" critical \"\"\nservice web web [a] 80"
	if got := show(s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	ok(t, s.MaintainService("web", true, ""))
	ok(t, s.AddService(web(), []checks.Definition{changed}, local.Options{ReplaceChecks: true}))
	want = "check _service_maintenance:web of \"web\" critical \"\"\ncheck c1 of \"web\" passing \"fine\"\nservice web web [a] 80"
	if got := show(s); got != want {
		t.Errorf("after replacing checks got\n%s\nwant\n%s", got, want)
	}
}

// A client that registers its service over and over must not keep its TTL check
// alive by that.
func TestAddService_UnchangedDisturbsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newState(t)
		start(t, s.Run)
		check := checks.Definition{CheckID: "c", TTL: 10 * time.Second}
		ok(t, s.AddService(web(), []checks.Definition{check}, local.Options{}))
		ok(t, s.UpdateTTL("c", "passing", "fine"))
		quiet := s.Changed()
		for range 3 {
			time.Sleep(3 * time.Second)
			ok(t, s.AddService(web(), []checks.Definition{check}, local.Options{}))
		}
		select {
		case <-quiet:
			t.Error("Changed although nothing did")
		default:
		}
		time.Sleep(2 * time.Second)
		if c, _ := s.Check("c"); c.Status != "critical" || c.Output != "TTL expired (last output before timeout follows): fine" {
			t.Errorf("after 11 s without a report the check is %s %q", c.Status, c.Output)
		}
	})
}

func TestRemoveService_TakesItsChecks(t *testing.T) {
	s := newState(t)
	ok(t, s.AddService(web(), []checks.Definition{ttl("c1")}, local.Options{}))
	ok(t, s.AddCheck(checks.Definition{Name: "own", TTL: time.Hour, ServiceID: "WEB"}, local.Options{}))
	ok(t, s.AddCheck(checks.Definition{Name: "node", TTL: time.Hour}, local.Options{}))
	ok(t, s.MaintainService("web", true, ""))
	ok(t, s.RemoveService("web"))
	if got, want := show(s), `check node of "" critical ""`; got != want {
		t.Errorf("left are\n%s\nwant\n%s", got, want)
	}
}

func TestScriptChecks_OffUnlessEnabled(t *testing.T) {
	script := []checks.Definition{{ScriptArgs: []string{"/bin/true"}, Interval: time.Hour}}
	remote := "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true"
	fromFile := local.Definitions{Services: []local.ServiceDefinition{{Service: web(), Checks: script}}}

	s := newState(t)
	wantErr(t, s.AddService(web(), script, local.Options{}), catalog.Internal, remote)
	wantErr(t, s.Reload(fromFile), catalog.Internal, `Failed to register service "web": Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true`)

	s = newState(t, func(c *local.Config) { c.EnableLocalScriptChecks = true })
	wantErr(t, s.AddService(web(), script, local.Options{}), catalog.Internal, remote)
	ok(t, s.Reload(fromFile))

	s = newState(t, func(c *local.Config) { c.EnableRemoteScriptChecks = true })
	ok(t, s.AddService(web(), script, local.Options{}))
	ok(t, s.Reload(fromFile))
}

func TestMaintenance_IsACheck(t *testing.T) {
	s := newState(t)
	ok(t, s.AddService(web(), []checks.Definition{ttl("c")}, local.Options{}))
	ok(t, s.UpdateTTL("c", "passing", ""))
	ok(t, s.MaintainService("web", true, ""))
	ok(t, s.MaintainService("web", true, "another reason"))
	ok(t, s.MaintainNode(true, "why"))
	c, _ := s.Check("_service_maintenance:web")
	if c == nil || c.Name != "Service Maintenance Mode" || c.Type != "maintenance" || c.Status != "critical" || c.ServiceID != "web" ||
		c.Notes != "Maintenance mode is enabled for this service, but no reason was provided. This is a default message." {
		t.Errorf("service: %+v", c)
	}
	c, _ = s.Check("_node_maintenance")
	if c == nil || c.Name != "Node Maintenance Mode" || c.Type != "maintenance" || c.Status != "critical" || c.Notes != "why" {
		t.Errorf("node: %+v", c)
	}
	ok(t, s.MaintainNode(false, ""))
	ok(t, s.MaintainService("web", false, ""))
	ok(t, s.MaintainService("web", false, "")) // again is no error
	if all := s.Checks(); len(all) != 1 {
		t.Errorf("afterwards there are %+v", all)
	}
}

func TestDeregisterCriticalServiceAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newState(t)
		start(t, s.Run)
		d := checks.Definition{CheckID: "c", TTL: time.Minute, DeregisterCriticalServiceAfter: time.Second} // a minute at least
		ok(t, s.AddService(web(), []checks.Definition{d}, local.Options{}))
		ok(t, s.UpdateTTL("c", "passing", ""))
		time.Sleep(119 * time.Second) // critical since 59 s
		if _, found := s.Service("web"); !found {
			t.Fatal("removed too early")
		}
		ok(t, s.UpdateTTL("c", "warning", "")) // saved
		time.Sleep(119 * time.Second)
		if _, found := s.Service("web"); !found {
			t.Fatal("removed although it had recovered")
		}
		time.Sleep(31*time.Second + time.Millisecond)
		if got := show(s); got != "" {
			t.Errorf("critical for 90 s, still there:\n%s", got)
		}
	})
}

func TestChanged_WakesAtEachChange(t *testing.T) {
	s := newState(t)
	for i, change := range []func() error{
		func() error { return s.AddService(web(), []checks.Definition{ttl("c")}, local.Options{}) },
		func() error { return s.UpdateTTL("c", "passing", "") },
		func() error { return s.UpdateTTL("c", "passing", "other output") },
		func() error { return s.RemoveCheck("c") },
		func() error { return s.RemoveService("web") },
	} {
		changed := s.Changed()
		ok(t, change())
		select {
		case <-changed:
		default:
			t.Errorf("change %d is not told", i)
		}
	}
}
