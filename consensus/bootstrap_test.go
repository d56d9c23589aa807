package consensus

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"muster/consensus/core"
)

// The model: servers with nothing but what is on their disks, and a network that
// keeps for ever all that was ever said. In each step one server hears, of each
// other one, any of the things that it ever said, or nothing, and does what the
// shipped Promise.answer says. Losses, delays, doubles, reordering and crashes at
// any point are all in that, as what a server has heard and not written down is
// forgotten at once. A server that comes back wiped has another log, and is to
// the others as one that is lost.

// model is one state: per server its disk and what it ever said of the charters.
// Servers 0, 1 and 2 are in the first charter, 1, 2 and 3 in the second, which is
// drawn up when 1 and 2 are free of the first.
type model struct {
	disk [4]Standing
	said [2][4]string // stages, one letter each, sorted
}

var (
	ids      = [4]core.ServerID{"a", "b", "c", "d"}
	charters = [2]*Charter{modelCharter("first", 0, 0, 1, 2), modelCharter("second", 1, 1, 2, 3)}
	letters  = map[Stage]string{Open: "o", Promised: "p", Withdrawn: "w", Sealed: "s", Begun: "b", Past: "x"}
)

// modelCharter names servers; the last one is still in its first turn if it is
// new to the second charter.
func modelCharter(cluster string, turn uint64, members ...int) *Charter {
	c := &Charter{Config: core.Configuration{ClusterID: cluster}}
	for _, m := range members {
		c.Config.Servers = append(c.Config.Servers, core.Server{ID: ids[m], Addr: "host:1", Suffrage: core.Voter, Log: core.Incarnation(m + 1)})
		if m == 3 {
			turn = 0
		}
		c.Turns = append(c.Turns, turn)
	}
	return c
}

func newModel() model {
	var m model
	for i := range m.disk {
		m.disk[i].Log = core.Incarnation(i + 1)
	}
	return m.saying()
}

// saying notes what each server would say now.
func (m model) saying() model {
	for c, charter := range charters {
		for i := range m.disk {
			stage := m.disk[i].On(charter, ids[i])
			if l := letters[stage]; l != "" && !strings.Contains(m.said[c][i], l) {
				letters := []byte(m.said[c][i] + l)
				slices.Sort(letters)
				m.said[c][i] = string(letters)
			}
		}
	}
	return m
}

// considers has server i consider a charter.
func (m model) considers(i, c int, r PromiseRequest) model {
	s := &m.disk[i]
	if s.Cluster != "" {
		return m
	}
	r.Charter = charters[c]
	next := s.answer(ids[i], s.Log, r)
	if next.Stage == Begun {
		s.Cluster = next.ClusterID()
	} else {
		s.Promise = next
	}
	return m.saying()
}

func members(c int) []int { return [][]int{{0, 1, 2}, {1, 2, 3}}[c] }

// drawnUp says whether a charter can be under way: the second once two of the
// first's servers were free of it.
func (m model) drawnUp(c int) bool {
	return c == 0 || strings.Contains(m.said[1][1], "o") && strings.Contains(m.said[1][2], "o")
}

// steps calls each with every state that can follow.
func (m model) steps(each func(model)) {
	for c, charter := range charters {
		if !m.drawnUp(c) {
			continue
		}
		for _, i := range members(c) {
			flags := []PromiseRequest{{}, {Hopeless: true}}
			if m.disk[i].On(charter, ids[i]) == Open {
				flags = []PromiseRequest{{}, {Willing: true}}
			}
			for _, heard := range m.hearings(c, i) {
				for _, r := range flags {
					r.Heard = heard
					if next := m.considers(i, c, r); next != m {
						each(next)
					}
				}
			}
		}
	}
}

// hearings are all that server i may have heard of the others.
func (m model) hearings(c, i int) []map[core.ServerID]Stage {
	out := []map[core.ServerID]Stage{{}}
	for _, j := range members(c) {
		if j == i {
			continue
		}
		for _, before := range out {
			for stage, l := range letters {
				if stage != Open && strings.Contains(m.said[c][j], l) { // Open has no consequence
					more := maps.Clone(before)
					more[ids[j]] = stage
					out = append(out, more)
				}
			}
		}
	}
	return out
}

// unsafe says what must never be.
func (m model) unsafe() error {
	for c, charter := range charters {
		begun, past := "", ""
		for _, i := range members(c) {
			if strings.Contains(m.said[c][i], "b") {
				begun = string(ids[i])
			}
			if strings.Contains(m.said[c][i], "x") {
				past = string(ids[i])
			}
		}
		if begun != "" && past != "" {
			return fmt.Errorf("%s has begun cluster %s, and %s is free for another", begun, charter.Config.ClusterID, past)
		}
	}
	return nil
}

