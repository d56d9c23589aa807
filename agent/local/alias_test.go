package local_test

import (
	"fmt"
	"testing"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

func wantCheck(t *testing.T, s *local.State, id, status, output string) {
	t.Helper()
	if c, found := s.Check(id); !found || c.Status != status || c.Output != output {
		t.Errorf("check %s is %+v\nwant %s %q", id, c, status, output)
	}
}

func TestAlias_FollowsAServiceOfItsNodeAtOnce(t *testing.T) {
	s := newState(t)
	start(t, s.Run)
	alias := checks.Definition{CheckID: "al", Name: "needs web", AliasService: "web"}
	ok(t, s.AddCheck(alias, local.Options{}))
	wantCheck(t, s, "al", catalog.StatusCritical, "Service web could not be found on node ")

	ok(t, s.AddService(web(), nil, local.Options{}))
	wantCheck(t, s, "al", catalog.StatusPassing, "No checks found.")

	d := ttl("c")
	d.Name, d.ServiceID = "alive", "web"
	ok(t, s.AddCheck(d, local.Options{}))
	wantCheck(t, s, "al", catalog.StatusCritical, `Aliased check "alive" failing: `)
	ok(t, s.UpdateTTL("c", catalog.StatusWarning, "slow"))
	wantCheck(t, s, "al", catalog.StatusWarning, `Aliased check "alive" failing: slow`)
	ok(t, s.UpdateTTL("c", catalog.StatusPassing, "fine"))
	wantCheck(t, s, "al", catalog.StatusPassing, "All checks passing.")

	// A check of the node counts for every service on it.
	ok(t, s.AddCheck(checks.Definition{Name: "disk", TTL: d.TTL, Status: catalog.StatusWarning}, local.Options{}))
	wantCheck(t, s, "al", catalog.StatusWarning, `Aliased check "disk" failing: `)
	ok(t, s.RemoveCheck("disk"))
	wantCheck(t, s, "al", catalog.StatusPassing, "All checks passing.")

	ok(t, s.RemoveService("web"))
	wantCheck(t, s, "al", catalog.StatusCritical, "Service web could not be found on node ")
	ok(t, s.RemoveCheck("al"))
}

// Aliases that stand for each other are as well as what else they stand for.
func TestAlias_ACircleCanRecover(t *testing.T) {
	s := newState(t)
	start(t, s.Run)
	a, b := catalog.Service{Service: "a"}, catalog.Service{Service: "b"}
	ok(t, s.AddService(a, []checks.Definition{{CheckID: "a-needs-b", Name: "b", AliasService: "b"}, {CheckID: "a", Name: "a", TTL: ttl("").TTL}}, local.Options{}))
	ok(t, s.AddService(b, []checks.Definition{{CheckID: "b-needs-a", Name: "a", AliasService: "a"}}, local.Options{}))
	wantCheck(t, s, "b-needs-a", catalog.StatusCritical, `Aliased check "a" failing: `)
	wantCheck(t, s, "a-needs-b", catalog.StatusCritical, `Aliased check "a" failing: `)
	ok(t, s.UpdateTTL("a", catalog.StatusPassing, ""))
	wantCheck(t, s, "a-needs-b", catalog.StatusPassing, "All checks passing.")
	wantCheck(t, s, "b-needs-a", catalog.StatusPassing, "All checks passing.")
}

func TestAlias_OfAnotherNodeNeedsAWayToTheCatalog(t *testing.T) {
	s := newState(t)
	err := s.AddCheck(checks.Definition{Name: "far", AliasNode: "n9"}, local.Options{})
	wantErr(t, err, catalog.Invalid, `Invalid check: this agent can't watch other nodes, so AliasNode "n9" must be its own, "n1", or be left out`)
	ok(t, s.AddCheck(checks.Definition{Name: "near", AliasNode: "N1"}, local.Options{}))
	wantCheck(t, s, "near", catalog.StatusPassing, "No checks found.")
}

// BenchmarkAlias is a report on one of many services that each have a sidecar,
// whose alias follows it.
func BenchmarkAlias(b *testing.B) {
	cfg := local.DefaultConfig()
	cfg.Node = catalog.Node{Node: "n1", Address: "192.0.2.1"}
	s, err := local.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 200 {
		svc := catalog.Service{Service: fmt.Sprintf("s%d", i), Port: 80}
		ttl := checks.Definition{TTL: time.Hour}
		if err := s.AddService(svc, []checks.Definition{ttl}, local.Options{Sidecar: &local.Sidecar{}}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for i := range b.N {
		if err := s.UpdateTTL("service:s7", catalog.StatusPassing, fmt.Sprint(i)); err != nil {
			b.Fatal(err)
		}
	}
}
