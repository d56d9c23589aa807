package state

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/serf/coordinate"
	"pgregory.net/rapid"

	"muster/catalog"
)

var (
	someNodes    = rapid.SampledFrom([]string{"a", "A", "b", "c"})
	someServices = rapid.SampledFrom([]string{"s", "S", "t", "u"})
	someNames    = rapid.SampledFrom([]string{"web", "Web", "db"})
	someChecks   = rapid.SampledFrom([]string{"x", "X", "y", catalog.SerfHealth})
	someStates   = rapid.SampledFrom([]string{"passing", "warning", "critical"})
	someSources  = rapid.Custom(func(t *rapid.T) catalog.Source {
		if rapid.Bool().Draw(t, "sourced") {
			return catalog.Source{NodeID: rapid.SampledFrom([]string{idA, idB}).Draw(t, "from"), Seq: rapid.Uint64Range(1, 20).Draw(t, "seq")}
		}
		return catalog.Source{}
	})
)

// commands draws commands from few names, so that they meet each other.
func commands() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		op := rapid.IntRange(0, 12).Draw(t, "op")
		if op == 12 {
			return caCommands().Draw(t, "ca")
		}
		if op == 11 {
			return onceCommands().Draw(t, "once")
		}
		if op == 9 {
			return configCommands().Draw(t, "config")
		}
		if op == 10 {
			return queryCommands().Draw(t, "query")
		}
		if op == 8 {
			return batches().Draw(t, "batch")
		}
		if op == 7 {
			return txns().Draw(t, "txn")
		}
		if op == 6 {
			return sessionCommands().Draw(t, "session")
		}
		if op == 5 {
			return kvCommands().Draw(t, "kv")
		}
		if op == 4 {
			c := &catalog.Coordinates{}
			for range rapid.IntRange(0, 3).Draw(t, "updates") {
				at := &coordinate.Coordinate{Vec: []float64{rapid.Float64Range(0, 1).Draw(t, "x")}}
				c.Updates = append(c.Updates, catalog.NodeCoordinate{Node: someNodes.Draw(t, "node"), Coord: at})
			}
			return c
		}
		if op == 0 {
			return deregisters(t)
		}
		return registers(t)
	})
}

// batches draws batches of registers and deregisters.
func batches() *rapid.Generator[catalog.Command] {
	return rapid.Custom(func(t *rapid.T) catalog.Command {
		var cmds []catalog.Command
		for range rapid.IntRange(0, 4).Draw(t, "commands") {
			if rapid.Bool().Draw(t, "deregister") {
				cmds = append(cmds, deregisters(t))
			} else {
				cmds = append(cmds, registers(t))
			}
		}
		return catalog.BatchOf(cmds)
	})
}

func deregisters(t *rapid.T) *catalog.Deregister {
	return &catalog.Deregister{
		Node:      someNodes.Draw(t, "node"),
		ServiceID: rapid.OneOf(rapid.Just(""), someServices).Draw(t, "service"),
		CheckID:   rapid.OneOf(rapid.Just(""), someChecks).Draw(t, "check"),
		Source:    someSources.Draw(t, "source"),
	}
}

// registers draws a normalised register.
func registers(t *rapid.T) *catalog.Register {
	c := &catalog.Register{
		Node: catalog.Node{
			Node:    someNodes.Draw(t, "node"),
			ID:      rapid.SampledFrom([]string{"", idA, idB}).Draw(t, "id"),
			Address: rapid.SampledFrom([]string{"1", "2"}).Draw(t, "address"),
		},
		SkipNodeUpdate: rapid.Bool().Draw(t, "skip"),
		Source:         someSources.Draw(t, "source"),
	}
	if rapid.Bool().Draw(t, "with service") {
		c.Service = &catalog.Service{ID: someServices.Draw(t, "service"), Service: someNames.Draw(t, "name"),
			Tags: rapid.SliceOfN(rapid.SampledFrom([]string{"v1", "v2"}), 0, 2).Draw(t, "tags")}
		switch rapid.IntRange(0, 3).Draw(t, "mesh") {
		case 0:
			c.Service.Kind = catalog.KindConnectProxy
			c.Service.Proxy = &catalog.Proxy{DestinationServiceName: someNames.Draw(t, "destination")}
		case 1:
			c.Service.Connect.Native = true
		}
	}
	for range rapid.IntRange(0, 2).Draw(t, "checks") {
		id := someChecks.Draw(t, "check")
		c.Checks = append(c.Checks, catalog.Check{CheckID: id, Name: id, Status: someStates.Draw(t, "status"),
			ServiceID: rapid.OneOf(rapid.Just(""), someServices).Draw(t, "of")})
	}
	c.Normalize()
	return c
}

