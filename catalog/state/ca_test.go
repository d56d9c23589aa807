package state

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"muster/catalog"
)

// trusting sets an authority whose roots have these IDs, the last with a key.
func trusting(index uint64, ids ...string) *catalog.SetCA {
	c := &catalog.SetCA{Index: index, CA: catalog.CA{ClusterID: "c", Config: []byte(`{"LeafCertTTL":"72h"}`)}}
	for _, id := range ids {
		c.CA.Roots = append(c.CA.Roots, catalog.CARoot{ID: id, Cert: "cert of " + id})
	}
	if len(ids) > 0 {
		c.CA.Active().Key = catalog.PrivateKey("key of " + ids[len(ids)-1])
	}
	return c
}

// caCommands draws authorities of few roots, which meet few indexes.
func caCommands() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"r1", "r2", "r3"}), 1, 3, rapid.ID).Draw(t, "roots")
		c := trusting(rapid.Uint64Range(0, 12).Draw(t, "index"), ids...)
		c.CA.Unlinked = rapid.Bool().Draw(t, "unlinked")
		return c
	})
}

func (m *model) changeCA(index uint64, c *catalog.SetCA) {
	next := c.CA
	if m.ca != nil {
		next.Indexes = m.ca.Indexes
	}
	if next.ModifyIndex != c.Index || m.ca != nil && m.ca.Same(&next) {
		return
	}
	next.Roots = slices.Clone(next.Roots)
	for i := range next.Roots {
		root := &next.Roots[i]
		root.Indexes = catalog.Indexes{CreateIndex: index, ModifyIndex: index}
		if m.ca == nil {
			continue
		}
		for _, old := range m.ca.Roots {
			if old.ID == root.ID {
				root.CreateIndex = old.CreateIndex
				if old.Same(root) {
					root.ModifyIndex = old.ModifyIndex
				}
			}
		}
	}
	if next.CreateIndex == 0 {
		next.CreateIndex = index
	}
	next.ModifyIndex = index
	m.ca = &next
}

// Two leaders that each make an authority, not knowing of the other's, leave one.
func TestSetCA_OnlyTheFirstOfTwoLeadersMakesOne(t *testing.T) {
	f := newFixture(t)
	if r := f.apply(trusting(0, "mine")); r.Value != true {
		t.Fatal(r)
	}
	if r := f.apply(trusting(0, "yours")); r.Value != false || r.Changed || r.Err != nil {
		t.Errorf("the second leader's is answered %+v", r)
	}
	if id := f.View().CA().Active().ID; id != "mine" {
		t.Errorf("the root is now %q", id)
	}
	if r := f.apply(trusting(f.View().CA().ModifyIndex)); r.Err == nil {
		t.Error("an authority without a root is taken")
	}
}

func TestSetCA_AnOldRootKeepsItsIndexUntilItChanges(t *testing.T) {
	f := newFixture(t, trusting(0, "r1"))
	first := f.View().CA().Roots[0].Indexes
	next := trusting(first.ModifyIndex, "r1", "r2")
	next.CA.Roots[0].Key = f.View().CA().Roots[0].Key
	f.must(next)
	roots := f.View().CA().Roots
	if roots[0].Indexes != first || roots[1].CreateIndex != f.Index() {
		t.Errorf("%+v and %+v", roots[0].Indexes, roots[1].Indexes)
	}
	f.must(trusting(f.View().CA().ModifyIndex, "r1", "r2")) // r1 loses its key
	roots = f.View().CA().Roots
	if roots[0].CreateIndex != first.CreateIndex || roots[0].ModifyIndex != f.Index() || roots[0].Key != "" {
		t.Errorf("%+v", roots[0])
	}
}

// An archive from before there were authorities leaves the cluster's own, by which
// all certificates that are out are trusted; another brings its own.
func TestRestore_KeepsTheAuthorityWhereTheArchiveHasNone(t *testing.T) {
	old := newFixture(t, set("a", "1"))
	young := newFixture(t, trusting(0, "theirs"))
	for from, want := range map[*fixture]string{old: "ours", young: "theirs"} {
		to := newFixture(t, trusting(0, "ours"))
		for _, s := range restoring(t, "r", backup(t, from.Store), 100) {
			to.must(s)
		}
		a := to.View().CA()
		if a == nil || a.Active().ID != want || a.ModifyIndex != to.Index() || string(a.Active().Key) != "key of "+want {
			t.Errorf("after the restore the authority is %+v, not %s", a, want)
		}
	}
}

func TestPrivateKey_IsNeverPrinted(t *testing.T) {
	c := trusting(0, "r1")
	said := fmt.Sprintf("%v %+v %#v %s %q %s", *c, *c, *c, c.CA.Active().Key, c.CA.Active().Key, asJSON(c))
	if strings.Contains(said, "key of") || !strings.Contains(said, "hidden") {
		t.Error(said)
	}
}
