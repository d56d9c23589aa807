package local_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
	"muster/consensus/wal/memfs"
)

func onDisk(disk *memfs.FS) func(*local.Config) { return func(c *local.Config) { c.FS = disk } }

// registrar registers and deregisters one service with a check over and over,
// and checks what a crash would leave before, during and after each.
type registrar struct {
	t    *testing.T
	rnd  *rand.Rand
	disk *memfs.FS
	// may are the states that a crash may leave: what was acknowledged last, and
	// what is under way.
	may     []string
	crashes int
}

// crash checks what every law leaves. It is called amid writes, so it must come back.
func (r *registrar) crash(what any) {
	for _, law := range memfs.Laws() {
		r.crashes++
		if got, err := found(r.disk.Crash(law, r.rnd)); err != nil || !slices.Contains(r.may, got) {
			r.t.Errorf("crash (%s) before %v: %v, found\n%s\nwhich is none of\n%s", law, what, err, got, strings.Join(r.may, "\nand\n"))
		}
	}
}

// found shows what an agent finds that starts from a disk.
func found(disk *memfs.FS) (string, error) {
	cfg := local.DefaultConfig()
	cfg.Node, cfg.DataDir, cfg.FS = catalog.Node{Node: "n1"}, "/data", disk
	s, err := local.New(cfg)
	if err != nil {
		return "", err
	}
	err = errors.Join(s.Load(local.Definitions{}), s.Close())
	return show(s), err
}

// A machine may stop at any moment: what was acknowledged is there afterwards,
// and what was under way is whole or not there, checks and service together.
func TestCrash_LosesNothingAcknowledged(t *testing.T) {
	r := &registrar{t: t, rnd: rand.New(rand.NewPCG(1, 2)), disk: memfs.NewFaulty(), may: []string{""}}
	hook := func(op memfs.Op) error {
		if op.Kind.Changes() {
			r.crash(op)
		}
		return nil
	}
	r.disk.Hook(hook)
	s := newState(t, inDir("/data"), onDisk(r.disk))
	ok(t, s.Load(local.Definitions{}))
	step := func(want string, err func() error) {
		t.Helper()
		r.may = append(r.may, want)
		ok(t, err())
		r.may = []string{want}
		r.crash("the next step")
	}
	large := strings.Repeat("x", 2000) // more than a sector
	for port := 1; port <= 4; port++ {
		step(fmt.Sprintf("check c of \"web\" critical \"\"\nservice web web [] %d", port), func() error {
			svc := catalog.Service{Service: "web", Port: port, Proxy: &catalog.Proxy{Config: map[string]any{"x": large[:500*(port-1)]}}}
			return s.AddService(svc, []checks.Definition{{CheckID: "c", TTL: time.Hour, Notes: fmt.Sprint(port)}}, local.Options{})
		})
		if port%2 == 0 {
			step("", func() error { return s.RemoveService("web") })
		}
	}
	step("check c of \"\" critical \"\"", func() error { return s.AddCheck(checks.Definition{Name: "c", TTL: time.Hour}, local.Options{}) })
	for _, status := range []string{"passing", "warning"} {
		step("check c of \"\" "+status+" \"fine\"", func() error { return s.UpdateTTL("c", status, "fine") })
	}
	r.disk.Hook(nil)
	ok(t, s.Close())
	if r.crashes < 100 {
		t.Errorf("only %d crashes", r.crashes)
	}
}

// A journal that grows is written anew, again and again, whatever the moment of a crash.
func TestCrash_WhileTheJournalIsWrittenAnew(t *testing.T) {
	r := &registrar{t: t, rnd: rand.New(rand.NewPCG(3, 4)), disk: memfs.NewFaulty(), may: []string{""}}
	s := newState(t, inDir("/data"), onDisk(r.disk))
	ok(t, s.Load(local.Definitions{}))
	s.WriteAnewAfter(40 << 10)
	anew := 0
	r.disk.Hook(func(op memfs.Op) error {
		written := op.Kind == memfs.OpWrite && strings.Contains(op.Name, ".snap")
		if written || op.Kind == memfs.OpRename || op.Kind == memfs.OpRemove || op.Kind == memfs.OpSyncDir {
			anew++
			r.crash(op)
		}
		return nil
	})
	large := strings.Repeat("x", 10<<10)
	for n := 1; n <= 24; n++ {
		want := fmt.Sprintf("service web web [] %d", n)
		r.may = append(r.may, want)
		ok(t, s.AddService(catalog.Service{Service: "web", Port: n, Proxy: &catalog.Proxy{Config: map[string]any{"x": large}}}, nil, local.Options{}))
		r.may = []string{want}
	}
	if anew < 10 || r.disk.Used() > 1<<20 {
		t.Errorf("%d changes of files for writing anew, %d bytes used", anew, r.disk.Used())
	}
	r.disk.Hook(nil)
	ok(t, s.Close())
}

// Registrations that wait for the disk together are written together.
func TestRegistrations_ShareAWrite(t *testing.T) {
	disk := memfs.New()
	s := newState(t, inDir("/data"), onDisk(disk))
	ok(t, s.Load(local.Definitions{}))
	const clients = 30 // few enough for the first segment: a second one takes syncs of its own
	var syncs atomic.Int64
	stalled, release := make(chan struct{}), make(chan struct{})
	disk.Hook(func(op memfs.Op) error {
		if op.Kind == memfs.OpSync && syncs.Add(1) == 1 {
			close(stalled)
			<-release
		}
		return nil
	})
	var done sync.WaitGroup
	register := func(n int) {
		done.Go(func() {
			ok(t, s.AddService(catalog.Service{Service: fmt.Sprint("web-", n)}, []checks.Definition{ttl(fmt.Sprint("c", n))}, local.Options{}))
		})
	}
	register(0)
	<-stalled
	for n := 1; n < clients; n++ {
		register(n)
	}
	for changed := s.Changed(); len(s.Services()) < clients; changed = s.Changed() {
		<-changed // that all get into memory shows that none holds a lock over the disk
	}
	close(release)
	done.Wait()
	if n := syncs.Load(); n > 3 { // the first, the others', and one for the last where that was too late
		t.Errorf("%d syncs for %d registrations", n, clients)
	}
	ok(t, s.Close())
	if got, err := found(disk); err != nil || got != show(s) {
		t.Errorf("after a restart (%v):\n%s", err, got)
	}
}

