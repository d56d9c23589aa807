package local_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

const nodeID = "0a1b2c3d-0000-4000-8000-00000000000a"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newState makes a state in memory, or as the options want it.
func newState(t testing.TB, options ...func(*local.Config)) *local.State {
	t.Helper()
	cfg := local.DefaultConfig()
	cfg.Node = catalog.Node{ID: nodeID, Node: "n1", Address: "127.0.0.1", Datacenter: "dc1", Meta: map[string]string{"rack": "7"}}
	for _, o := range options {
		o(&cfg)
	}
	s, err := local.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func inDir(dir string) func(*local.Config) { return func(c *local.Config) { c.DataDir = dir } }

// open makes a state from what is in a directory and in config files.
func open(t testing.TB, dir string, defs local.Definitions, options ...func(*local.Config)) *local.State {
	t.Helper()
	s := newState(t, append(options, inDir(dir))...)
	if err := s.Load(defs); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ok(t, s.Close()) })
	return s
}

// reopen stops a state and makes one from what it left.
func reopen(t testing.TB, s *local.State, dir string, defs local.Definitions, options ...func(*local.Config)) *local.State {
	t.Helper()
	ok(t, s.Close())
	return open(t, dir, defs, options...)
}

// start runs components until the test ends.
func start(t *testing.T, runs ...func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err error, kind catalog.Kind, text string) {
	t.Helper()
	if err == nil || err.Error() != text || catalog.KindOf(err) != kind {
		t.Errorf("got error %v (kind %d)\nwant %s (kind %d)", err, catalog.KindOf(err), text, kind)
	}
}

func ttl(id string) checks.Definition { return checks.Definition{CheckID: id, TTL: time.Hour} }

func web() catalog.Service { return catalog.Service{Service: "web", Port: 80, Tags: []string{"a"}} }

// show describes all that a state has, for comparing.
func show(s *local.State) string {
	var lines []string
	for _, svc := range s.Services() {
		lines = append(lines, serviceLine(svc))
	}
	for _, c := range s.Checks() {
		lines = append(lines, checkLine(c))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func serviceLine(s *catalog.Service) string {
	return fmt.Sprintf("service %s %s %v %d", s.ID, s.Service, s.Tags, s.Port)
}

func checkLine(c *catalog.Check) string {
	return fmt.Sprintf("check %s of %q %s %q", c.CheckID, c.ServiceID, c.Status, c.Output)
}

// fakeCatalog keeps one node as the real catalog would: it drops late writes and
// refuses checks of unknown services. What it gives out has gone through JSON,
// what it takes through the encoding of the log.
type fakeCatalog struct {
	mu       sync.Mutex
	node     *catalog.Node
	services map[string]*catalog.Service
	checks   map[string]*catalog.Check
	seq      uint64
	writes   []string // since the last take
	reads    int
	late     []catalog.Command // answered as unknown and not yet carried out

	// fail, where it is set, may answer instead; write is nil for a read.
	fail func(write catalog.Command) error
}

func newCatalog() *fakeCatalog {
	return &fakeCatalog{services: map[string]*catalog.Service{}, checks: map[string]*catalog.Check{}}
}

func (f *fakeCatalog) Write(_ context.Context, cmds []catalog.Command) (errs []error) {
	for _, cmd := range cmds {
		errs = append(errs, f.write(cmd))
	}
	return errs
}

func (f *fakeCatalog) Read(_ context.Context, node string) (local.Contents, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	if f.fail != nil {
		if err := f.fail(nil); err != nil {
			return local.Contents{}, err
		}
	}
	c := local.Contents{Node: f.node}
	for _, s := range f.services {
		c.Services = append(c.Services, s)
	}
	for _, k := range f.checks {
		c.Checks = append(c.Checks, k)
	}
	b, err := json.Marshal(c)
	if err != nil {
		return local.Contents{}, err
	}
	var out local.Contents
	return out, json.Unmarshal(b, &out)
}

func (f *fakeCatalog) write(cmd catalog.Command) error {
	if r, is := cmd.(*catalog.Register); is {
		r.Normalize() // as its receiver may
		if err := r.Validate(); err != nil {
			return err
		}
	}
	b, err := catalog.EncodeCommand(cmd)
	if err != nil {
		return err
	}
	if cmd, err = catalog.DecodeCommand(b); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes = append(f.writes, describe(cmd))
	if f.fail != nil {
		if err := f.fail(cmd); err != nil {
			return err
		}
	}
	return f.apply(cmd)
}

// apply carries out a write. The caller holds mu.
func (f *fakeCatalog) apply(cmd catalog.Command) error {
	switch c := cmd.(type) {
	case *catalog.Register:
		if c.Source.Seq <= f.seq {
			return nil
		}
		for _, k := range c.Checks {
			known := f.services[k.ServiceID] != nil || c.Service != nil && c.Service.ID == k.ServiceID
			if k.ServiceID != "" && !known {
				return catalog.Errorf(catalog.Invalid, "Unknown service ID '%s' for check ID '%s'", k.ServiceID, k.CheckID)
			}
		}
		f.seq = c.Source.Seq
		if f.node == nil || !c.SkipNodeUpdate {
			f.node = &c.Node
		}
		if c.Service != nil {
			f.services[c.Service.ID] = c.Service
		}
		for _, k := range c.Checks {
			f.checks[k.CheckID] = &k
		}
	case *catalog.Deregister:
		if c.Source.Seq <= f.seq {
			return nil
		}
		f.seq = c.Source.Seq
		f.remove(c)
	}
	return nil
}

func (f *fakeCatalog) remove(c *catalog.Deregister) {
	switch {
	case c.ServiceID != "":
		delete(f.services, c.ServiceID)
		for id, k := range f.checks {
			if k.ServiceID == c.ServiceID {
				delete(f.checks, id)
			}
		}
	case c.CheckID != "":
		delete(f.checks, c.CheckID)
	default:
		f.node = nil
		clear(f.services)
		clear(f.checks)
	}
}

// vandalise changes the catalog behind the agent's back.
func (f *fakeCatalog) vandalise(change func(*fakeCatalog)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *fakeCatalog) setFail(fail func(catalog.Command) error) {
	f.vandalise(func(f *fakeCatalog) { f.fail = fail })
}

// take gives the writes since the last call.
func (f *fakeCatalog) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.writes
	f.writes = nil
	return w
}

func (f *fakeCatalog) readCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reads
}

func (f *fakeCatalog) show() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var lines []string
	for _, s := range f.services {
		lines = append(lines, serviceLine(s))
	}
	for _, c := range f.checks {
		lines = append(lines, checkLine(c))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func describe(cmd catalog.Command) string {
	switch c := cmd.(type) {
	case *catalog.Register:
		var parts []string
		if !c.SkipNodeUpdate {
			parts = append(parts, "node")
		}
		if c.Service != nil {
			parts = append(parts, "service "+c.Service.ID)
		}
		var ids []string
		for _, k := range c.Checks {
			ids = append(ids, k.CheckID+"="+k.Status)
		}
		slices.Sort(ids)
		return strings.Join(append(parts, ids...), ", ")
	case *catalog.Deregister:
		return "remove " + c.ServiceID + c.CheckID
	}
	return "?"
}