// settle has all servers but one talk to each other until nothing changes any
// more, as the agents do. The charters are those under way.
func (m model) settle(lost int, charters []int) model {
	for {
		before := m
		for _, c := range charters {
			for _, i := range members(c) {
				if i != lost {
					m = m.pursue(i, c, lost)
				}
			}
		}
		if m == before {
			return m
		}
	}
}

// pursue has server i ask the others and do what follows.
func (m model) pursue(i, c, lost int) model {
	before, heard := m, map[core.ServerID]Stage{}
	for _, j := range members(c) {
		if j != i && j != lost {
			m = m.considers(j, c, PromiseRequest{Willing: true})
			heard[ids[j]] = m.disk[j].On(charters[c], ids[j])
		}
	}
	m = m.considers(i, c, PromiseRequest{Heard: heard, Willing: true})
	if m == before && slices.Contains(members(c), lost) {
		m = m.considers(i, c, PromiseRequest{Heard: heard, Hopeless: true})
	}
	return m
}

// ends says in a word how the servers but one are once they have settled.
func (m model) ends(lost int) string {
	begun, bound := map[string]int{}, map[Stage]bool{}
	for i, s := range m.disk {
		switch {
		case i == lost:
		case s.Cluster != "":
			begun[s.Cluster]++
		case s.Charter != nil:
			bound[s.Stage] = true
		}
	}
	switch {
	case begun["first"] >= 2 || begun["second"] >= 2:
		return "a cluster"
	case len(begun) == 0 && len(bound) == 0:
		return "all free"
	case bound[Withdrawn] && lost >= 0 && (len(begun) > 0 || bound[Sealed]) && !bound[Promised]:
		return "stuck: one has withdrawn, another has sealed, the third is lost"
	}
	return fmt.Sprintf("stuck: %+v without server %d", m.disk, lost)
}

// Every state of two charters that share two of their three servers is visited.
// In none has a server begun a cluster while another of its members is free for
// a second one, and from each, whichever server is then lost for good or none,
// those that are left either become a cluster or are free for another; but for
// the one case that docs/raft.md names.
func TestBootstrap_TwoClustersNeverAndNoDeadEnd(t *testing.T) {
	type question struct {
		disk     [4]Standing
		lost     int
		charters int
	}
	settled, count := map[question]string{}, map[string]int{}
	seen := map[model]bool{newModel(): true}
	for todo := []model{newModel()}; len(todo) > 0; {
		m := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if err := m.unsafe(); err != nil {
			t.Fatalf("%v: %+v", err, m)
		}
		underWay := []int{0, 1}
		if !m.drawnUp(1) {
			underWay = underWay[:1]
		}
		for lost := -1; lost < len(ids); lost++ {
			q := question{m.disk, lost, len(underWay)}
			if settled[q] == "" {
				settled[q] = m.settle(lost, underWay).ends(lost)
			}
			count[settled[q]]++
		}
		m.steps(func(next model) {
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		})
	}
	t.Logf("%d states", len(seen))
	for _, end := range slices.Sorted(maps.Keys(count)) {
		t.Logf("%d times %s", count[end], end)
		if strings.HasPrefix(end, "stuck: [") {
			t.Errorf("a dead end")
		}
	}
	if count["a cluster"] == 0 || count["all free"] == 0 || len(seen) < 10_000 {
		t.Error("the model did not get around")
	}
}

// A charter of one server or of five goes the same way.
func TestBootstrap_StagesOfOneAndOfFive(t *testing.T) {
	for _, n := range []int{1, 2, 5, 7} {
		c := &Charter{Config: core.Configuration{ClusterID: "c"}, Turns: make([]uint64, n)}
		heard := map[core.ServerID]Stage{}
		for i := range n {
			id := core.ServerID(fmt.Sprintf("s%d", i))
			c.Config.Servers = append(c.Config.Servers, core.Server{ID: id, Addr: "host:1", Suffrage: core.Voter, Log: core.Incarnation(i + 1)})
		}
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		expect := func(want Stage) {
			t.Helper()
			p := Promise{Stage: Promised, Charter: c}
			if got := p.next("s0", heard, false); got.Stage != want {
				t.Errorf("of %d servers, having heard %v: %q, not %q", n, heard, got.Stage, want)
			}
		}
		if n > 1 {
			expect(Promised)
		}
		for i := 1; i < n; i++ {
			heard[c.Config.Servers[i].ID] = Promised
		}
		if n > 1 {
			expect(Sealed)
		}
		for i := 1; i <= n/2; i++ {
			heard[c.Config.Servers[i].ID] = Sealed
		}
		expect(Begun)
	}
}