// A full disk refuses registrations; once there is room, all that memory holds
// gets onto it.
func TestAddService_OnADiskThatFails(t *testing.T) {
	disk := memfs.New()
	s := newState(t, inDir("/data"), onDisk(disk))
	ok(t, s.Load(local.Definitions{}))
	ok(t, s.AddService(web(), nil, local.Options{}))
	disk.Hook(func(op memfs.Op) error {
		if op.Kind == memfs.OpWrite {
			return syscall.ENOSPC
		}
		return nil
	})
	if err := s.AddService(catalog.Service{Service: "first"}, nil, local.Options{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the first to meet it: %v", err)
	}
	before := show(s)
	for range 2 {
		err := s.AddService(catalog.Service{Service: "second"}, nil, local.Options{})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "keep a registration on disk") {
			t.Errorf("the second: %v", err)
		}
	}
	if got := show(s); got != before {
		t.Errorf("taken though the disk was known to take nothing:\n%s", got)
	}
	disk.Hook(nil)
	ok(t, s.RemoveService("web"))
	want := show(s)
	ok(t, s.Close())
	if got, err := found(disk); err != nil || got != want || got != "service first first [] 0" {
		t.Errorf("after a restart (%v):\n%s\nwant\n%s", err, got, want)
	}
}

func TestNew_RefusesADamagedJournal(t *testing.T) {
	disk := memfs.New()
	s := newState(t, inDir("/data"), onDisk(disk))
	ok(t, s.Load(local.Definitions{}))
	ok(t, s.AddService(web(), nil, local.Options{}))
	ok(t, s.Close())
	const file = "/data/registrations/00000000000000000001.wal"
	if !disk.FlipBit(file, 8*(2*512+100)) { // of the second batch
		t.Fatal("no such bit")
	}
	_, err := found(disk)
	if err == nil || !strings.Contains(err.Error(), file+" is damaged at offset 1024") || !strings.Contains(err.Error(), "has to be registered again") {
		t.Errorf("error is %v", err)
	}
}

// writeOld writes records as agents before the journal did, a file each.
func writeOld(t *testing.T, dir string, files map[string]any) {
	t.Helper()
	for name, record := range files {
		data, isText := record.(string)
		if !isText {
			b, err := json.Marshal(record)
			ok(t, err)
			data = string(b)
		}
		path := filepath.Join(dir, name)
		ok(t, os.MkdirAll(filepath.Dir(path), 0o700))
		ok(t, os.WriteFile(path, []byte(data), 0o600))
	}
}

func left(t *testing.T, dir string) (names []string) {
	t.Helper()
	ok(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if rel, rerr := filepath.Rel(dir, path); rerr == nil && !strings.HasPrefix(rel, "registrations") && rel != "sync-sequence" && rel != "." {
			names = append(names, rel)
		}
		return err
	}))
	return names
}

// What agents kept in a file for each record comes along, and its files go, but
// for those that can't be read.
func TestUpgrade_TakesOverAFileForEachRecord(t *testing.T) {
	dir := t.TempDir()
	soon := time.Now().Add(time.Hour)
	writeOld(t, dir, map[string]any{
		"services/0a":     map[string]any{"Service": map[string]any{"ID": "w", "Service": "web", "Port": 80}, "Token": "secret"},
		"services/bad":    "{",
		"services/empty":  "{}",
		"services/x.tmp":  "{",
		"checks/0b":       map[string]any{"Definition": map[string]any{"CheckID": "C", "Name": "c", "TTL": time.Hour, "ServiceID": "w"}, "Token": "secret"},
		"checks/alone":    map[string]any{"Definition": map[string]any{"CheckID": "alone", "Name": "alone", "TTL": time.Hour, "ServiceID": "gone"}},
		"checks/state/0b": map[string]any{"CheckID": "C", "Status": "passing", "Output": "fine", "Expires": soon},
	})
	want := "check C of \"w\" passing \"fine\"\nservice w web [] 80"
	s := open(t, dir, local.Definitions{})
	if got := show(s); got != want || s.Token("w") != "secret" {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got, want := left(t, dir), []string{"services", "services/bad", "services/empty"}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	if got := show(reopen(t, s, dir, local.Definitions{})); got != want {
		t.Errorf("after one more restart\n%s\nwant\n%s", got, want)
	}
}

// Who is late for an agent that has stopped is told so.
func TestClose_RefusesWhatComesAfter(t *testing.T) {
	s := open(t, t.TempDir(), local.Definitions{})
	ok(t, s.AddCheck(checks.Definition{Name: "c", TTL: time.Hour}, local.Options{}))
	ok(t, s.Close())
	const text = "this agent has stopped"
	for what, err := range map[string]error{
		"report":   s.UpdateTTL("c", "passing", ""),
		"register": s.AddService(web(), nil, local.Options{}),
		"remove":   s.RemoveCheck("c"),
	} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want an error with %q", what, err, text)
		}
	}
}
