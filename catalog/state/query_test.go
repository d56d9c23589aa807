package state

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hashicorp/serf/coordinate"
	"pgregory.net/rapid"

	"muster/catalog"
)

var (
	modelQueries = []string{idA, idB, "cccccccc-3333-3333-3333-333333333333"}
	queryNames   = []string{"", "q", "Q", "qa", "qab", idA}
)

// queryCommands draws changes of prepared queries whose names meet.
func queryCommands() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		q := catalog.PreparedQuery{
			ID:      rapid.SampledFrom(modelQueries).Draw(t, "id"),
			Name:    rapid.SampledFrom(queryNames).Draw(t, "name"),
			Session: rapid.SampledFrom(modelSessions).Draw(t, "session"),
			Service: catalog.ServiceQuery{Service: rapid.SampledFrom([]string{"web", "${name.suffix}"}).Draw(t, "of")},
		}
		if rapid.Bool().Draw(t, "template") {
			q.Template.Type = catalog.QueryPrefixMatch
		}
		return &catalog.ChangeQuery{Verb: catalog.QueryVerb(rapid.IntRange(1, 3).Draw(t, "query verb")),
			Index: rapid.SampledFrom([]uint64{0, 0, 1, 2, 3}).Draw(t, "query index"), Query: q}
	})
}

func (m model) changeQuery(index uint64, c *catalog.ChangeQuery) error {
	q := c.Query
	old, there := m.queries[q.ID]
	if there == (c.Verb == catalog.QueryCreate) {
		return fmt.Errorf("is there, or isn't")
	}
	if there && c.Index != 0 && c.Index != old.ModifyIndex {
		return nil
	}
	if c.Verb == catalog.QueryDelete {
		delete(m.queries, q.ID)
		return nil
	}
	if _, ok := m.sessions[q.Session]; q.Session != "" && !ok {
		return fmt.Errorf("no session")
	}
	for id, other := range m.queries {
		taken := other.Name != "" || other.IsTemplate() && q.IsTemplate()
		if id != q.ID && taken && catalog.Fold(other.Name) == catalog.Fold(q.Name) || id == catalog.Fold(q.Name) {
			return fmt.Errorf("the name is taken")
		}
	}
	q.Indexes = catalog.Indexes{CreateIndex: index, ModifyIndex: index}
	if there {
		q.CreateIndex = old.CreateIndex
		if old.Same(&q) {
			return nil
		}
	}
	m.queries[q.ID] = q
	return nil
}

// find gives the query that answers to a name.
func (v *View) find(t testing.TB, name string) *catalog.PreparedQuery {
	t.Helper()
	q, err := v.FindQuery(name)
	if err != nil {
		t.Fatalf("find %q: %v", name, err)
	}
	return q
}

func query(id, name string, change ...func(*catalog.PreparedQuery)) *catalog.ChangeQuery {
	q := catalog.PreparedQuery{ID: id, Name: name, Service: catalog.ServiceQuery{Service: "web"}}
	for _, f := range change {
		f(&q)
	}
	return &catalog.ChangeQuery{Verb: catalog.QueryCreate, Query: q}
}

func asTemplate(q *catalog.PreparedQuery) {
	q.Template.Type, q.Service.Service = catalog.QueryPrefixMatch, "${name.suffix}"
}

func TestFindQuery_TheLongestTemplateAnswers(t *testing.T) {
	f := newFixture(t, query("1", "", asTemplate), query("2", "ab", asTemplate), query("3", "abc"), query("4", "abcd-", asTemplate))
	for name, want := range map[string]string{
		"3": "3 web", "x": "1 x", "a": "1 a", "ab": "2 ", "ABx": "2 x", "abc": "3 web", "ABC": "3 web", "abcx": "2 cx", "abcd": "2 cd",
		"abcd-e": "4 e", "": "", strings.Repeat("a", catalog.MaxQueryName+1): "",
	} {
		got := ""
		if q := f.View().find(t, name); q != nil {
			got = q.ID + " " + q.Service.Service
		}
		if got != want {
			t.Errorf("%.20q finds %q, want %q", name, got, want)
		}
	}
	if q, err := f.View().FindQuery("1"); err == nil {
		t.Errorf("a template answers to its ID: %v", q)
	}
}

func TestPlanQuery_Refusals(t *testing.T) {
	f := newFixture(t, query("1", "q"), query("2", "", asTemplate))
	change := func(verb catalog.QueryVerb, c *catalog.ChangeQuery) *catalog.ChangeQuery {
		c.Verb = verb
		return c
	}
	f.mustRefuse(query("3", "Q"), catalog.Conflict, "name 'Q' aliases an existing query name")
	f.mustRefuse(query("3", "q", asTemplate), catalog.Conflict, "name 'q' aliases an existing query name")
	f.mustRefuse(query("3", "1"), catalog.Conflict, "name '1' aliases an existing query ID")
	f.mustRefuse(query("3", "", asTemplate), catalog.Conflict, "a query template with an empty name already exists")
	f.mustRefuse(query("1", "x"), catalog.Conflict, `there is a prepared query "1" already`)
	f.mustRefuse(query("3", "x", func(q *catalog.PreparedQuery) { q.Session = "s" }), catalog.Invalid, `invalid session "s"`)
	f.mustRefuse(query("3", "a\x00b"), catalog.Invalid, `"a\x00b" contains a NUL character`)
	f.mustRefuse(change(catalog.QueryUpdate, query("3", "x")), catalog.NotFound, "Cannot modify non-existent prepared query: '3'")
	f.mustRefuse(change(catalog.QueryDelete, query("3", "x")), catalog.NotFound, "Cannot modify non-existent prepared query: '3'")
	f.mustKeep(change(catalog.QueryUpdate, query("1", "q")))
	f.must(change(catalog.QueryUpdate, query("1", "Q", asTemplate)))
	last := change(catalog.QueryDelete, query("2", ""))
	last.Index = 1
	f.mustKeep(last)
	last.Index = 2
	f.must(last)
	f.must(query("3", "", asTemplate))
}

