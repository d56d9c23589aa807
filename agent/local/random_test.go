package local_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

// Whatever happens to agent and catalog, in whatever order, with servers that
// fail before, after or long after a write: as soon as it stops, the catalog
// becomes equal to the agent, and stays so.
func TestSync_ConvergesWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		// The bubble needs a *testing.T; what fails in it is told to rapid outside.
		var fault string
		script := drawScript(rt)
		synctest.Test(t, func(t *testing.T) { fault = play(t, script) })
		if fault != "" {
			rt.Fatalf("%s\nsteps: %v", fault, script)
		}
	})
}

// step is one thing that happens.
type step struct {
	Act    string
	ID     int // which service or check
	Choice int // which variant
}

func drawScript(t *rapid.T) []step {
	acts := rapid.SampledFrom([]string{
		"add", "add", "remove", "flip", "flip", "flip", "output", "add check", "remove check", "maintain",
		"lose service", "lose check", "lose node", "change service", "change check", "stranger",
		"fail", "unknown", "meanwhile", "heal", "late", "wait", "wait", "restart",
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{acts.Draw(t, "act"), rapid.IntRange(0, 3).Draw(t, "id"), rapid.IntRange(0, 2).Draw(t, "choice")}
	}), 1, 60).Draw(t, "script")
}

// game is an agent and its catalog while a script is played.
type game struct {
	t     *testing.T
	dir   string
	agent *local.State
	f     *fakeCatalog
	stop  func()
}

func play(t *testing.T, script []step) (fault string) {
	g := &game{t: t, dir: t.TempDir(), f: newCatalog()}
	g.boot()
	for _, s := range script {
		g.do(s)
	}
	g.f.vandalise(func(f *fakeCatalog) { f.fail = nil })
	time.Sleep(3 * time.Minute)
	g.late() // even the last of the late ones
	time.Sleep(10 * time.Minute)
	g.f.take()
	synctest.Wait()
	defer func() { g.stop() }()
	if got, want := g.f.show(), show(g.agent); got != want {
		return fmt.Sprintf("the catalog has\n%s\nthe agent\n%s", got, want)
	}
	time.Sleep(10 * time.Minute)
	if w := g.f.take(); len(w) > 0 {
		return fmt.Sprintf("still writes, though in sync: %q", w)
	}
	if g.f.node == nil || g.f.node.Meta["rack"] != "7" {
		return fmt.Sprintf("the node is %+v", g.f.node)
	}
	return ""
}

func (g *game) boot() {
	if g.stop != nil {
		g.stop()
	}
	time.Sleep(time.Millisecond)
	if g.agent != nil {
		ok(g.t, g.agent.Close())
	}
	g.agent = open(g.t, g.dir, local.Definitions{})
	g.stop = start(g.t, g.agent.Run, newSyncer(g.t, g.agent, g.f).Run)
}

// late carries out all writes that were answered as unknown, in their order.
func (g *game) late() {
	g.f.vandalise(func(f *fakeCatalog) {
		for _, c := range f.late {
			_ = f.apply(c) // a refusal reaches nobody
		}
		f.late = nil
	})
}

var statuses = []string{"passing", "warning", "critical"}

func (g *game) do(s step) {
	service, check := fmt.Sprint("s", s.ID), fmt.Sprint("c", s.ID)
	switch s.Act {
	case "add":
		defs := []checks.Definition{{CheckID: check, TTL: time.Hour}}
		if s.Choice == 2 {
			defs = append(defs, checks.Definition{CheckID: check + "x", TTL: time.Hour})
		}
		ok(g.t, g.agent.AddService(catalog.Service{Service: service, Port: s.Choice}, defs, local.Options{ReplaceChecks: s.Choice == 1}))
	case "remove":
		_ = g.agent.RemoveService(service) // it may be unknown, here and below
	case "flip":
		_ = g.agent.UpdateTTL(check, statuses[s.Choice], "")
	case "output":
		_ = g.agent.UpdateTTL(check, "critical", fmt.Sprint("output ", s.Choice))
	case "add check":
		ok(g.t, g.agent.AddCheck(checks.Definition{CheckID: check, Name: "alone", TTL: time.Hour}, local.Options{}))
	case "remove check":
		_ = g.agent.RemoveCheck(check)
	case "maintain":
		_ = g.agent.MaintainService(service, s.Choice > 0, "")
	case "restart":
		g.boot()
	case "wait":
		time.Sleep([]time.Duration{time.Millisecond, 2 * time.Second, 2 * time.Minute}[s.Choice])
	case "late":
		g.late()
	case "heal":
		g.f.setFail(nil)
	case "fail":
		g.f.setFail(func(catalog.Command) error { return catalog.Errorf(catalog.Unavailable, "No cluster leader") })
	case "meanwhile":
		agent := g.agent
		g.f.setFail(func(catalog.Command) error {
			g.f.fail = nil
			_ = agent.UpdateTTL(check, statuses[s.Choice], "meanwhile")
			return nil
		})
	case "unknown":
		g.f.setFail(g.unknown(s.Choice))
	default:
		g.f.vandalise(func(f *fakeCatalog) { vandalise(f, s, service, check) })
	}
}

// unknown makes the catalog answer no write: it has carried it out before, or
// does later, or never.
func (g *game) unknown(choice int) func(catalog.Command) error {
	return func(c catalog.Command) error {
		switch {
		case c == nil:
			return nil
		case choice == 0:
			_ = g.f.apply(c)
		case choice == 1:
			g.f.late = append(g.f.late, c)
		}
		return catalog.Errorf(catalog.Unknown, "no answer")
	}
}

func vandalise(f *fakeCatalog, s step, service, check string) {
	switch s.Act {
	case "lose service":
		f.remove(&catalog.Deregister{ServiceID: service})
	case "lose check":
		delete(f.checks, check)
	case "lose node":
		f.remove(&catalog.Deregister{})
	case "change service":
		if svc := f.services[service]; svc != nil {
			own := *svc
			own.Port, own.Tags = 1000, []string{"evil"}
			f.services[service] = &own
		}
	case "change check":
		if c := f.checks[check]; c != nil {
			own := *c
			own.Status, own.Output = statuses[s.Choice], "evil"
			f.checks[check] = &own
		}
	case "stranger":
		f.services["x"+service] = &catalog.Service{ID: "x" + service, Service: "x"}
		f.checks["x"+check] = &catalog.Check{CheckID: "x" + check, ServiceID: "x" + service, Status: "passing"}
	}
}
