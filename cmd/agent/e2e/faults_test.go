package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// faultOperations are the operations that one run of TestFaults judges, over
// all of its episodes.
const faultOperations = 100_000

// episodes are the faults that TestFaults plays, each on a cluster of its own.
var episodes = []struct {
	name    string
	servers int // default 3
	prepare func(*scene)
	play    func(*scene)
}{
	{name: "kill-leader", play: killLeader},
	{name: "kill-all", play: killAll},
	{name: "stop-leader", play: stopLeader},
	{name: "partition", play: partition},
	{name: "one-way", play: oneWay},
	{name: "no-clients", play: noClients},
	{name: "rolling-restart", play: rollingRestart},
	{name: "leave-return", play: leaveAndReturn},
	{name: "wiped-disk", play: wipedDisk},
	{name: "old-copy", play: oldCopy},
	{name: "hung-disk", prepare: ownDisks, play: hungDisk},
	{name: "full-disk", prepare: smallPatience, play: fullDisk},
	{name: "loss", play: loss},
	{name: "delays", prepare: slowLinks, play: delays},
	{name: "little-cpu", play: littleCPU},
	{name: "snapshots", prepare: smallSnapshots, play: snapshots},
	{name: "five-servers", servers: 5, play: fiveServers},
}

// TestFaults does to real servers what machines and networks do, while clients
// write and read through all of them, and judges what the clients saw:
// linearizable (properties 19, 20 and 29), indexes that never go back (33),
// nothing acknowledged lost, no panic, no race, a clean end. One episode:
//
//	go test ./cmd/agent/e2e -run 'TestFaults/one-way' -v
func TestFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: minutes of faults")
	}
	target := faultOperations/len(episodes) + 1
	if raceEnabled {
		target /= 10
	}
	total := 0
	for _, e := range episodes {
		t.Run(e.name, func(t *testing.T) {
			s := newScene(t, max(e.servers, 3))
			if e.prepare != nil {
				e.prepare(s)
			}
			s.begin()
			e.play(s)
			s.load.reach(target)
			total += s.verify()
		})
	}
	t.Logf("%d operations", total)
}

// scene is a cluster under load to which things happen.
type scene struct {
	*cluster
	servers []*agent
	client  *agent
	load    *load
	began   time.Time
}

func newScene(t testing.TB, n int) *scene {
	t.Helper()
	c := newNetwork(t)
	return &scene{cluster: c, servers: c.servers(n, "-log-level", "info"), client: c.client("client", "-log-level", "info")}
}

// begin starts all and the load on them.
func (s *scene) begin() {
	s.t.Helper()
	s.assemble()
	s.load = startLoad(s.t, s.agents)
	s.load.progress(20)
	s.began = time.Now()
}

// assemble starts all agents and waits until they are one cluster.
func (s *scene) assemble() {
	s.t.Helper()
	for _, a := range s.agents {
		a.start()
	}
	waitMembers(s.t, s.agents, len(s.agents))
	s.leaderAmong(s.servers)
	s.waitVoters(len(s.servers))
	s.began = time.Now()
}

// leaderAmong waits until these servers agree that one of them leads.
func (s *scene) leaderAmong(some []*agent) *agent {
	s.t.Helper()
	var leader *agent
	eventually(s.t, 30*time.Second, "one leader among "+names(some), func() error {
		addrs := map[string]bool{}
		for _, a := range some {
			status, _, body, err := a.tryGet("/v1/status/leader")
			if err != nil || status != http.StatusOK {
				return fmt.Errorf("%s: %d %s %w", a.name, status, body, err)
			}
			addrs[body] = true
		}
		if len(addrs) != 1 {
			return fmt.Errorf("they see %v", addrs)
		}
		for _, a := range some {
			if addrs[fmt.Sprintf("%q", a.addr+":8300")] {
				leader = a
				return nil
			}
		}
		return fmt.Errorf("they see %v", addrs)
	})
	return leader
}

// waitVoters waits until every server knows n voters and no learner.
func (s *scene) waitVoters(n int) {
	s.t.Helper()
	for _, a := range s.servers {
		eventually(s.t, 30*time.Second, fmt.Sprintf("%d voters at %s", n, a.name), func() error {
			status, _, body, err := a.tryGet("/v1/operator/raft/configuration?stale")
			if err != nil || status != http.StatusOK {
				return fmt.Errorf("%d %s %w", status, body, err)
			}
			var cfg struct{ Servers []struct{ Voter bool } }
			if err := json.Unmarshal([]byte(body), &cfg); err != nil {
				return err
			}
			voters := 0
			for _, server := range cfg.Servers {
				if server.Voter {
					voters++
				}
			}
			if voters != n || len(cfg.Servers) != n {
				return fmt.Errorf("%d voters of %d servers", voters, len(cfg.Servers))
			}
			return nil
		})
	}
}

