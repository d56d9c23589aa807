package archive_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/serf/coordinate"

	"muster/catalog"
	"muster/catalog/archive"
	"muster/catalog/state"
)

var rewrite = flag.Bool("rewrite", false, "write the archive of this build; one that was released stays")

// earlier are archives that earlier builds wrote, each with what it holds, beyond what
// the one before it does. One is added where what an archive may hold has grown; none
// is ever changed.
var earlier = []struct {
	file   string
	adds   []catalog.Command
	judges func(t *testing.T, restored *state.Store)
}{
	{"testdata/backup-1.snap", first, judgeFirst},
	{"testdata/backup-2.snap", second, judgeSecond},
	{"testdata/backup-3.snap", third, judgeThird},
}

var (
	first = []catalog.Command{
		&catalog.Register{
			Node:    catalog.Node{ID: "aaaaaaaa-1111-1111-1111-111111111111", Node: "n1", Address: "192.0.2.1", Datacenter: "dc1", Meta: map[string]string{"k": "v"}},
			Service: &catalog.Service{ID: "web-1", Service: "web", Port: 80, Tags: []string{"a"}},
			Checks:  []catalog.Check{{CheckID: "c", Name: "c", Status: "passing", ServiceID: "web-1"}, {CheckID: "serfHealth", Name: "s", Status: "passing"}},
		},
		&catalog.Coordinates{Updates: []catalog.NodeCoordinate{{Node: "n1", Coord: coordinate.NewCoordinate(coordinate.DefaultConfig())}}},
		&catalog.KV{Verb: catalog.KVSet, Key: "a//b", Value: []byte{0, 255}, Flags: 7},
		&catalog.KV{Verb: catalog.KVSet, Key: "gone"},
		&catalog.KV{Verb: catalog.KVDelete, Key: "gone"},
		&catalog.CreateSession{Session: catalog.Session{ID: "s1", Node: "n1", TTL: "10s", Behavior: catalog.BehaviorRelease, NodeChecks: []string{"serfHealth"}}},
		&catalog.CreateSession{Session: catalog.Session{ID: "s2", Node: "n1", LockDelay: time.Second, Behavior: catalog.BehaviorRelease}},
		&catalog.KV{Verb: catalog.KVLock, Key: "held", Session: "s1"},
		&catalog.KV{Verb: catalog.KVLock, Key: "delayed", Session: "s2"},
		&catalog.DestroySession{ID: "s2"},
		&catalog.SetAutopilot{Autopilot: catalog.Autopilot{MinQuorum: 3}},
	}
	second = []catalog.Command{
		&catalog.Register{Node: catalog.Node{Node: "n2", Address: "192.0.2.2", Locality: &catalog.Locality{Region: "eu", Zone: "eu-1"}}},
		&catalog.ChangeQuery{Verb: catalog.QueryCreate, Query: catalog.PreparedQuery{
			ID: "q1", Name: "to-", Template: catalog.QueryTemplate{Type: catalog.QueryPrefixMatch, Regexp: "^to-(.*)$"},
			Service: catalog.ServiceQuery{Service: "${match(1)}", Near: catalog.QueryNearAgent}, DNS: catalog.QueryDNS{TTL: "5s"}}},
		&catalog.ChangeQuery{Verb: catalog.QueryCreate, Query: catalog.PreparedQuery{ID: "q2", Session: "s1", Service: catalog.ServiceQuery{Service: "web"}}},
		&catalog.SetConfig{Verb: catalog.ConfigSet, Kind: "service-defaults", Name: "web", Body: []byte(`{"Protocol":"http"}`)},
		&catalog.SetConfig{Verb: catalog.ConfigSet, Kind: "service-intentions", Name: "web", Body: []byte(`{"Sources":[{"Name":"*","Action":"deny"}]}`)},
	}
	third = []catalog.Command{
		&catalog.SetCA{CA: catalog.CA{ClusterID: "c1", Config: []byte(`{"LeafCertTTL":"72h"}`), Unlinked: true, Roots: []catalog.CARoot{
			{ID: "r1", Name: "n", Serial: 1, KeyID: "k1", KeyType: "ec", KeyBits: 256, NotBefore: 1, NotAfter: 2, Cert: "c", LeavesUntil: 3},
			{ID: "r2", Cert: "c", Link: "l", Key: "secret"},
		}}},
	}
)

// sample is what an archive holds, and those before it do.
func sample(t testing.TB, through int) *state.Store {
	s := state.New()
	index := uint64(0)
	for _, e := range earlier[:through+1] {
		for _, c := range e.adds {
			if r, ok := c.(*catalog.Register); ok {
				r.Normalize()
			}
			index++
			apply(t, s, index, c)
		}
	}
	return s
}

