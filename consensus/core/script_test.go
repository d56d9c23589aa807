package core_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"muster/consensus/core"
)

var rewrite = flag.Bool("rewrite", false, "write the traces of the scripts anew")

// A script is a text file in testdata: commands on lines that begin with "> ",
// what happened below each, and comments on lines that begin with "#". It is run
// and must reproduce itself, byte for byte. "> expect" states what the script is
// there to show, so that a trace rewritten without looking still has to fit.
//
//	timeouts a=150 b=200   election timeouts in ms; else a=160 b=200 c=240 d=270 e=290
//	disk a 5 1 1 4         before start: term 5, entries of terms 1 1 4 after the configuration
//	batch 1                before start: bytes of entries in one message, so one entry
//	blank a b              before start: servers with empty disks
//	servers a b c          voters of the first configuration, all started
//	start a, crash a       up from what the disk holds; down
//	losetail a 2           crashes, and of its log the disk keeps only 2 entries
//	image a, restore a     copies the disk; crashes, and comes back with the copy
//	wipe a                 crashes, and comes back with an empty disk
//	slow a, sync a [n]     the disk does nothing until told to, n tasks or all
//	pass 50                time goes by, nothing is delivered
//	busy 400               time goes by, and no server gets a turn before its end
//	deliver [a b]          everything on the wire, or the oldest message from a to b
//	lose [a b]             loses the same
//	again a b              doubles the oldest message from a to b
//	run 500                time goes by and everything is delivered
//	isolate a, cut a b, heal
//	propose a x, read a, confirm a (a read by round), transfer a [b], snapshot a [first]
//	add|promote|demote|remove a x    the change, asked of a
//	show                   a line for each server
//	quiet ...              a command without its trace
//	expect ...             see script.expect
type script struct {
	t        *testing.T
	c        *cluster
	timeouts map[core.ServerID]int
	disks    map[core.ServerID]disk
	out      strings.Builder
	muted    bool
	batch    int
	last     struct { // token of the last request, and whom it was asked of
		server *server
		token  uint64
	}
}

