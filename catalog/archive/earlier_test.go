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

// earlier are archives that earlier builds wrote. One is added where what an archive
// may hold has grown; none is ever changed.
const earlier = "testdata/backup-1.snap"

// sample is what the archives hold.
func sample(t testing.TB) *state.Store {
	s := state.New()
	index := uint64(0)
	for _, c := range []catalog.Command{
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
	} {
		if r, ok := c.(*catalog.Register); ok {
			r.Normalize()
		}
		index++
		apply(t, s, index, c)
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
	if *rewrite {
		if _, err := os.Stat(earlier); err == nil {
			t.Fatalf("%s is there already", earlier)
		}
		if err := os.MkdirAll(filepath.Dir(earlier), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(earlier, backup(t, sample(t).Backup()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	saved, err := os.ReadFile(earlier)
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
	if got, want := fmt.Sprint(v.Counts()), fmt.Sprint(sample(t).View().Counts()); got != want {
		t.Errorf("counts %s, not %s", got, want)
	}
}