// model is the catalog as plainly as it can be said: maps by folded names, and
// rules one after the other on a copy, which counts only if none fails.
type model struct {
	nodes    map[string]catalog.Node
	services map[[2]string]catalog.Service
	checks   map[[2]string]catalog.Check
	seqs     map[string]uint64
	coords   map[string]catalog.NodeCoordinate
	kv       map[string]catalog.KVPair
	sessions map[string]catalog.Session
	delays   map[string]catalog.LockDelay
	configs  map[[2]string]catalog.ConfigEntry
	queries  map[string]catalog.PreparedQuery
	outcomes map[string]modelOutcome
	ca       *catalog.CA
}

func newModel() model {
	return model{map[string]catalog.Node{}, map[[2]string]catalog.Service{}, map[[2]string]catalog.Check{}, map[string]uint64{}, map[string]catalog.NodeCoordinate{}, map[string]catalog.KVPair{}, map[string]catalog.Session{}, map[string]catalog.LockDelay{}, map[[2]string]catalog.ConfigEntry{}, map[string]catalog.PreparedQuery{}, map[string]modelOutcome{}, nil}
}

func (m model) clone() model {
	return model{maps.Clone(m.nodes), maps.Clone(m.services), maps.Clone(m.checks), maps.Clone(m.seqs), maps.Clone(m.coords), maps.Clone(m.kv), maps.Clone(m.sessions), maps.Clone(m.delays), maps.Clone(m.configs), maps.Clone(m.queries), maps.Clone(m.outcomes), m.ca}
}

func (m model) apply(index uint64, c catalog.Command) (model, error) {
	next := m.clone()
	var source catalog.Source
	switch c := c.(type) {
	case *catalog.Register:
		source = c.Source
	case *catalog.Deregister:
		source = c.Source
	}
	if source.NodeID != "" {
		if source.Seq <= m.seqs[source.NodeID] {
			return m, nil
		}
		next.seqs[source.NodeID] = source.Seq
	}
	switch c := c.(type) {
	case *catalog.Register:
		if err := next.register(index, c); err != nil {
			return m, err
		}
	case *catalog.KV:
		if err := next.changeKV(index, c); err != nil {
			return m, err
		}
	case *catalog.SetConfig:
		next.changeConfig(index, c)
	case *catalog.SetCA:
		next.changeCA(index, c)
	case *catalog.CreateSession:
		if err := next.createSession(index, c.Session); err != nil {
			return m, err
		}
	case *catalog.DestroySession:
		next.endSession(index, c.ID)
	case *catalog.ChangeQuery:
		if err := next.changeQuery(index, c); err != nil {
			return m, err
		}
	case *catalog.Txn:
		next, _ = m.transact(index, c)
	case *catalog.Once:
		if err := next.once(index, c); err != nil {
			return m, err
		}
	case *catalog.ForgetOutcomes:
		maps.DeleteFunc(next.outcomes, func(_ string, o modelOutcome) bool { return o.index <= c.Through })
	case *catalog.Batch:
		next, _ = m.applyEach(index, c)
	case *catalog.EndLockDelays:
		for _, d := range c.Delays {
			if next.delays[d.Key].Index == d.Index {
				delete(next.delays, d.Key)
			}
		}
	case *catalog.Coordinates:
		for _, u := range c.Updates {
			if n, ok := next.nodes[catalog.Fold(u.Node)]; ok {
				u.Node = n.Node
				next.coords[catalog.Fold(u.Node)] = u
			}
		}
	case *catalog.Deregister:
		node, service, check := catalog.Fold(c.Node), catalog.Fold(c.ServiceID), catalog.Fold(c.CheckID)
		switch {
		case service != "":
			next.dropService(node, service)
		case check != "":
			delete(next.checks, [2]string{node, check})
		default:
			next.dropNode(node)
		}
	}
	for id, s := range next.sessions {
		if next.mayLive(s) != nil {
			next.endSession(index, id)
		}
	}
	return next, nil
}

func (m model) dropService(node, id string) {
	delete(m.services, [2]string{node, id})
	maps.DeleteFunc(m.checks, func(k [2]string, c catalog.Check) bool {
		return k[0] == node && catalog.Fold(c.ServiceID) == id
	})
}

func (m model) dropNode(node string) {
	delete(m.nodes, node)
	delete(m.coords, node)
	maps.DeleteFunc(m.services, func(k [2]string, _ catalog.Service) bool { return k[0] == node })
	maps.DeleteFunc(m.checks, func(k [2]string, _ catalog.Check) bool { return k[0] == node })
}