func runScript(t *testing.T, name string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{
		t:        t,
		timeouts: map[core.ServerID]int{"a": 160, "b": 200, "c": 240, "d": 270, "e": 290},
		disks:    make(map[core.ServerID]disk),
	}
	s.c = newCluster(t)
	s.c.log = func(format string, args ...any) {
		if !s.muted {
			fmt.Fprintf(&s.out, "    "+format+"\n", args...)
		}
	}
	for i, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		switch {
		case strings.HasPrefix(line, "> "):
			s.out.WriteString(line + "\n")
			s.run(fmt.Sprintf("%s:%d", path, i+1), strings.Fields(line[2:]))
		case line == "" || strings.HasPrefix(line, "#"):
			s.out.WriteString(line + "\n")
		}
	}
	for _, b := range s.c.check.breaches {
		t.Errorf("%s: %s", path, b)
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(s.out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got := s.out.String(); got != string(text) {
		t.Errorf("%s: the trace has changed (rewrite with -rewrite, then read the diff):\n%s", path, firstDifference(string(text), got))
	}
}

func firstDifference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range g {
		if i >= len(w) || w[i] != g[i] {
			return fmt.Sprintf("line %d\n want %s\n got  %s", i+1, strings.Join(w[min(i, len(w)):min(i+3, len(w))], "\n      "), strings.Join(g[i:min(i+3, len(g))], "\n      "))
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(g), len(w))
}

// run does one command.
func (s *script) run(at string, args []string) {
	s.t.Helper()
	if args[0] == "quiet" {
		s.muted, args = true, args[1:]
		defer func() { s.muted = false }()
	}
	verb, args := args[0], args[1:]
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	number := func(i, otherwise int) int {
		n, err := strconv.Atoi(arg(i))
		if err != nil {
			return otherwise
		}
		return n
	}
	on := func() *server { return s.c.server(core.ServerID(arg(0))) }
	asked := func(token uint64) { s.last.server, s.last.token = on(), token }

	switch verb {
	case "timeouts":
		for _, a := range args {
			id, v, _ := strings.Cut(a, "=")
			s.timeouts[core.ServerID(id)], _ = strconv.Atoi(v)
		}
	case "batch":
		s.batch = number(0, 0)
	case "disk":
		s.disks[core.ServerID(arg(0))] = s.diskOf(args[1:])
	case "blank":
		for _, a := range args {
			s.add(core.ServerID(a)).start()
		}
	case "servers":
		s.servers(args)
	case "start":
		on().start()
	case "crash":
		on().crash()
	case "losetail":
		server := on()
		server.crash()
		server.disk.log.entries = server.disk.log.entries[:number(1, 0)]
		server.disk.voteless = true
		s.c.check.lossyDisks = true
	case "wipe":
		server := on()
		server.crash()
		server.wipe()
	case "image":
		on().image = on().disk
	case "restore":
		on().restore(on().image)
	case "slow":
		on().slowDisk = true
	case "sync":
		on().sync(number(1, 1<<20))
	case "pass":
		s.c.pass(core.Duration(number(0, 0)) * ms)
	case "busy":
		s.c.now = s.c.now.Add(core.Duration(number(0, 0)) * ms)
		s.c.pass(0)
	case "run":
		s.c.run(core.Duration(number(0, 0)) * ms)
	case "deliver":
		if len(args) == 0 {
			s.c.deliverAll()
		} else {
			s.c.deliver(s.find(at, args))
		}
	case "lose":
		if len(args) == 0 {
			s.c.wire = nil
		} else {
			i := s.find(at, args)
			s.c.wire = append(s.c.wire[:i:i], s.c.wire[i+1:]...)
		}
	case "again":
		s.c.wire = append(s.c.wire, s.c.wire[s.find(at, args)])
	case "isolate":
		s.c.isolate(core.ServerID(arg(0)))
	case "cut":
		a, b := core.ServerID(arg(0)), core.ServerID(arg(1))
		s.c.cut[[2]core.ServerID{a, b}], s.c.cut[[2]core.ServerID{b, a}] = true, true
	case "heal":
		s.c.heal()
	case "bootstrap":
		config := configurationOf(ids(args)...)
		s.c.fixLogs(config)
		if err := on().core.Bootstrap(on().clock(), config); err != nil {
			s.c.trace("%v", err)
		}
		on().settle()
	case "propose":
		asked(on().propose(arg(1)))
	case "read":
		asked(on().read(core.ReadUnderLease))
	case "confirm":
		asked(on().read(core.ReadByRound))
	case "transfer":
		asked(on().transfer(core.ServerID(arg(1))))
	case "snapshot":
		on().takeSnapshot(uint64(number(1, 1<<20)))
	case "add", "promote", "demote", "remove":
		kinds := map[string]core.ChangeKind{"add": core.AddLearner, "promote": core.PromoteVoter, "demote": core.DemoteVoter, "remove": core.RemoveServer}
		asked(on().change(core.Change{Kind: kinds[verb], ID: core.ServerID(arg(1)), Addr: arg(1) + ":8300"}))
	case "show":
		for _, server := range s.c.servers {
			fmt.Fprintf(&s.out, "    %s\n", summary(server))
		}
	case "expect":
		if got, want, ok := s.expect(args); !ok {
			s.t.Errorf("%s: expected %s: got %s, want %s", at, strings.Join(args, " "), got, want)
		}
	default:
		s.t.Fatalf("%s: unknown command %q", at, verb)
	}
}

func ids(args []string) []core.ServerID {
	list := make([]core.ServerID, 0, len(args))
	for _, a := range args {
		list = append(list, core.ServerID(a))
	}
	return list
}

func (s *script) add(id core.ServerID) *server {
	server := s.c.add(id)
	server.conf.MaxAppendBytes = s.batch
	server.conf.Rand = func(n uint64) uint64 {
		if n == 1<<62 { // where read tokens begin
			return 0
		}
		timeout, ok := s.timeouts[id]
		if !ok {
			timeout = 290
		}
		return uint64(core.Duration(timeout)*ms - 150*ms)
	}
	return server
}

func (s *script) servers(args []string) {
	members := ids(args)
	for _, id := range members {
		s.add(id)
	}
	s.c.seed(configurationOf(ids(args)...))
	for _, id := range members {
		server := s.c.server(id)
		if d, ok := s.disks[id]; ok {
			server.disk.hard = d.hard
			server.disk.log.entries = append(server.disk.log.entries, d.log.entries...)
		}
		server.start()
	}
}

// diskOf reads "term, terms of entries".
func (s *script) diskOf(args []string) disk {
	var d disk
	d.hard.Term, _ = strconv.ParseUint(args[0], 10, 64)
	for i, a := range args[1:] {
		term, _ := strconv.ParseUint(a, 10, 64)
		e := core.Entry{Index: uint64(i) + 2, Term: term, Kind: core.EntryCommand, Data: []byte("old")}
		d.log.entries = append(d.log.entries, e)
	}
	return d
}

// find gives the place of the oldest message from args[0] to args[1] on the wire.
func (s *script) find(at string, args []string) int {
	s.t.Helper()
	for i, m := range s.c.wire {
		if m.From == core.ServerID(args[0]) && m.To == core.ServerID(args[1]) {
			return i
		}
	}
	s.t.Fatalf("%s: no message from %s to %s is under way", at, args[0], args[1])
	return 0
}

// expect checks a fact and gives what is and what should be:
//
//	leader a | leader none       the acting leader of the newest term
//	role a follower              also pre-candidate, candidate, leader
//	term a 2, vote a b, commit a 3, knows a b (its leader), members a {a,b}
//	log a 1.1 2.2 2.3            IDs of the entries after the base
//	holds a text | lacks a text  an entry with that data in its log
//	done | refused text          the last request's outcome or read
//	pending                      it has none yet
func (s *script) expect(args []string) (got, want string, ok bool) {
	want = strings.Join(args[1:], " ")
	if len(args) > 1 && args[0] != "leader" && args[0] != "refused" {
		want = strings.Join(args[2:], " ")
	}
	server := func() *server { return s.c.server(core.ServerID(args[1])) }
	status := func() core.Status { return server().core.Status() }
	switch args[0] {
	case "leader":
		got = "none"
		if l := s.c.leader(); l != nil {
			got = string(l.id)
		}
	case "role":
		got = roleName(status().Role)
	case "term":
		got = fmt.Sprint(status().Term)
	case "vote":
		got = string(status().Vote)
	case "commit":
		got = fmt.Sprint(status().Commit)
	case "knows":
		got = string(status().Leader)
	case "members":
		got = describeConfig(core.EncodeConfiguration(status().Config))
	case "log":
		var list []string
		for _, e := range server().memory.entries {
			list = append(list, id(core.EntryID{Term: e.Term, Index: e.Index}))
		}
		got = strings.Join(list, " ")
	case "holds", "lacks":
		got = describeEntries(server().memory.entries)
		return got, want, strings.Contains(got, "="+want) == (args[0] == "holds")
	case "done", "refused", "pending":
		got = s.lastAnswer()
		return got, args[0] + " " + want, strings.HasPrefix(got, args[0]) && strings.Contains(got, want)
	default:
		s.t.Fatalf("unknown expectation %v", args)
	}
	return got, want, got == want
}

func (s *script) lastAnswer() string {
	err, answered := error(nil), false
	if o, ok := s.last.server.outcomes[s.last.token]; ok {
		err, answered = o.Err, true
	}
	if r, ok := s.last.server.reads[s.last.token]; ok {
		err, answered = r.Err, true
	}
	switch {
	case !answered:
		return "pending"
	case err != nil:
		return "refused: " + err.Error()
	}
	return "done"
}

func summary(s *server) string {
	if s.core == nil {
		return fmt.Sprintf("%s  down", s.id)
	}
	st := s.core.Status()
	return fmt.Sprintf("%s  %s, term %d, vote %q, commit %d, applied %d, log after %s: %s",
		s.id, roleName(st.Role), st.Term, st.Vote, st.Commit, s.applied, id(s.memory.base), describeEntries(s.memory.entries))
}
