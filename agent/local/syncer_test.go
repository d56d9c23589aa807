package local_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

// newSyncer makes a syncer without chance: no pause is shortened or spread.
func newSyncer(t testing.TB, s *local.State, c local.Catalog, options ...func(*local.SyncerConfig)) *local.Syncer {
	t.Helper()
	cfg := local.DefaultSyncerConfig()
	cfg.Jitter = func(max time.Duration) time.Duration { return max - 1 }
	for _, o := range options {
		o(&cfg)
	}
	y, err := local.NewSyncer(cfg, s, c)
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// inSync runs a test on a state that a syncer has just brought into sync.
func inSync(t *testing.T, prepare func(*local.State), test func(t *testing.T, s *local.State, f *fakeCatalog, y *local.Syncer), options ...func(*local.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, f := newState(t, options...), newCatalog()
		prepare(s)
		y := newSyncer(t, s, f)
		start(t, s.Run, y.Run)
		synctest.Wait()
		wantSame(t, s, f)
		f.take()
		test(t, s, f, y)
	})
}

func wantSame(t testing.TB, s *local.State, f *fakeCatalog) {
	t.Helper()
	if got, want := f.show(), show(s); got != want {
		t.Errorf("the catalog has\n%s\nthe agent\n%s", got, want)
	}
}

func wantWrites(t testing.TB, f *fakeCatalog, want ...string) {
	t.Helper()
	if got := f.take(); !slices.Equal(got, want) {
		t.Errorf("writes are\n%q\nwant\n%q", got, want)
	}
}

func withWeb(t *testing.T) func(*local.State) {
	return func(s *local.State) {
		ok(t, s.AddService(web(), []checks.Definition{{CheckID: "c1", TTL: 24 * time.Hour}, {CheckID: "c2", TTL: 24 * time.Hour}}, local.Options{}))
	}
}

func TestSync_ServiceGoesWithItsChecks(t *testing.T) {
	inSync(t, func(*local.State) {}, func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		withWeb(t)(s)
		synctest.Wait()
		wantWrites(t, f, "service web, c1=critical, c2=critical")
		ok(t, s.RemoveService("web"))
		synctest.Wait()
		wantWrites(t, f, "remove web")
		wantSame(t, s, f)
	})
}

func TestSync_OneFlipIsOneWriteAtOnce(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		before := time.Now()
		ok(t, s.UpdateTTL("c1", "passing", "fine"))
		synctest.Wait()
		wantWrites(t, f, "c1=passing")
		if d := time.Since(before); d != 0 {
			t.Errorf("the write came after %s", d)
		}
		ok(t, s.UpdateTTL("c1", "passing", "fine")) // says nothing new
		synctest.Wait()
		wantWrites(t, f)
	})
}

func TestSync_OutputAloneWaitsAndIsCoalesced(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		for i := range 4*60 + 50 { // 4:50 min
			ok(t, s.UpdateTTL("c1", "critical", fmt.Sprint("output ", i)))
			time.Sleep(time.Second)
		}
		wantWrites(t, f)
		time.Sleep(11 * time.Second)
		wantWrites(t, f, "c1=critical")
		wantSame(t, s, f)

		ok(t, s.UpdateTTL("c1", "critical", "news")) // waits, but for a flip
		ok(t, s.UpdateTTL("c1", "passing", "news"))
		synctest.Wait()
		wantWrites(t, f, "c1=passing")
		time.Sleep(10 * time.Minute)
		wantWrites(t, f)
	})
}

func TestSync_OutputAtOnceWithoutInterval(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		ok(t, s.UpdateTTL("c1", "critical", "news"))
		synctest.Wait()
		wantWrites(t, f, "c1=critical")
	}, func(c *local.Config) { c.CheckUpdateInterval = 0 })
}

func TestSync_DiscardedOutputIsNeitherKeptNorSent(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		ok(t, s.UpdateTTL("c1", "critical", "a long story"))
		time.Sleep(10 * time.Minute)
		wantWrites(t, f)
		ok(t, s.UpdateTTL("c1", "passing", "a long story"))
		synctest.Wait()
		wantWrites(t, f, "c1=passing")
		if c, _ := s.Check("c1"); c.Output != "" {
			t.Errorf("output %q", c.Output)
		}
		wantSame(t, s, f)
	}, func(c *local.Config) { c.DiscardCheckOutput = true })
}

func TestSync_RepairsDriftWithinAnInterval(t *testing.T) {
	for name, vandal := range map[string]func(*fakeCatalog){
		"service lost":    func(f *fakeCatalog) { f.remove(&catalog.Deregister{ServiceID: "web"}) },
		"check lost":      func(f *fakeCatalog) { delete(f.checks, "c1") },
		"node lost":       func(f *fakeCatalog) { f.remove(&catalog.Deregister{}) },
		"service changed": func(f *fakeCatalog) { f.services["web"].Port = 9 },
		"tags changed":    func(f *fakeCatalog) { f.services["web"].Tags = []string{"evil"} },
		"check changed":   func(f *fakeCatalog) { f.checks["c1"].Status = "passing" },
		"output changed":  func(f *fakeCatalog) { f.checks["c1"].Output = "evil" },
		"unknown service": func(f *fakeCatalog) { f.services["x"] = &catalog.Service{ID: "x", Service: "x"} },
		"unknown check":   func(f *fakeCatalog) { f.checks["x"] = &catalog.Check{CheckID: "x", Name: "x", Status: "passing"} },
		"check of unknown": func(f *fakeCatalog) {
			f.checks["x"] = &catalog.Check{CheckID: "x", ServiceID: "web", Status: "passing"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
				f.vandalise(vandal)
				time.Sleep(75 * time.Second)
				wantSame(t, s, f)
				if n := len(f.take()); n != 1 {
					t.Errorf("took %d writes, want 1", n)
				}
			})
		})
	}
}