func (m model) register(index uint64, c *catalog.Register) error {
	key := catalog.Fold(c.Node.Node)
	holder, held := m.nodes[key]
	if !held || !c.SkipNodeUpdate {
		before, known := holder, held
		serf, watched := m.checks[[2]string{key, catalog.Fold(catalog.SerfHealth)}]
		alive := held && watched && serf.Status != "critical"
		for name, n := range m.nodes {
			if c.Node.ID == "" || n.ID != c.Node.ID || name == key {
				continue
			}
			if alive {
				return fmt.Errorf("reserved")
			}
			m.dropNode(name)
			before, known = n, true
		}
		if alive && holder.ID != "" && c.Node.ID != "" && holder.ID != c.Node.ID {
			return fmt.Errorf("reserved")
		}
		node := c.Node
		node.Indexes = catalog.Indexes{CreateIndex: index, ModifyIndex: index}
		if known {
			node.CreateIndex = before.CreateIndex
			if before.Same(&node) {
				node = before
			}
		}
		m.nodes[key] = node
	}
	if c.Service != nil {
		m.putService(index, key, *c.Service, c.Checks)
	}
	for _, check := range c.Checks {
		check.ServiceTags = []string{}
		if check.ServiceID != "" {
			s, ok := m.services[[2]string{key, catalog.Fold(check.ServiceID)}]
			if !ok {
				return fmt.Errorf("unknown service")
			}
			if c.Service != nil && catalog.Fold(c.Service.ID) == catalog.Fold(s.ID) {
				s.ID = c.Service.ID
			}
			check.ServiceID, check.ServiceName, check.ServiceTags = s.ID, s.Service, s.Tags
		}
		check.Node = m.nodes[key].Node
		m.putCheck(index, key, check)
	}
	return nil
}

// putService puts an instance, which its checks follow but for those given beside it.
func (m model) putService(index uint64, node string, s catalog.Service, given []catalog.Check) {
	at := [2]string{node, catalog.Fold(s.ID)}
	s.Indexes = catalog.Indexes{CreateIndex: index, ModifyIndex: index}
	if old, ok := m.services[at]; ok {
		if old.Same(&s) {
			return
		}
		s.CreateIndex = old.CreateIndex
	}
	m.services[at] = s
	for k, c := range m.checks {
		isGiven := slices.ContainsFunc(given, func(g catalog.Check) bool { return catalog.Fold(g.CheckID) == k[1] })
		if k[0] == node && catalog.Fold(c.ServiceID) == at[1] && !isGiven {
			c.ServiceName, c.ServiceTags = s.Service, s.Tags
			m.putCheck(index, node, c)
		}
	}
}

func (m model) putCheck(index uint64, node string, c catalog.Check) {
	at := [2]string{node, catalog.Fold(c.CheckID)}
	c.Indexes = catalog.Indexes{CreateIndex: index, ModifyIndex: index}
	if old, ok := m.checks[at]; ok {
		if old.Same(&c) {
			return
		}
		c.CreateIndex = old.CreateIndex
	}
	m.checks[at] = c
}

func (m model) counts() Counts {
	counts := Counts{Nodes: len(m.nodes), Instances: len(m.services), Checks: map[string]int{"passing": 0, "warning": 0, "critical": 0}}
	names := make(map[string]bool)
	for _, s := range m.services {
		names[catalog.Fold(s.Service)] = true
	}
	counts.Services = len(names)
	for _, c := range m.checks {
		counts.Checks[c.Status]++
	}
	return counts
}

// describe writes the model down as describeView does a view.
func (m model) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", asJSON(m.counts()))
	for _, name := range slices.Sorted(maps.Keys(m.nodes)) {
		fmt.Fprintf(&b, "%s %s\n", name, asJSON(m.nodes[name]))
	}
	pairs := func(x, y [2]string) int { return slices.Compare(x[:], y[:]) }
	for _, k := range slices.SortedFunc(maps.Keys(m.services), pairs) {
		fmt.Fprintf(&b, "%s %s\n", k[0], asJSON(m.services[k]))
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.checks), pairs) {
		fmt.Fprintf(&b, "%s %s\n", k[0], asJSON(m.checks[k]))
	}
	for _, name := range slices.Sorted(maps.Keys(m.coords)) {
		fmt.Fprintf(&b, "%s %s\n", name, asJSON(m.coords[name]))
	}
	for _, key := range slices.Sorted(maps.Keys(m.kv)) {
		fmt.Fprintf(&b, "%s\n", asJSON(m.kv[key]))
	}
	for _, id := range slices.Sorted(maps.Keys(m.sessions)) {
		fmt.Fprintf(&b, "%s\n", asJSON(m.sessions[id]))
	}
	for _, key := range slices.Sorted(maps.Keys(m.delays)) {
		fmt.Fprintf(&b, "%s\n", asJSON(m.delays[key]))
	}
	for _, k := range slices.SortedFunc(maps.Keys(m.configs), pairs) {
		e := m.configs[k]
		fmt.Fprintf(&b, "%s\n", asJSON(&e))
	}
	for _, id := range slices.Sorted(maps.Keys(m.queries)) {
		fmt.Fprintf(&b, "%s\n", asJSON(m.queries[id]))
	}
	for _, key := range slices.Sorted(maps.Keys(m.outcomes)) {
		fmt.Fprintf(&b, "%q %d\n", key, m.outcomes[key].index)
	}
	fmt.Fprintf(&b, "%s\n", asJSON(m.ca))
	return b.String()
}

