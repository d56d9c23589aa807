package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"muster/catalog"
)

// reads are questions about the catalog below, by name.
var reads = map[string]func(*View){
	"nodes":         func(v *View) { v.Nodes() },
	"node n1":       func(v *View) { v.Node("n1") },
	"node n2":       func(v *View) { v.Node("n2") },
	"id A":          func(v *View) { v.NodeByID(idA) },
	"services n1":   func(v *View) { v.NodeServices("N1") },
	"checks n1":     func(v *View) { v.NodeChecks("n1") },
	"checks n2":     func(v *View) { v.NodeChecks("n2") },
	"services":      func(v *View) { v.Services() },
	"instances":     func(v *View) { v.AllInstances() },
	"web":           func(v *View) { v.ServiceInstances("Web") },
	"db":            func(v *View) { v.ServiceInstances("db") },
	"none":          func(v *View) { v.ServiceInstances("none") },
	"mesh web":      func(v *View) { v.ConnectInstances("web") },
	"checks of web": func(v *View) { v.ServiceChecks("web") },
	"any":           func(v *View) { v.ChecksInState("any") },
	"passing":       func(v *View) { v.ChecksInState("passing") },
	"critical":      func(v *View) { v.ChecksInState("critical") },
}

// TestTopics_MoveForWhatIsWritten states which reads a write moves; all others
// must stay where they are.
func TestTopics_MoveForWhatIsWritten(t *testing.T) {
	start := []catalog.Command{
		register("n1", withID(idA), withService("w1", "web", "a"), withCheck("cw", "w1", "passing"), withCheck("cn", "", "passing")),
		register("n1", withID(idA), withProxy("p1", "web-proxy", "web")),
		register("n2", withService("d1", "db")),
	}
	for _, c := range []struct {
		name    string
		command catalog.Command
		moves   []string
	}{
		{"node without services is new", register("n3"),
			[]string{"nodes", "instances"}},
		{"node changes address", register("n1", withID(idA), withAddress("10.9.9.9")),
			[]string{"nodes", "node n1", "id A", "services n1", "instances", "web", "mesh web", "checks of web"}},
		{"node changes nothing", register("n1", withID(idA)),
			nil},
		{"instance is new", register("n2", withService("w2", "web")),
			[]string{"node n2", "services", "instances", "web", "checks of web"}},
		{"instance changes port", register("n2", func(r *catalog.Register) { r.Service = &catalog.Service{ID: "d1", Service: "db", Port: 9} }),
			[]string{"node n2", "instances", "db"}},
		{"instance changes name", register("n2", withService("d1", "web")),
			[]string{"node n2", "services", "instances", "web", "checks of web", "db"}},
		{"proxy goes", &catalog.Deregister{Node: "n1", ServiceID: "p1"},
			[]string{"node n1", "id A", "services n1", "services", "instances", "mesh web"}},
		{"service check flips", register("n1", withID(idA), withCheck("cw", "w1", "critical")),
			[]string{"checks n1", "web", "checks of web", "any", "passing", "critical"}},
		{"service check changes output", register("n1", withID(idA), func(r *catalog.Register) {
			r.Checks = []catalog.Check{{CheckID: "cw", Name: "cw", ServiceID: "w1", Status: "passing", Output: "new"}}
		}),
			[]string{"checks n1", "web", "checks of web", "any", "passing"}},
		{"node check flips", register("n1", withID(idA), withCheck("cn", "", "critical")),
			[]string{"checks n1", "web", "mesh web", "checks of web", "any", "passing", "critical"}},
		{"node check is new on another node", register("n2", withCheck("cn", "", "passing")),
			[]string{"checks n2", "db", "any", "passing"}},
		{"check goes", &catalog.Deregister{Node: "n1", CheckID: "cw"},
			[]string{"checks n1", "web", "checks of web", "any", "passing"}},
		{"node goes", &catalog.Deregister{Node: "n1"},
			[]string{"nodes", "node n1", "id A", "services n1", "checks n1", "services", "instances", "web", "mesh web", "checks of web", "any", "passing"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, start...)
			before := make(map[string]uint64)
			for name, read := range reads {
				v := f.View()
				read(v)
				before[name] = v.Index()
			}
			if r := f.apply(c.command); r.Err != nil {
				t.Fatal(r.Err)
			}
			var moved []string
			for name, read := range reads {
				v := f.View()
				read(v)
				if v.Index() != before[name] {
					moved = append(moved, name)
				}
				if v.Index() != before[name] && v.Index() != f.index {
					t.Errorf("%s is at %d, neither where it was, %d, nor at the entry's %d", name, v.Index(), before[name], f.index)
				}
			}
			slices.Sort(moved)
			slices.Sort(c.moves)
			if !slices.Equal(moved, c.moves) {
				t.Errorf("moved\n  %s\nwant\n  %s", strings.Join(moved, ", "), strings.Join(c.moves, ", "))
			}
		})
	}
}