func TestSync_RepairsTheNode(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		f.vandalise(func(f *fakeCatalog) { f.node.Meta = nil })
		time.Sleep(75 * time.Second)
		wantWrites(t, f, "node")
		n := s.Node()
		n.Address = "127.0.0.2"
		s.SetNode(n)
		synctest.Wait()
		wantWrites(t, f, "node")
		f.vandalise(func(f *fakeCatalog) {
			if f.node.Address != "127.0.0.2" || f.node.Meta["rack"] != "7" {
				t.Errorf("node is %+v", f.node)
			}
		})
	})
}

func TestSync_LeavesTheLeadersThingsAlone(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, _ *local.State, f *fakeCatalog, _ *local.Syncer) {
		f.vandalise(func(f *fakeCatalog) {
			f.services["consul"] = &catalog.Service{ID: "consul", Service: "consul"}
			f.checks["c"] = &catalog.Check{CheckID: "c", ServiceID: "consul", Status: "passing"}
			f.checks["serfHealth"] = &catalog.Check{CheckID: "serfHealth", Status: "passing"}
		})
		time.Sleep(10 * time.Minute)
		wantWrites(t, f)
	})
}

func TestSync_EnableTagOverride(t *testing.T) {
	dir := t.TempDir()
	svc := web()
	svc.EnableTagOverride = true
	synctest.Test(t, func(t *testing.T) {
		f := newCatalog()
		s := open(t, dir, local.Definitions{})
		stop := start(t, s.Run, newSyncer(t, s, f).Run)
		ok(t, s.AddService(svc, nil, local.Options{}))
		synctest.Wait()
		f.take()
		f.vandalise(func(f *fakeCatalog) { f.services["web"].Tags = []string{"theirs"} })
		time.Sleep(75 * time.Second)
		wantWrites(t, f)
		wantSame(t, s, f)
		ok(t, s.AddService(svc, nil, local.Options{})) // says nothing new
		synctest.Wait()
		wantWrites(t, f)
		stop()

		time.Sleep(time.Second)
		s = open(t, dir, local.Definitions{})
		start(t, s.Run, newSyncer(t, s, f).Run)
		synctest.Wait()
		wantSame(t, s, f)
		if got, _ := s.Service("web"); got.Tags[0] != "theirs" {
			t.Errorf("after a restart the tags are %v", got.Tags)
		}
		svc.Tags = []string{"ours"}
		ok(t, s.AddService(svc, nil, local.Options{}))
		synctest.Wait()
		if got := f.services["web"].Tags[0]; got != "ours" {
			t.Errorf("a new registration left the tags at %v", got)
		}
	})
}

func TestSync_OutageLosesNothing(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, y *local.Syncer) {
		f.setFail(func(catalog.Command) error { return catalog.Errorf(catalog.Unavailable, "No cluster leader") })
		ok(t, s.AddService(catalog.Service{Service: "db"}, []checks.Definition{{CheckID: "d", TTL: 24 * time.Hour}}, local.Options{}))
		ok(t, s.RemoveCheck("c2"))
		before := f.readCount()
		for range 1800 {
			ok(t, s.UpdateTTL("c1", "warning", ""))
			time.Sleep(time.Second)
			ok(t, s.UpdateTTL("c1", "passing", ""))
			time.Sleep(time.Second)
		}
		if n := f.readCount() - before + len(f.take()); n < 200 || n > 260 { // every 15 s after a second of haste
			t.Errorf("tried %d times in an hour", n)
		}
		f.setFail(nil)
		f.take()
		y.Trigger()
		time.Sleep(10 * time.Millisecond)
		wantWrites(t, f, "remove c2", "service db, d=critical", "c1=passing")
		wantSame(t, s, f)
	})
}

func TestSync_ComesBackByItself(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		f.setFail(func(catalog.Command) error { return errors.New("connection refused") })
		ok(t, s.UpdateTTL("c1", "passing", ""))
		time.Sleep(time.Second)
		f.setFail(nil)
		time.Sleep(2 * time.Second)
		wantSame(t, s, f)
	})
}