func describeView(v *View) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", asJSON(v.Counts()))
	for _, n := range v.Nodes() {
		fmt.Fprintf(&b, "%s %s\n", catalog.Fold(n.Node), asJSON(n))
	}
	for _, in := range v.AllInstances() {
		fmt.Fprintf(&b, "%s %s\n", catalog.Fold(in.Node.Node), asJSON(in.Service))
	}
	for _, c := range v.ChecksInState("any") {
		fmt.Fprintf(&b, "%s %s\n", catalog.Fold(c.Node), asJSON(c))
	}
	for _, c := range v.Coordinates() {
		fmt.Fprintf(&b, "%s %s\n", catalog.Fold(c.Node), asJSON(c))
	}
	for _, e := range v.KVBelow("") {
		fmt.Fprintf(&b, "%s\n", asJSON(e))
	}
	for _, s := range v.Sessions() {
		fmt.Fprintf(&b, "%s\n", asJSON(s))
	}
	for _, d := range v.LockDelays() {
		fmt.Fprintf(&b, "%s\n", asJSON(d))
	}
	for _, e := range v.ConfigEntries("") {
		fmt.Fprintf(&b, "%s\n", asJSON(e))
	}
	for _, q := range v.Queries() {
		fmt.Fprintf(&b, "%s\n", asJSON(q))
	}
	for o := range each[*onceRow](v.reader, tableOutcomes, byIDPrefix, "") {
		fmt.Fprintf(&b, "%q %d\n", onceKey(o.Caller, o.Key), o.Index)
	}
	fmt.Fprintf(&b, "%s\n", asJSON(v.CA()))
	return b.String()
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// questions are all ways to read the store with the names that commands draws.
func questions() map[string]func(*View) any {
	qs := map[string]func(*View) any{
		"nodes":     func(v *View) any { return v.Nodes() },
		"services":  func(v *View) any { return v.Services() },
		"names":     func(v *View) any { return v.ServiceNames() },
		"instances": func(v *View) any { return v.AllInstances() },
		"configs":   func(v *View) any { return v.ConfigEntries("") },
		"sessions":  func(v *View) any { return v.Sessions() },
		"session":   func(v *View) any { return v.Session("s1") },
		"delays":    func(v *View) any { return v.LockDelays() },
		"queries":   func(v *View) any { return v.Queries() },
		"authority": func(v *View) any { return v.CA() },
		"places":    func(v *View) any { return v.Coordinates() },
		"on 1": func(v *View) any {
			return v.ServicesOn(func(n *catalog.Node) bool { return n.Address == "1" })
		},
	}
	for _, n := range []string{"a", "b", "c"} {
		qs["sessions on "+n] = func(v *View) any { return v.SessionsOn(n) }
		qs["node "+n] = func(v *View) any { return []any{v.Node(n), v.NodeServices(n)} }
		qs["node checks "+n] = func(v *View) any { return v.NodeChecks(n) }
	}
	for _, kind := range modelKinds {
		qs["kind "+kind] = func(v *View) any { return v.ConfigEntries(kind) }
		qs["config "+kind+" web"] = func(v *View) any { return v.ConfigEntry(kind, "web") }
	}
	for _, key := range modelKeys {
		qs["key "+key] = func(v *View) any { return v.KV(key) }
		qs["below "+key] = func(v *View) any { return v.KVBelow(key) }
	}
	for _, id := range []string{idA, idB} {
		qs["id "+id] = func(v *View) any { return v.NodeByID(id) }
	}
	for _, q := range append([]string{"qabc", "x"}, modelQueries...) {
		qs["query "+q] = func(v *View) any { return v.Query(q) }
		qs["find "+q] = func(v *View) any {
			found, err := v.FindQuery(q)
			return []any{found, fmt.Sprint(err)}
		}
	}
	for _, s := range []string{"web", "db", "none"} {
		qs["service "+s] = func(v *View) any { return v.ServiceInstances(s) }
		qs["mesh "+s] = func(v *View) any { return v.ConnectInstances(s) }
		qs["checks "+s] = func(v *View) any { return v.ServiceChecks(s) }
	}
	for _, s := range []string{"any", "passing", "warning", "critical"} {
		qs["state "+s] = func(v *View) any { return v.ChecksInState(s) }
	}
	return qs
}