func TestView_IndexIsOneWhereNothingWasWritten(t *testing.T) {
	v := New().View()
	v.Nodes()
	v.ServiceInstances("web")
	if v.Index() != 1 {
		t.Errorf("index is %d, want 1", v.Index())
	}
}

func TestView_NotesEachTopicOnce(t *testing.T) {
	v := newFixture(t, register("n1")).View()
	for range 2 {
		for i := range 40 {
			v.Node(fmt.Sprintf("N%d", i))
			v.Node(fmt.Sprintf("n%d", i))
		}
	}
	if got := len(v.Topics()); got != 40 {
		t.Errorf("%d topics noted, want 40", got)
	}
}

// TestTopics_OfWhatIsGone lets more services come and go than are remembered.
func TestTopics_OfWhatIsGone(t *testing.T) {
	f := newFixture(t, register("n1"), register("n1", withService("web", "web")))
	f.must(&catalog.Deregister{Node: "n1", ServiceID: "web"})
	indexOf := func(name string) uint64 {
		v := f.View()
		v.ServiceInstances(name)
		return v.Index()
	}
	gone := indexOf("web")
	if gone != f.index {
		t.Fatalf("the index of a service that went is %d, want that of its going, %d", gone, f.index)
	}
	if got := indexOf("never"); got != 1 {
		t.Fatalf("the index of a service that never was is %d, want 1", got)
	}

	last := gone
	for i := range maxGone + 10 {
		name := fmt.Sprintf("s%d", i)
		f.must(register("n1", withService(name, name)))
		f.must(&catalog.Deregister{Node: "n1", ServiceID: name})
		now := indexOf("web")
		if now < last {
			t.Fatalf("the index of web went back from %d to %d", last, now)
		}
		last = now
	}
	// It is forgotten now, and has the floor as index, with those that never were.
	if m := f.read().meta(); m.Gone != maxGone || m.Floor <= gone || indexOf("web") != m.Floor || indexOf("never") != m.Floor {
		t.Errorf("%d topics are remembered, floor %d, web at %d", m.Gone, m.Floor, indexOf("web"))
	}
	rows := 0
	for range each[*topicRow](f.read(), tableTopics, byIDPrefix, "") {
		rows++
	}
	if rows > maxGone+10 {
		t.Errorf("%d rows of topics are kept", rows)
	}
	back := f.must(register("n1", withService("web", "web")))
	if indexOf("web") != back {
		t.Errorf("a service that came back is at %d, want %d", indexOf("web"), back)
	}
}

func TestSources_AreBounded(t *testing.T) {
	f := newFixture(t)
	w := writer{reader: reader{f.db.Load().begin()}}
	for i := range uint64(maxSources + 3) {
		w.carryOut(i+1, &plan{source: &sourceRow{NodeID: fmt.Sprint("id", i), Seq: 1}})
	}
	if w.meta.Sources != maxSources || w.source("id2") != nil || w.source("id3") == nil {
		t.Errorf("%d sources are kept, want the %d that wrote last", w.meta.Sources, maxSources)
	}
}