func TestSync_OneRefusalStopsNothingElse(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		f.setFail(func(c catalog.Command) error {
			if r, is := c.(*catalog.Register); is && r.Service != nil && r.Service.ID == "bad" {
				return catalog.Errorf(catalog.Denied, "Permission denied")
			}
			return nil
		})
		ok(t, s.AddService(catalog.Service{Service: "bad"}, nil, local.Options{}))
		ok(t, s.AddService(catalog.Service{Service: "good"}, nil, local.Options{}))
		ok(t, s.UpdateTTL("c1", "passing", ""))
		synctest.Wait()
		wantWrites(t, f, "service bad", "service good", "c1=passing")
		ok(t, s.UpdateTTL("c2", "passing", ""))
		synctest.Wait()
		wantWrites(t, f, "c2=passing") // the refused one waits
		time.Sleep(time.Hour)
		if n := len(f.take()); n < 55 || n > 80 {
			t.Errorf("tried %d times in an hour", n)
		}
		f.setFail(nil)
		time.Sleep(75 * time.Second)
		wantSame(t, s, f)
	})
}

func TestSync_ChangeDuringAWriteIsNotLost(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		flips := []string{"critical", "warning"}
		f.setFail(func(catalog.Command) error {
			if len(flips) > 0 {
				next := flips[0]
				flips = flips[1:]
				return s.UpdateTTL("c1", next, "") // while the catalog takes the former
			}
			return nil
		})
		ok(t, s.UpdateTTL("c1", "passing", ""))
		synctest.Wait()
		wantWrites(t, f, "c1=passing", "c1=critical", "c1=warning")
		wantSame(t, s, f)
	})
}

// A check flips just when someone has taken its service out of the catalog.
func TestSync_FlipOfALostServiceBringsItBack(t *testing.T) {
	inSync(t, withWeb(t), func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		f.vandalise(func(f *fakeCatalog) { f.remove(&catalog.Deregister{ServiceID: "web"}) })
		ok(t, s.UpdateTTL("c1", "passing", ""))
		time.Sleep(time.Second)
		wantSame(t, s, f)
	})
}

// A write of unknown outcome that takes effect at last must not bring back what
// was removed meanwhile.
func TestSync_LateWriteIsOvertaken(t *testing.T) {
	inSync(t, func(*local.State) {}, func(t *testing.T, s *local.State, f *fakeCatalog, _ *local.Syncer) {
		var late catalog.Command
		f.setFail(func(c catalog.Command) error {
			if r, is := c.(*catalog.Register); is && r.Service != nil {
				late = c
			}
			return catalog.Errorf(catalog.Unknown, "no answer")
		})
		ok(t, s.AddService(web(), nil, local.Options{}))
		synctest.Wait()
		ok(t, s.RemoveService("web"))
		f.setFail(nil)
		time.Sleep(time.Second) // the agent reads a catalog without the service
		f.vandalise(func(f *fakeCatalog) { ok(t, f.apply(late)) })
		wantSame(t, s, f)
	})
}

func TestSync_NumbersGrowOverRestarts(t *testing.T) {
	for name, age := range map[string]time.Duration{"clock goes on": 0, "clock was set back": 30 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			dir, f := t.TempDir(), newCatalog()
			run := func(port int, now time.Duration) {
				synctest.Test(t, func(t *testing.T) { // time begins anew in each bubble
					time.Sleep(now)
					s := open(t, dir, local.Definitions{})
					start(t, s.Run, newSyncer(t, s, f).Run)
					svc := web()
					svc.Port = port
					ok(t, s.AddService(svc, nil, local.Options{}))
					synctest.Wait()
					wantSame(t, s, f)
				})
			}
			run(1, age)
			run(2, 0)
		})
	}
}

func TestSync_BigServiceGoesInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newState(t), newCatalog()
		var defs []checks.Definition
		for i := range 200 {
			defs = append(defs, checks.Definition{CheckID: fmt.Sprintf("c%03d", i), TTL: time.Hour})
		}
		ok(t, s.AddService(web(), defs, local.Options{}))
		for _, d := range defs {
			ok(t, s.UpdateTTL(d.CheckID, "passing", strings.Repeat("x", 4000)))
		}
		biggest := 0
		f.setFail(func(c catalog.Command) error {
			if c != nil {
				b, err := catalog.EncodeCommand(c)
				biggest = max(biggest, len(b))
				return err
			}
			return nil
		})
		start(t, newSyncer(t, s, f).Run)
		synctest.Wait()
		wantSame(t, s, f)
		if biggest > 512<<10 {
			t.Errorf("the biggest write has %d bytes", biggest)
		}
	})
}

func TestSync_RarerInALargeCluster(t *testing.T) {
	for size, every := range map[int]time.Duration{1: 75 * time.Second, 128: 75 * time.Second, 129: 150 * time.Second, 256: 150 * time.Second, 1000: 300 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, f := newState(t), newCatalog()
			start(t, newSyncer(t, s, f, func(c *local.SyncerConfig) { c.ClusterSize = func() int { return size } }).Run)
			time.Sleep(every - time.Second)
			if n := f.readCount(); n != 1 {
				t.Errorf("%d nodes: %d full syncs before %s", size, n, every)
			}
			time.Sleep(2 * time.Second)
			if n := f.readCount(); n != 2 {
				t.Errorf("%d nodes: %d full syncs after %s", size, n, every)
			}
		})
	}
}