// applyEach carries out the commands of a batch one after the other, and tells
// which were refused.
func (m model) applyEach(index uint64, b *catalog.Batch) (now model, refused []bool) {
	now = m
	for _, c := range b.Commands {
		next, err := now.apply(index, c.Command())
		now, refused = next, append(refused, err != nil)
	}
	return now, refused
}

// sameAnswer compares what two transactions answered, but for the reasons.
func sameAnswer(t *rapid.T, want, got *catalog.TxnResult) {
	t.Helper()
	for i := range got.Errors {
		got.Errors[i].What = ""
	}
	if asJSON(want) != asJSON(got) {
		t.Fatalf("a transaction answers\n%s, the model\n%s", asJSON(got), asJSON(want))
	}
}

// TestStore_DoesAsTheModelDoes checks after each command that the store holds what
// the model holds, that Preview foretold it, and that every question whose answer
// changed has the command's index: a read that misses this loses wake-ups.
func TestStore_DoesAsTheModelDoes(t *testing.T) {
	qs := questions()
	type answer struct {
		index uint64
		text  string
	}
	rapid.Check(t, func(t *rapid.T) {
		s := New()
		m := newModel()
		answers := make(map[string]answer)
		for i, c := range rapid.SliceOfN(commands(), 1, 30).Draw(t, "log") {
			index := uint64(i + 1)
			data, err := catalog.EncodeCommand(c)
			if err != nil {
				t.Fatal(err)
			}
			foretold := s.Preview(c)
			got := s.Apply([]Entry{{index, data}})[0]
			if foretold.Changed != got.Changed || fmt.Sprint(foretold.Err) != fmt.Sprint(got.Err) {
				t.Fatalf("preview said %+v, apply %+v", foretold, got)
			}
			next, failed := m.apply(index, c)
			if c, ok := c.(*catalog.Txn); ok {
				_, want := m.transact(index, c)
				sameAnswer(t, want, got.Value.(*catalog.TxnResult))
				if !foretold.Changed {
					sameAnswer(t, want, foretold.Value.(*catalog.TxnResult))
				}
			}
			if c, ok := c.(*catalog.Once); ok {
				failed = next.remember(t, m, c, got)
			}
			if (failed != nil) != (got.Err != nil) {
				t.Fatalf("%d: store says %v, model says %v", index, got.Err, failed)
			}
			before := m.describe()
			after := next.describe()
			_, several := c.(*catalog.Txn) // which may undo what it did: that counts as a change
			if b, ok := c.(*catalog.Batch); ok {
				several = true // likewise
				_, refused := m.applyEach(index, b)
				for i, r := range got.Value.([]catalog.Result) {
					if (r.Err != nil) != refused[i] {
						t.Fatalf("command %d of a batch is answered %v, by the model refused: %t", i, r.Err, refused[i])
					}
				}
			}
			changed := before != after || !maps.Equal(m.seqs, next.seqs)
			if changed != got.Changed && !(several && got.Changed) {
				t.Fatalf("%d: store says changed = %t, model %t", index, got.Changed, changed)
			}
			m = next
			if have := describeView(s.View()); have != after {
				t.Fatalf("%d: store has\n%smodel has\n%s", index, have, after)
			}
			for name, ask := range qs {
				v := s.View()
				now := answer{text: asJSON(ask(v)), index: v.Index()}
				was, asked := answers[name]
				if asked && now.index < was.index {
					t.Fatalf("%d: the index of %s went back from %d to %d", index, name, was.index, now.index)
				}
				if asked && now.text != was.text && now.index != index {
					t.Fatalf("%d: the answer of %s changed and its index is %d", index, name, now.index)
				}
				if asked && v.Moved(v.Topics(), was.index) != (now.index > was.index) {
					t.Fatalf("%d: %s moved from %d to %d, and Moved says otherwise", index, name, was.index, now.index)
				}
				answers[name] = now
			}
		}
	})
}