func apply(t testing.TB, s *state.Store, index uint64, c catalog.Command) {
	t.Helper()
	data, err := catalog.EncodeCommand(c)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Apply([]state.Entry{{Index: index, Data: data}})[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
}

// TestRestore_OfWhatAnEarlierBuildSaved restores it in a cluster that has gone on.
func TestRestore_OfWhatAnEarlierBuildSaved(t *testing.T) {
	for i, e := range earlier {
		t.Run(filepath.Base(e.file), func(t *testing.T) {
			if *rewrite {
				keep(t, e.file, sample(t, i))
			}
			restored := restore(t, e.file)
			e.judges(t, restored)
			if got, want := fmt.Sprint(restored.View().Counts()), fmt.Sprint(sample(t, i).View().Counts()); got != want {
				t.Errorf("counts %s, not %s", got, want)
			}
		})
	}
}

// keep writes an archive where there is none of its name.
func keep(t *testing.T, file string, s *state.Store) {
	t.Helper()
	if _, err := os.Stat(file); err == nil {
		t.Logf("%s is there already", file)
		return
	}
	if err := os.WriteFile(file, backup(t, s.Backup()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func restore(t *testing.T, file string) *state.Store {
	t.Helper()
	saved, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := archive.NewReader(bytes.NewReader(saved))
	if err != nil {
		t.Fatal(err)
	}
	s := state.New()
	index := uint64(1)
	step := func(c *catalog.Restore) {
		t.Helper()
		c.ID = "r"
		apply(t, s, index, c)
		index++
	}
	step(&catalog.Restore{Step: catalog.RestoreBegin})
	last := &catalog.Restore{Step: catalog.RestoreInstall}
	if err := state.Parts(r, 100, func(part []byte) error {
		last.Part++
		step(&catalog.Restore{Step: catalog.RestoreLoad, Part: last.Part, Data: part})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if err := r.Verify(); err != nil {
		t.Fatal(err)
	}
	step(last)
	return s
}

func judgeFirst(t *testing.T, s *state.Store) {
	at := s.Index()
	v := s.View()
	web, held, session := v.ServiceInstances("web"), v.KV("held"), v.Session("s1")
	if len(web) != 1 || web[0].Node.Meta["k"] != "v" || web[0].Service.Port != 80 || len(web[0].Checks) != 2 || web[0].Service.ModifyIndex != at {
		t.Errorf("web is %+v", web)
	}
	if e := v.KV("a//b"); e == nil || string(e.Value) != "\x00\xff" || e.Flags != 7 || e.CreateIndex != 3 || v.KV("gone") != nil {
		t.Errorf("entry %+v, one that was deleted %+v", e, v.KV("gone"))
	}
	if held == nil || held.Session != "s1" || held.LockIndex != 1 || session == nil || session.TTL != "10s" || session.CreateIndex != at {
		t.Errorf("lock %+v of session %+v", held, session)
	}
	if delays := v.LockDelays(); len(delays) != 1 || delays[0].Key != "delayed" || delays[0].Delay != time.Second {
		t.Errorf("lock-delays %+v", delays)
	}
	if a := v.Autopilot(); a.MinQuorum != 3 || len(v.Coordinates()) != 1 {
		t.Errorf("autopilot %+v, coordinates %v", a, v.Coordinates())
	}
}

func judgeSecond(t *testing.T, s *state.Store) {
	judgeFirst(t, s)
	at := s.Index()
	v := s.View()
	if n := v.Node("n2"); n == nil || n.Locality == nil || n.Locality.Zone != "eu-1" {
		t.Errorf("node %+v", n)
	}
	template, bound := v.Query("q1"), v.Query("q2")
	if template == nil || template.Template.Regexp != "^to-(.*)$" || template.DNS.TTL != "5s" || template.ModifyIndex != at || bound == nil || bound.Session != "s1" {
		t.Errorf("queries %+v, %+v", template, bound)
	}
	defaults, intentions := v.ConfigEntry("service-defaults", "web"), v.ConfigEntry("service-intentions", "web")
	if defaults == nil || string(defaults.Body) != `{"Protocol":"http"}` || defaults.ModifyIndex != at || intentions == nil {
		t.Errorf("config entries %+v, %+v", defaults, intentions)
	}
}

func judgeThird(t *testing.T, s *state.Store) {
	judgeSecond(t, s)
	a := s.View().CA()
	if a == nil || len(a.Roots) != 2 || a.TrustDomain() != "c1.consul" || !a.Unlinked || a.ModifyIndex != s.Index() {
		t.Fatalf("authority %+v", a)
	}
	old, active := a.Roots[0], a.Active()
	if old.KeyID != "k1" || old.NotAfter != 2 || old.LeavesUntil != 3 || active.ID != "r2" || active.Link != "l" || string(active.Key) != "secret" {
		t.Errorf("roots %+v and %+v", old, active)
	}
}
