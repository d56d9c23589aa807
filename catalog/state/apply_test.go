package state

import (
	"fmt"
	"slices"
	"testing"

	"muster/catalog"
)

func TestRegister_KeepsIndexesWhenUnchanged(t *testing.T) {
	f := newFixture(t)
	full := register("n1", withID(idA), withService("web1", "web", "a", "b"), withCheck("c1", "web1", "passing"), withCheck("n", "", "passing"))
	created := f.must(full)
	f.mustKeep(full)
	f.mustKeep(register("N1", withID(idA)))

	full.Service.Port = 81
	changed := f.must(full)
	v := f.View()
	if n := v.Node("n1"); n.CreateIndex != created || n.ModifyIndex != created {
		t.Errorf("node: %+v, want both indexes %d", n.Indexes, created)
	}
	if s := v.NodeServices("n1")[0]; s.CreateIndex != created || s.ModifyIndex != changed {
		t.Errorf("service: %+v, want %d and %d", s.Indexes, created, changed)
	}
	if c := v.NodeChecks("n1")[0]; c.CreateIndex != created || c.ModifyIndex != created {
		t.Errorf("check: %+v, want both indexes %d", c.Indexes, created)
	}
}

func TestRegister_SkipNodeUpdateKeepsNode(t *testing.T) {
	f := newFixture(t, register("n1", withID(idA)))
	f.must(register("n1", skipNode, withID(idB), withAddress("9.9.9.9"), withService("", "web")))
	if n := f.View().Node("n1"); n.ID != idA || n.Address != "10.0.0.1" || n.ModifyIndex != 1 {
		t.Errorf("node is %+v, want it as it was", n)
	}
	f.must(register("n2", skipNode, withAddress("")))
	if f.View().Node("n2") == nil {
		t.Error("a node that wasn't there is not created")
	}
}

func TestRegister_NameIsReservedWhileHolderLives(t *testing.T) {
	alive := withCheck(catalog.SerfHealth, "", "passing")
	dead := withCheck(catalog.SerfHealth, "", "critical")
	reserved := func(who, holder string) string {
		return fmt.Sprintf("failed inserting node: Error while renaming Node ID: %s: Node name n1 is reserved by node %s with name n1 (10.0.0.1)", who, holder)
	}
	t.Run("new ID under a name that lives", func(t *testing.T) {
		f := newFixture(t, register("n1", withID(idA), alive))
		f.mustRefuse(register("n1", withID(idB), withAddress("10.0.0.2")), catalog.Conflict, reserved(`"`+idB+`"`, idA))
	})
	t.Run("known ID under a name that lives", func(t *testing.T) {
		f := newFixture(t, register("n1", withID(idA), alive), register("n2", withID(idB)))
		f.mustRefuse(register("N1", withID(idB), withAddress("10.0.0.2")), catalog.Conflict,
			`failed inserting node: Error while renaming Node ID: "`+idB+`" (10.0.0.2): Node name N1 is reserved by node `+idA+` with name n1 (10.0.0.1)`)
	})
	t.Run("known ID under a name without ID that lives", func(t *testing.T) {
		f := newFixture(t, register("n1", alive), register("n2", withID(idB)))
		f.mustRefuse(register("n1", withID(idB), withAddress("10.0.0.2")), catalog.Conflict, reserved(`"`+idB+`" (10.0.0.2)`, ""))
	})
	t.Run("new ID under a name without ID", func(t *testing.T) {
		f := newFixture(t, register("n1", alive))
		f.must(register("n1", withID(idB)))
	})
	t.Run("new ID under a name whose holder failed", func(t *testing.T) {
		f := newFixture(t, register("n1", withID(idA), dead, withService("", "web")))
		f.must(register("n1", withID(idB), withAddress("10.0.0.2")))
		v := f.View()
		if n := v.Node("n1"); n.ID != idB || n.CreateIndex != 1 {
			t.Errorf("node is %+v, want the new ID and the old CreateIndex", n)
		}
		if len(v.NodeServices("n1")) != 1 || v.NodeByID(idA) != nil || v.NodeByID(idB) == nil {
			t.Error("the services went, or the IDs are not found as they should be")
		}
	})
	t.Run("new ID under a name without verdict", func(t *testing.T) {
		f := newFixture(t, register("n1", withID(idA)))
		f.must(register("n1", withID(idB)))
	})
}

