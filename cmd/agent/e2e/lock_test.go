package e2e

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// TestLock_ThroughTheOfficialClient has two contenders, at a client agent and at a
// server, compete for one lock with the official client: one holds it, loses it
// when its session ends, and the other has it once the lock-delay is over, though
// the leader was killed meanwhile.
func TestLock_ThroughTheOfficialClient(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3)
	client := c.client("client")
	all := append(append([]*agent(nil), servers...), client)
	for _, a := range all {
		a.start()
	}
	waitMembers(t, all, 4)
	for _, a := range all {
		a.waitLeader()
	}

	t.Run("a lock is handed on", func(t *testing.T) {
		key := "locks/handed on"
		first, lost := hold(t, client, key, 0)
		if e, _, err := client.consul().KV().Get(key, nil); err != nil || e == nil || e.Session == "" || e.LockIndex != 1 || e.Flags != consul.LockFlagValue {
			t.Fatalf("held: %+v %v", e, err)
		}
		contender, err := servers[0].consul().LockKey(key)
		if err != nil {
			t.Fatal(err)
		}
		next := make(chan error, 1)
		go func() {
			lost, err := contender.Lock(nil)
			if err == nil && lost == nil {
				err = errors.New("it gave up")
			}
			next <- err
		}()
		if err := first.Unlock(); err != nil {
			t.Fatal(err)
		}
		<-lost
		if err := <-next; err != nil {
			t.Fatal(err)
		}
		if e, _, err := client.consul().KV().Get(key, nil); err != nil || e == nil || e.Session == "" || e.LockIndex != 2 {
			t.Errorf("handed on: %+v %v", e, err)
		}
		if err := contender.Unlock(); err != nil {
			t.Error(err)
		}
	})

	t.Run("a holder learns that its session has ended, and a delay follows", func(t *testing.T) {
		const delay = 3 * time.Second
		key := "locks/lost"
		_, lost := hold(t, client, key, delay)
		e, _, err := client.consul().KV().Get(key, nil)
		if err != nil {
			t.Fatal(err)
		}
		ended := time.Now()
		if _, err := client.consul().Session().Destroy(e.Session, nil); err != nil {
			t.Fatal(err)
		}
		select {
		case <-lost:
		case <-time.After(5 * time.Second):
			t.Fatal("the holder was not told")
		}
		survivors := append([]*agent(nil), all...)
		leader := leaderOf(servers, client)
		leader.kill()
		for i, a := range survivors {
			if a == leader {
				survivors = append(survivors[:i], survivors[i+1:]...)
				break
			}
		}
		l, _ := hold(t, survivors[0], key, 0)
		if after := time.Since(ended); after < delay {
			t.Errorf("the next has the lock after %v; the lock-delay is %v", after, delay)
		}
		if err := l.Unlock(); err != nil {
			t.Error(err)
		}
		leader.start()
		leader.waitLeader()
	})

	t.Run("a holder keeps its lock when the leader dies", func(t *testing.T) {
		key := "locks/kept"
		leader := leaderOf(servers, client)
		mine, lost := hold(t, client, key, 0)
		at := servers[slices.IndexFunc(servers, func(s *agent) bool { return s != leader })]
		contender, err := at.consul().LockOpts(&consul.LockOptions{Key: key, SessionName: t.Name()})
		if err != nil {
			t.Fatal(err)
		}
		next := make(chan error, 1)
		go func() {
			_, err := contender.Lock(nil)
			next <- err
		}()
		eventually(t, 10*time.Second, "the contender has its session", func() error {
			all, _, err := at.consul().Session().Node(at.name, nil)
			if err == nil && !slices.ContainsFunc(all, func(s *consul.SessionEntry) bool { return s.Name == t.Name() }) {
				err = fmt.Errorf("not among %v", all)
			}
			return err
		})
		leader.kill()
		eventually(t, 15*time.Second, "another leader takes writes", func() error {
			_, err := client.consul().KV().Put(&consul.KVPair{Key: "beside"}, nil)
			return err
		})
		select {
		case <-lost:
			t.Error("the holder was told that it had lost the lock")
		case err := <-next:
			t.Errorf("the contender went on beside the holder: %v", err)
		default:
		}
		if err := mine.Unlock(); err != nil {
			t.Error(err)
		}
		if err := <-next; err != nil {
			t.Errorf("the contender: %v", err)
		} else if err := contender.Unlock(); err != nil {
			t.Error(err)
		}
		leader.start()
		leader.waitLeader()
	})

	t.Run("a semaphore lets in as many as it says", func(t *testing.T) {
		var (
			held    []*consul.Semaphore
			session string // of the last
		)
		for _, a := range []*agent{client, servers[1]} {
			var err error
			if session, _, err = a.consul().Session().Create(nil, nil); err != nil {
				t.Fatal(err)
			}
			s, err := a.consul().SemaphoreOpts(&consul.SemaphoreOptions{Prefix: "semaphore/", Limit: 2, Session: session})
			if err != nil {
				t.Fatal(err)
			}
			if lost, err := s.Acquire(nil); err != nil || lost == nil {
				t.Fatalf("%s: %v", a.name, err)
			}
			held = append(held, s)
		}
		third, err := servers[0].consul().SemaphoreOpts(&consul.SemaphoreOptions{Prefix: "semaphore/", Limit: 2, SemaphoreTryOnce: true, SemaphoreWaitTime: 500 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if lost, err := third.Acquire(nil); err != nil || lost != nil {
			t.Errorf("a third was let in: %v", err)
		}
		if err := held[0].Release(); err != nil {
			t.Fatal(err)
		}
		if lost, err := third.Acquire(nil); err != nil || lost == nil {
			t.Errorf("after a release: %v", err)
		}
		fourth, err := client.consul().SemaphoreOpts(&consul.SemaphoreOptions{Prefix: "semaphore/", Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		let := make(chan error, 1)
		go func() {
			lost, err := fourth.Acquire(nil)
			if err == nil && lost == nil {
				err = errors.New("it gave up")
			}
			let <- err
		}()
		if _, err := client.consul().Session().Destroy(session, nil); err != nil {
			t.Fatal(err)
		}
		if err := <-let; err != nil {
			t.Errorf("after the end of a holder's session: %v", err)
		}
		for _, s := range []*consul.Semaphore{third, fourth} {
			if err := s.Release(); err != nil {
				t.Error(err)
			}
		}
	})

	t.Run("a session that is not renewed ends, and not before its TTL", func(t *testing.T) {
		session := client.consul().Session()
		begun := time.Now()
		id, _, err := session.Create(&consul.SessionEntry{TTL: "10s", Behavior: consul.SessionBehaviorDelete, LockDelay: time.Millisecond}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if e, _, err := session.Renew(id, nil); err != nil || e == nil || e.Node != "client" || e.TTL != "10s" {
			t.Fatalf("renew: %+v %v", e, err)
		}
		if ok, _, err := client.consul().KV().Acquire(&consul.KVPair{Key: "ephemeral", Session: id}, nil); err != nil || !ok {
			t.Fatalf("acquire: %t %v", ok, err)
		}
		eventually(t, 30*time.Second, "the entry goes with its session", func() error {
			e, _, err := client.consul().KV().Get("ephemeral", nil)
			if err == nil && e != nil {
				err = fmt.Errorf("it is there: %+v", e)
			}
			return err
		})
		if lived := time.Since(begun); lived < 10*time.Second {
			t.Errorf("it ended after %v", lived)
		}
		if e, _, err := session.Info(id, nil); err != nil || e != nil {
			t.Errorf("info: %+v %v", e, err)
		}
		if e, _, err := session.Renew(id, nil); err != nil || e != nil {
			t.Errorf("renew: %+v %v", e, err)
		}
	})

	t.Run("the sessions of an agent that dies end", func(t *testing.T) {
		_, _ = hold(t, client, "locks/dead", time.Millisecond)
		client.kill()
		l, _ := hold(t, servers[0], "locks/dead", 0)
		if err := l.Unlock(); err != nil {
			t.Error(err)
		}
	})
}

// hold acquires a lock through an agent with a session of its own, which has no
// TTL and so lives as long as the agent.
func hold(t *testing.T, a *agent, key string, delay time.Duration) (*consul.Lock, <-chan struct{}) {
	client := a.consul()
	var id string
	// A new agent has its health check once the leader has met it.
	eventually(t, 10*time.Second, "a session through "+a.name, func() (err error) {
		id, _, err = client.Session().Create(&consul.SessionEntry{Name: t.Name(), LockDelay: max(delay, time.Millisecond)}, nil)
		return err
	})
	l, err := client.LockOpts(&consul.LockOptions{Key: key, Session: id})
	if err != nil {
		t.Fatal(err)
	}
	lost, err := l.Lock(nil)
	if err != nil || lost == nil {
		t.Fatalf("%s: lock %s: %v", a.name, key, err)
	}
	return l, lost
}