func TestQuery_EndsWithItsSession(t *testing.T) {
	f := newFixture(t, register("n1"), session("s1", 0), session("s2", 0),
		query("1", "q", func(q *catalog.PreparedQuery) { q.Session = "s1" }),
		query("2", "", func(q *catalog.PreparedQuery) { q.Session = "s1" }),
		query("3", "r", func(q *catalog.PreparedQuery) { q.Session = "s2" }))
	f.must(&catalog.DestroySession{ID: "s1"})
	if left := f.View().Queries(); len(left) != 1 || left[0].ID != "3" {
		t.Errorf("the session's end left %v", left)
	}
	f.must(query("1", "q"))
}

// queried registers an instance of web with a check.
func queried(node, status string, tags ...string) *catalog.Register {
	return &catalog.Register{
		Node:    catalog.Node{Node: node, Address: "192.0.2." + strings.TrimPrefix(node, "n"), Meta: map[string]string{"rack": "r-" + node}},
		Service: &catalog.Service{ID: "web", Service: "web", Tags: tags, Meta: map[string]string{"of": node}},
		Checks:  []catalog.Check{{CheckID: "c-" + node, Name: "c", Status: status, ServiceID: "web"}},
	}
}

func TestAnswer(t *testing.T) {
	f := newFixture(t, queried("n1", "passing", "v1", "primary"), queried("n2", "warning", "v1"), queried("n3", "critical", "V2"),
		&catalog.Register{Node: catalog.Node{Node: "n4", Address: "192.0.2.4"}, Service: &catalog.Service{
			ID: "proxy", Service: "web-proxy", Kind: catalog.KindConnectProxy, Proxy: &catalog.Proxy{DestinationServiceName: "web"}}},
		&catalog.Coordinates{Updates: []catalog.NodeCoordinate{at("n1", 3), at("n2", 1), at("n4", 2)}})
	for _, c := range []struct {
		name string
		ask  catalog.ServiceQuery
		want string // a * before it: the nearest first
	}{
		{"service", catalog.ServiceQuery{Service: "WEB"}, "n1 n2"},
		{"none", catalog.ServiceQuery{Service: "none"}, ""},
		{"nameless", catalog.ServiceQuery{}, ""},
		{"passing", catalog.ServiceQuery{Service: "web", OnlyPassing: true}, "n1"},
		{"all", catalog.ServiceQuery{Service: "web", IncludeAll: true}, "n1 n2 n3"},
		{"ignored", catalog.ServiceQuery{Service: "web", IgnoreCheckIDs: []string{"c-n3"}}, "n1 n2 n3"},
		{"ignored, passing", catalog.ServiceQuery{Service: "web", OnlyPassing: true, IgnoreCheckIDs: []string{"c-n2"}}, "n1 n2"},
		{"tags", catalog.ServiceQuery{Service: "web", Tags: []string{"V1", "!Primary"}}, "n2"},
		{"tag of none", catalog.ServiceQuery{Service: "web", Tags: []string{""}}, ""},
		{"not a tag of none", catalog.ServiceQuery{Service: "web", Tags: []string{"!"}}, "n1 n2"},
		{"node", catalog.ServiceQuery{Service: "web", NodeMeta: map[string]string{"rack": "r-n2"}}, "n2"},
		{"node without", catalog.ServiceQuery{Service: "web", NodeMeta: map[string]string{"none": ""}}, ""},
		{"meta", catalog.ServiceQuery{Service: "web", ServiceMeta: map[string]string{"of": "n1"}}, "n1"},
		{"mesh", catalog.ServiceQuery{Service: "web", Connect: true}, "n4"},
		{"elsewhere", catalog.ServiceQuery{Service: "web", Failover: catalog.QueryFailover{SkipLocalDatacenter: true}}, ""},
		{"near", catalog.ServiceQuery{Service: "web", Near: "n4"}, "*n1 n2"}, // 1 away each
		{"near itself", catalog.ServiceQuery{Service: "web", Near: "N2"}, "*n2 n1"},
		{"near agent", catalog.ServiceQuery{Service: "web", Near: catalog.QueryNearAgent, IncludeAll: true}, "*n3 n1 n2"}, // which has no coordinate
		{"near address", catalog.ServiceQuery{Service: "web", Near: catalog.QueryNearIP}, "*n2 n1"},
		{"near nobody", catalog.ServiceQuery{Service: "web", Near: "nobody"}, "n1 n2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			found, nearest := f.View().Answer(&catalog.PreparedQuery{Service: c.ask},
				Asker{Agent: "n3", Addr: netip.MustParseAddr("::ffff:192.0.2.2")})
			var names []string
			for _, in := range found {
				names = append(names, in.Node.Node)
			}
			got := strings.Join(names, " ")
			if nearest {
				got = "*" + got
			}
			if got != c.want {
				t.Errorf("found %s, want %s", got, c.want)
			}
		})
	}
	nowhere := catalog.PreparedQuery{Service: catalog.ServiceQuery{Service: "web", Near: catalog.QueryNearIP}}
	if _, nearest := f.View().Answer(&nowhere, Asker{}); nearest {
		t.Error("instances were sorted by how far they are from nobody")
	}
}

func at(node string, x float64) catalog.NodeCoordinate {
	c := coordinate.NewCoordinate(coordinate.DefaultConfig())
	c.Vec[0] = x
	return catalog.NodeCoordinate{Node: node, Coord: c}
}