func TestRegister_RenameLeavesNothingUnderOldName(t *testing.T) {
	f := newFixture(t, register("old", withID(idA), withService("", "web"), withCheck("c", "", "passing"), withCheck("w", "web", "passing")))
	f.must(register("new", withID(idA)))
	v := f.View()
	if v.Node("old") != nil || len(v.NodeServices("old")) != 0 || len(v.NodeChecks("old")) != 0 || len(v.ServiceInstances("web")) != 0 {
		t.Error("something is left under the old name")
	}
	if n := v.NodeByID(idA); n == nil || n.Node != "new" || n.CreateIndex != 1 || n.ModifyIndex != f.index {
		t.Errorf("the node is now %+v", n)
	}
}

func TestRegister_ChecksTakeNameAndTagsOfTheirService(t *testing.T) {
	f := newFixture(t, register("n1", withService("w", "web", "t1"), withCheck("c", "w", "passing"), withCheck("n", "", "passing")))
	f.mustRefuse(register("n1", withCheck("x", "nope", "passing")), catalog.Invalid, "Unknown service ID 'nope' for check ID 'x'")
	f.must(register("n1", withCheck("late", "W", "passing")))
	f.must(register("n1", withService("w", "web2", "t2")))
	for _, c := range f.View().NodeChecks("n1") {
		name, tags := "web2", []string{"t2"}
		if c.CheckID == "n" {
			name, tags = "", nil
		}
		if c.ServiceName != name || !slices.Equal(c.ServiceTags, tags) {
			t.Errorf("check %s says service %q with tags %v, want %q, %v", c.CheckID, c.ServiceName, c.ServiceTags, name, tags)
		}
	}
	if n := len(f.View().ServiceChecks("web")); n != 0 {
		t.Errorf("%d checks are left under the old name", n)
	}
}

func TestRegister_RefusedCommandSparesItsNeighbours(t *testing.T) {
	s := New()
	bad := register("n2", withService("", "web"), withCheck("x", "nope", "passing"))
	results := s.Apply([]Entry{
		{1, encode(t, register("n1"))},
		{2, encode(t, bad)},
		{3, []byte("junk")},
		{4, encode(t, register("n3"))},
		{4, encode(t, register("n4"))},
	})
	for i, ok := range []bool{true, false, false, true, false} {
		if (results[i].Err == nil) != ok {
			t.Errorf("entry %d: %v, want success = %t", i, results[i].Err, ok)
		}
	}
	v := s.View()
	if got := len(v.Nodes()); got != 2 || v.Node("n2") != nil || s.Index() != 4 {
		t.Errorf("%d nodes at index %d, want n1 and n3 at 4", got, s.Index())
	}
}

func TestSource_DropsWhatComesLate(t *testing.T) {
	late := register("n1", withService("", "web"), withSource(idA, 4))
	f := newFixture(t, register("n1", withSource(idA, 3)))
	f.must(&catalog.Deregister{Node: "n1", ServiceID: "web", Source: catalog.Source{NodeID: idA, Seq: 5}})
	f.mustKeep(late)
	f.mustKeep(&catalog.Deregister{Node: "n1", Source: catalog.Source{NodeID: idA, Seq: 5}})
	if len(f.View().NodeServices("n1")) != 0 {
		t.Error("the late register took effect")
	}
	f.must(register("n1", withService("", "web"), withSource(idB, 1)))

	before := f.View()
	before.NodeServices("n1")
	f.must(register("n1", withService("", "web"), withSource(idB, 2)))
	after := f.View()
	after.NodeServices("n1")
	if before.Index() != after.Index() {
		t.Error("a source that went on without a change moved the index of a read")
	}
}