// others are the servers but these.
func (s *scene) others(but ...*agent) []*agent {
	return slices.DeleteFunc(slices.Clone(s.servers), func(a *agent) bool { return slices.Contains(but, a) })
}

func names(agents []*agent) string {
	var all []string
	for _, a := range agents {
		all = append(all, a.name)
	}
	return strings.Join(all, ", ")
}

// logf notes a step of an episode.
func (s *scene) logf(format string, args ...any) {
	s.t.Helper()
	s.t.Logf("%6.2fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// lasting lets a fault last. The time is the fault itself; nothing that is
// judged depends on it.
func lasting(d time.Duration) { <-time.After(d) }

// verify ends the load, compares all copies, judges the history, and ends the
// servers. It gives the number of operations judged.
func (s *scene) verify() int {
	s.t.Helper()
	s.leaderAmong(s.servers)
	s.load.end()
	s.compareCopies()
	s.load.history.judge(s.t)
	s.logf("%d operations, %d stale reads besides", s.load.history.len(), s.load.stales.Load())
	s.end()
	return s.load.history.len()
}

// end stops all agents, none of which may have panicked or raced.
func (s *scene) end() {
	s.t.Helper()
	for _, a := range s.servers {
		if _, _, metrics := a.get("/v1/agent/metrics?format=prometheus"); !strings.Contains(metrics, "muster_http_panics_total 0\n") {
			s.t.Errorf("a handler of %s panicked, or its metric is gone", a.name)
		}
	}
	for _, a := range s.agents {
		if code := a.stop(syscall.SIGTERM); code != 0 {
			s.t.Errorf("%s ends with exit code %d", a.name, code)
		}
		if complaint := complaints.FindString(a.log.String()); complaint != "" {
			s.t.Errorf("%s logged: %s", a.name, complaint)
		}
	}
}

// complaints are what no log may have.
var complaints = regexp.MustCompile(`(?m)^(panic:|fatal error:|.*DATA RACE|.*panicked).*$`)

// compareCopies puts one last read of every key into the history, and demands
// that each server's own copy comes to say the same.
func (s *scene) compareCopies() {
	s.t.Helper()
	call := s.load.history.now()
	var truth map[string]string
	eventually(s.t, 15*time.Second, "a consistent read of all nodes", func() (err error) {
		truth, err = values(s.servers[0], "consistent")
		return err
	})
	for _, key := range s.load.keys() {
		s.load.history.add(operation{
			key: key, client: len(s.load.clients), what: action{read, truth[key]},
			via: "the final comparison", call: call, end: s.load.history.now(),
		})
	}
	for _, a := range s.servers {
		eventually(s.t, 15*time.Second, a.name+" holds what the others hold", func() error {
			own, err := values(a, "stale")
			if err != nil {
				return err
			}
			for _, key := range s.load.keys() {
				if own[key] != truth[key] {
					return fmt.Errorf("%s is %q, elsewhere %q", key, own[key], truth[key])
				}
			}
			return nil
		})
	}
}

// values reads all nodes of a server.
func values(a *agent, mode string) (map[string]string, error) {
	status, _, body, err := a.tryGet("/v1/catalog/nodes?" + mode)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("%d %s", status, body)
	}
	var nodes []struct {
		Node string
		Meta struct{ V string }
	}
	if err := json.Unmarshal([]byte(body), &nodes); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, n := range nodes {
		all[n.Node] = n.Meta.V
	}
	return all, nil
}

func killLeader(s *scene) {
	for range 3 {
		leader := s.leaderAmong(s.servers)
		leader.kill()
		s.logf("killed %s", leader.name)
		next := s.leaderAmong(s.others(leader))
		s.logf("%s leads", next.name)
		s.load.progress(100)
		leader.start()
		s.load.progress(100)
	}
}

func killAll(s *scene) {
	for range 3 {
		for _, a := range s.servers {
			a.kill()
		}
		s.logf("killed all")
		for _, a := range s.servers {
			a.start()
		}
		s.logf("%s leads", s.leaderAmong(s.servers).name)
		s.load.progress(200)
	}
}

// stopLeader holds the leader still, for less and for more than an election
// timeout. When it goes on after the longer stop it must not believe in its
// old term.
func stopLeader(s *scene) {
	for _, d := range []time.Duration{50 * time.Millisecond, 100 * time.Millisecond, time.Second, 3 * time.Second} {
		leader := s.leaderAmong(s.servers)
		leader.signal(syscall.SIGSTOP)
		lasting(d)
		if d >= time.Second {
			next := s.leaderAmong(s.others(leader))
			s.logf("%s stopped, %s leads", leader.name, next.name)
			s.load.progress(100)
		}
		leader.signal(syscall.SIGCONT)
		s.logf("%s goes on after a stop of %v or more", leader.name, d)
		s.load.progress(100)
	}
}

func partition(s *scene) {
	for range 2 {
		leader := s.leaderAmong(s.servers)
		for _, one := range []*agent{leader, s.others(leader)[0]} {
			rest := s.others(one)
			part([]*agent{one}, rest)
			s.logf("%s is alone", one.name)
			next := s.leaderAmong(rest)
			s.logf("%s leads the others", next.name)
			s.load.progress(200)
			rejoin([]*agent{one}, rest)
			s.logf("healed")
			s.leaderAmong(s.servers)
			s.load.progress(50)
		}
	}
}

// oneWay cuts one direction only: first what the leader sends, then what it
// would hear. Either way its quorum is gone, and another has to lead
// (property 8: a leader that hears nobody falls silent, or those who still hear
// it would never elect another).
func oneWay(s *scene) {
	leader := s.leaderAmong(s.servers)
	rest := s.others(leader)
	leader.cut(rest...)
	s.logf("%s is not heard", leader.name)
	s.leaderAmong(rest)
	s.load.progress(200)
	leader.heal(rest...)
	leader = s.leaderAmong(s.servers)
	rest = s.others(leader)
	for _, a := range rest {
		a.cut(leader)
	}
	s.logf("%s hears nobody", leader.name)
	s.leaderAmong(rest)
	s.load.progress(200)
	for _, a := range rest {
		a.heal(leader)
	}
	s.leaderAmong(s.servers)
	follower := s.others(s.leaderAmong(s.servers))[0]
	follower.cut(s.others(follower)...)
	s.logf("%s, a follower, is not heard", follower.name)
	s.load.progress(200)
	follower.heal(s.others(follower)...)
}

// noClients takes the leader's clients away and leaves it its followers: it
// goes on leading, for those who ask elsewhere.
func noClients(s *scene) {
	leader := s.leaderAmong(s.servers)
	s.cutClients(leader)
	s.logf("clients of %s are cut off", leader.name)
	s.load.progress(300)
	s.healClients(leader)
	s.load.progress(100)
}

func rollingRestart(s *scene) {
	for _, a := range s.servers {
		if code := a.stop(syscall.SIGTERM); code != 0 {
			s.t.Errorf("%s ends with exit code %d", a.name, code)
		}
		s.load.progress(100)
		a.start()
		s.leaderAmong(s.servers)
		s.load.progress(100)
		s.logf("%s was restarted", a.name)
	}
}

// leaveAndReturn has servers leave for good, the leader first, and come back
// with their old disks.
func leaveAndReturn(s *scene) {
	for range 2 {
		leader := s.leaderAmong(s.servers)
		if out, code := leader.muster("leave"); code != 0 {
			s.t.Fatalf("muster leave: %d %s", code, out)
		}
		if code := leader.waitExit(30 * time.Second); code != 0 {
			s.t.Errorf("%s ends with exit code %d after leave", leader.name, code)
		}
		s.logf("%s has left", leader.name)
		s.leaderAmong(s.others(leader))
		s.load.progress(100)
		leader.start()
		s.waitVoters(len(s.servers))
		s.logf("%s is a voter again", leader.name)
		s.load.progress(100)
	}
}

// wipedDisk takes the log from a follower, then from the leader, while they are
// down. Each comes back under its old identity without what it had acknowledged,
// and must be a voter again only once it has caught up (property 23).
func wipedDisk(s *scene) {
	leader := s.leaderAmong(s.servers)
	for _, a := range []*agent{s.others(leader)[0], leader} {
		a.kill()
		if err := os.RemoveAll(filepath.Join(a.dir, "raft")); err != nil {
			s.t.Fatal(err)
		}
		s.logf("%s is down and its log is gone", a.name)
		s.leaderAmong(s.others(a))
		s.load.progress(100)
		a.start()
		s.leaderAmong(s.servers)
		s.waitVoters(len(s.servers))
		s.logf("%s is a voter again", a.name)
		s.load.progress(100)
	}
}

// oldCopy puts an older copy of its log back under a follower. As long as its leader
// stays, it is told, and must say so, catch up, and be as good as the others when
// the leader is lost (property 23).
func oldCopy(s *scene) {
	follower := s.others(s.leaderAmong(s.servers))[0]
	log := filepath.Join(follower.dir, "raft")
	follower.kill()
	if err := os.CopyFS(log+"-copy", os.DirFS(log)); err != nil {
		s.t.Fatal(err)
	}
	follower.start()
	for told := false; !told; {
		s.leaderAmong(s.servers)
		s.load.progress(100)
		term := metric(s.t, follower, "muster_raft_term")
		follower.kill()
		if err := os.RemoveAll(log); err != nil {
			s.t.Fatal(err)
		}
		if err := os.CopyFS(log, os.DirFS(log+"-copy")); err != nil {
			s.t.Fatal(err)
		}
		follower.start()
		s.logf("%s is back with an older copy of its log", follower.name)
		s.leaderAmong(s.servers)
		eventually(s.t, 15*time.Second, follower.name+" says what it lost, or has another leader", func() error {
			told = strings.Contains(follower.log.String(), "this is an older copy of its disk")
			if now := metric(s.t, follower, "muster_raft_term"); !told && now == term {
				return fmt.Errorf("it follows the leader of term %v as before", now)
			}
			return nil
		})
	}
	eventually(s.t, 15*time.Second, follower.name+" has its vote again", func() error {
		if metric(s.t, follower, "muster_raft_voteless") != 0 {
			return errors.New("it is voteless")
		}
		return nil
	})
	leader := s.leaderAmong(s.servers)
	leader.kill()
	s.logf("%s has caught up, and %s, its leader, was killed", follower.name, leader.name)
	s.logf("%s leads", s.leaderAmong(s.others(leader)).name)
	s.load.progress(100)
	leader.start()
	s.leaderAmong(s.servers)
	s.load.progress(100)
}

func ownDisks(s *scene) {
	needCommands(s.t, "mkfs.ext4", "fsfreeze", "mount", "umount")
	for _, a := range s.servers {
		a.onExt4()
	}
}

// hungDisk stops the disk of a follower, which nobody should notice, and of the
// leader, who has to give way (property 39).
func hungDisk(s *scene) {
	follower := s.others(s.leaderAmong(s.servers))[0]
	follower.freeze()
	s.logf("the disk of %s, a follower, hangs", follower.name)
	s.load.progress(200)
	follower.thaw()
	leader := s.leaderAmong(s.servers)
	leader.freeze()
	s.logf("the disk of %s, the leader, hangs", leader.name)
	s.logf("%s leads", s.leaderAmong(s.others(leader)).name)
	s.load.progress(200)
	leader.thaw()
	s.leaderAmong(s.servers)
	s.load.progress(100)
}

// smallPatience has what is refused be told sooner.
func smallPatience(s *scene) {
	ownDisks(s)
	file := writeFile(s.t, "patience.hcl", "performance { rpc_hold_timeout = \"2s\" }\n")
	for _, a := range s.agents {
		a.args = append(a.args, "-config-file", file)
	}
}

// fullDisk fills the leader's disk, which makes another one lead, then that of a
// second server: too few are left that could store anything. Writes are refused
// with the reason, reads go on, except by a full server that lacks what the
// others stored, and all is well again once there is room.
func fullDisk(s *scene) {
	leader := s.leaderAmong(s.servers)
	s.fill(leader)
	s.logf("the disk of %s, the leader, is full", leader.name)
	rest := s.others(leader)
	eventually(s.t, 15*time.Second, "a leader with room", func() error {
		if s.leaderAmong(s.servers) == leader {
			return fmt.Errorf("%s still leads", leader.name)
		}
		return nil
	})
	s.leaderAmong(rest)
	s.load.progress(200)
	s.fill(rest[0])
	s.logf("the disk of %s is full, too", rest[0].name)
	var asked sync.WaitGroup
	for _, a := range s.agents {
		asked.Go(func() { s.refusedForRoom(a, leader, rest[0]) })
	}
	asked.Wait()
	for _, a := range s.agents {
		status, _, body := a.get("/v1/kv/full?consistent")
		behind := status == http.StatusInternalServerError && strings.Contains(string(body), a.name+" can't tell what is current, for its disk is full")
		if status != http.StatusNotFound && !(behind && (a == leader || a == rest[0])) {
			s.t.Errorf("a consistent read by %s: %d %s", a.name, status, body)
		}
	}
	for _, a := range []*agent{leader, rest[0]} {
		a.unfill()
	}
	s.logf("there is room again")
	s.load.progress(200)
}

// refusedForRoom waits until a write by a is refused with a text that names those
// whose disks are full.
func (s *scene) refusedForRoom(a *agent, full ...*agent) {
	deadline := time.Now().Add(15 * time.Second)
	for {
		_, err := a.consul().KV().Put(&consul.KVPair{Key: "full", Value: []byte("x")}, nil)
		text := fmt.Sprint(err)
		named := strings.Contains(text, "room on their disk")
		for _, f := range full {
			named = named && strings.Contains(text, f.name+": its disk is full")
		}
		if named {
			return
		}
		if time.Now().After(deadline) {
			s.t.Errorf("a write by %s is not refused for want of room at %s and %s: %v", a.name, full[0].name, full[1].name, err)
			return
		}
	}
}

// fill fills a's disk. It notices soon: a server looks for room after every so
// many bytes of log, which come here at once.
func (s *scene) fill(a *agent) {
	s.t.Helper()
	a.fill()
	large := &consul.KVPair{Key: "large", Value: bytes.Repeat([]byte("x"), 300<<10)}
	eventually(s.t, 15*time.Second, a.name+" notices that its disk is full", func() error {
		if metric(s.t, a, "muster_raft_disk_full") == 1 {
			return nil
		}
		_, err := s.client.consul().KV().Put(large, nil)
		return fmt.Errorf("not after a large write either, which ended with %v", err)
	})
}

func loss(s *scene) {
	needCommands(s.t, "nft")
	for _, percent := range []int{2, 10} {
		for _, a := range s.servers {
			a.lose(percent)
		}
		s.logf("%d %% of all packets are lost", percent)
		s.load.progress(100)
		for _, a := range s.servers {
			a.lose(0)
		}
		s.load.progress(100)
	}
}

func littleCPU(s *scene) {
	for _, percent := range []int{20, 5} {
		leader := s.leaderAmong(s.servers)
		release := leader.throttle(percent)
		s.logf("%s has %d %% of a processor", leader.name, percent)
		s.load.progress(200)
		release()
		s.load.progress(100)
	}
}

// smallSnapshots makes servers snapshot all the time, so that one that was away
// needs one sent.
func smallSnapshots(s *scene) {
	file := writeFile(s.t, "snapshots.hcl", "raft_snapshot_threshold = 64\n")
	for _, a := range s.servers {
		a.args = append(a.args, "-config-file", file)
	}
}

func snapshots(s *scene) {
	for range 3 {
		leader := s.leaderAmong(s.servers)
		for _, a := range []*agent{s.others(leader)[0], leader} {
			a.kill()
			s.leaderAmong(s.others(a))
			s.load.progress(300)
			a.start()
			s.leaderAmong(s.servers)
			s.logf("%s is back", a.name)
			s.load.progress(50)
		}
	}
	for _, a := range s.servers {
		if snaps, err := filepath.Glob(filepath.Join(a.dir, "raft", "*snap*")); err != nil || len(snaps) == 0 {
			entries, _ := os.ReadDir(filepath.Join(a.dir, "raft"))
			s.t.Errorf("%s has made no snapshot: %v", a.name, entries)
		}
	}
}

// fiveServers loses the leader and another one to a partition, again to kills, and
// then for good, with their disks.
func fiveServers(s *scene) {
	leader := s.leaderAmong(s.servers)
	few := []*agent{leader, s.others(leader)[0]}
	many := s.others(few...)
	part(few, many)
	s.logf("%s are cut off", names(few))
	s.leaderAmong(many)
	s.load.progress(200)
	rejoin(few, many)
	s.leaderAmong(s.servers)
	leader = s.leaderAmong(s.servers)
	dead := []*agent{leader, s.others(leader)[0]}
	for _, a := range dead {
		a.kill()
	}
	s.logf("killed %s", names(dead))
	s.leaderAmong(s.others(dead...))
	s.load.progress(200)
	for _, a := range dead {
		a.start()
	}
	s.leaderAmong(s.servers)
	s.load.progress(100)
	wipeTwo(s)
}