func TestDeregister_RemovesWhatIsNamed(t *testing.T) {
	start := []catalog.Command{
		register("n1", withService("w", "web"), withCheck("cw", "w", "passing"), withCheck("cn", "", "passing")),
		register("n1", withService("d", "db")),
	}
	for _, c := range []struct {
		name             string
		command          catalog.Deregister
		services, checks int
		node             bool
	}{
		{"check", catalog.Deregister{Node: "N1", CheckID: "CN"}, 2, 1, true},
		{"service with its checks", catalog.Deregister{Node: "n1", ServiceID: "W"}, 1, 1, true},
		{"service where both are named", catalog.Deregister{Node: "n1", ServiceID: "d", CheckID: "cn"}, 1, 2, true},
		{"node with all", catalog.Deregister{Node: "n1"}, 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, start...)
			f.must(&c.command)
			v := f.View()
			if s, k := len(v.NodeServices("n1")), len(v.NodeChecks("n1")); s != c.services || k != c.checks || (v.Node("n1") != nil) != c.node {
				t.Errorf("left: %d services, %d checks, node %v", s, k, v.Node("n1"))
			}
			f.mustKeep(&c.command)
		})
	}
	newFixture(t).mustKeep(&catalog.Deregister{Node: "nobody"})
}

func TestApply_RefusesWhatCannotBeAKey(t *testing.T) {
	f := newFixture(t, register("n1"))
	f.mustRefuse(&catalog.Register{Node: catalog.Node{Address: "1.1.1.1"}}, catalog.Invalid, "the node name must not be empty")
	f.mustRefuse(register("n\x001"), catalog.Invalid, `"n\x001" contains a NUL character`)
	f.mustRefuse(register("n1", withService("a\x00b", "web")), catalog.Invalid, `"a\x00b" contains a NUL character`)
	f.mustRefuse(register("n1", withCheck("", "", "passing")), catalog.Invalid, "the check ID must not be empty")
	f.mustRefuse(&catalog.Deregister{}, catalog.Invalid, "the node name must not be empty")
}

func TestPreview_LeavesTheCommandAlone(t *testing.T) {
	f := newFixture(t, register("n1", withService("w", "web", "t")))
	c := register("n1", withCheck("c", "w", "passing"))
	before := encode(t, c)
	if r := f.Preview(c); r.Err != nil || !r.Changed {
		t.Fatalf("preview: %+v", r)
	}
	if string(before) != string(encode(t, c)) {
		t.Error("the command is another one now")
	}
}

// Each command of a batch is dropped, refused or carried out by itself, and sees
// what those before it did.
func TestBatch_CarriesOutEachCommandByItself(t *testing.T) {
	f := newFixture(t, register("n1", withSource(idA, 3)))
	got := f.apply(catalog.BatchOf([]catalog.Command{
		register("n1", withService("", "late"), withSource(idA, 2)),
		register("n1", withService("", "gone"), withSource(idA, 4)),
		register("n1", withCheck("c", "none", "passing"), withSource(idA, 5)),
		&catalog.Deregister{Node: "n1", ServiceID: "gone", Source: catalog.Source{NodeID: idA, Seq: 6}},
		register("n1", withService("", "web"), withCheck("c", "web", "passing"), withSource(idA, 7)),
	}))
	each := got.Value.([]catalog.Result)
	if !got.Changed || got.Err != nil || len(each) != 5 {
		t.Fatalf("answered %+v", got)
	}
	for i, r := range each {
		if refused := i == 2; (r.Err != nil) != refused || r.Changed != (i == 1 || i >= 3) {
			t.Errorf("command %d: %+v", i, r)
		}
	}
	services := f.View().NodeServices("n1")
	if len(services) != 1 || services[0].ID != "web" || len(f.View().NodeChecks("n1")) != 1 {
		t.Errorf("services are %+v", services)
	}
	f.mustKeep(catalog.BatchOf([]catalog.Command{register("n1", withService("", "web"), withSource(idA, 7))}))
	f.mustKeep(&catalog.Batch{})
	if r := f.apply(&catalog.Batch{Commands: make([]catalog.Owned, 1)}); r.Changed || r.Value.([]catalog.Result)[0].Err == nil {
		t.Errorf("a command of no kind is answered %+v", r)
	}
}
