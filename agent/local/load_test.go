package local_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

func TestRestart_BringsBackWhatWasRegistered(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, local.Definitions{})
	svc := catalog.Service{Service: "web", ID: "w", Port: 80, Tags: []string{"a"}, Proxy: &catalog.Proxy{Config: map[string]any{"n": 7, "f": 1.5}}}
	ok(t, s.AddService(svc, []checks.Definition{ttl("c")}, local.Options{Token: "secret"}))
	ok(t, s.AddCheck(checks.Definition{Name: "node", TTL: time.Hour, Header: map[string][]string{"a": {"b"}}}, local.Options{}))
	ok(t, s.AddService(catalog.Service{Service: "gone"}, []checks.Definition{ttl("gone")}, local.Options{}))
	ok(t, s.MaintainService("w", true, "why"))
	ok(t, s.MaintainNode(true, "because"))
	ok(t, s.UpdateTTL("c", "passing", "fine"))
	ok(t, s.RemoveService("gone"))

	again := reopen(t, s, dir, local.Definitions{})
	if got, want := show(again), show(s); got != want || got == "" {
		t.Errorf("after the restart\n%s\nwant\n%s", got, want)
	}
	old, _ := s.Service("w")
	if back, _ := again.Service("w"); back == nil || !back.Same(old) {
		t.Errorf("service came back as %+v, was %+v", back, old)
	}
	if again.Token("w") != "secret" {
		t.Error("the token is lost")
	}
	d, _ := s.Definition("node")
	if back, _ := again.Definition("node"); back.TTL != d.TTL || back.Header["a"][0] != "b" {
		t.Errorf("definition came back as %+v", back)
	}
	if c, _ := again.Check("_node_maintenance"); c == nil || c.Type != "maintenance" || c.Notes != "because" {
		t.Errorf("node maintenance came back as %+v", c)
	}
}

func TestFiles_AreForTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, local.Definitions{})
	ok(t, s.AddService(web(), []checks.Definition{ttl("c")}, local.Options{Token: "secret"}))
	found := 0
	ok(t, filepath.WalkDir(filepath.Join(dir, "registrations"), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v", path, info.Mode())
		}
		if data, rerr := os.ReadFile(path); rerr == nil && strings.Contains(string(data), "secret") {
			found++
		}
		return err
	}))
	if found == 0 {
		t.Error("no file holds the token")
	}
}

func TestRestart_TTLStatusCountsWithinItsTTL(t *testing.T) {
	for name, tc := range map[string]struct {
		after time.Duration
		want  string
	}{
		"soon": {59 * time.Second, `check c of "" passing "fine"`},
		"late": {61 * time.Second, `check c of "" critical ""`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				s := open(t, dir, local.Definitions{})
				ok(t, s.AddCheck(checks.Definition{CheckID: "c", Name: "c", TTL: time.Minute}, local.Options{}))
				ok(t, s.UpdateTTL("c", "passing", "fine"))
				time.Sleep(tc.after)
				if got := show(reopen(t, s, dir, local.Definitions{})); got != tc.want {
					t.Errorf("after %s: %s, want %s", tc.after, got, tc.want)
				}
			})
		})
	}
}

// The same report over and over is written to disk only so often, and still
// holds most of the TTL after a restart.
func TestRestart_TTLStatusAfterManyReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := open(t, dir, local.Definitions{})
		ok(t, s.AddCheck(checks.Definition{CheckID: "c", Name: "c", TTL: time.Minute}, local.Options{}))
		for range 100 {
			ok(t, s.UpdateTTL("c", "passing", "fine"))
			time.Sleep(time.Second)
		}
		time.Sleep(43 * time.Second)
		if got, want := show(reopen(t, s, dir, local.Definitions{})), `check c of "" passing "fine"`; got != want {
			t.Errorf("44 s after the last report: %s, want %s", got, want)
		}
	})
}

func TestRestart_DisabledScriptMakesItsServiceCritical(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, local.Definitions{}, func(c *local.Config) { c.EnableRemoteScriptChecks = true })
	ok(t, s.AddService(web(), []checks.Definition{{CheckID: "c", ScriptArgs: []string{"/bin/true"}, Interval: time.Hour, Status: "passing"}}, local.Options{}))
	s = reopen(t, s, dir, local.Definitions{})
	c, _ := s.Check("c")
	if c == nil || c.Status != "critical" || !strings.HasPrefix(c.Output, "This check can't be run: Scripts are disabled") {
		t.Errorf("check is %+v", c)
	}
	ok(t, s.RemoveService("web"))
}

func fileDefs(services ...catalog.Service) (defs local.Definitions) {
	for _, svc := range services {
		defs.Services = append(defs.Services, local.ServiceDefinition{Service: svc, Checks: []checks.Definition{ttl("file-" + svc.Service)}})
	}
	return defs
}

func TestConfigFiles_OwnWhatTheyDefine(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, local.Definitions{})
	ok(t, s.AddService(web(), []checks.Definition{ttl("api")}, local.Options{}))
	ok(t, s.AddService(catalog.Service{Service: "db"}, nil, local.Options{}))

	fromFile := catalog.Service{Service: "web", Port: 81}
	s = reopen(t, s, dir, fileDefs(fromFile))
	want := "check file-web of \"web\" critical \"\"\nservice db db [] 0\nservice web web [] 81"
	if got := show(s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// What is added to a file's service over HTTP stays with it.
	ok(t, s.AddCheck(checks.Definition{Name: "more", TTL: time.Hour, ServiceID: "web"}, local.Options{}))
	ok(t, s.MaintainService("web", true, ""))
	before := show(s)
	s = reopen(t, s, dir, fileDefs(fromFile))
	if got := show(s); got != before || !strings.Contains(got, "check more") || !strings.Contains(got, "_service_maintenance:web") {
		t.Errorf("after a restart, got\n%s\nwant\n%s", got, before)
	}
	if got, want := show(reopen(t, s, dir, local.Definitions{})), "service db db [] 0"; got != want {
		t.Errorf("without the file, got\n%s\nwant\n%s", got, want)
	}
}

func TestReload_FollowsTheFiles(t *testing.T) {
	s := newState(t)
	ok(t, s.Load(fileDefs(catalog.Service{Service: "a"}, catalog.Service{Service: "b"}, catalog.Service{Service: "c"})))
	ok(t, s.AddService(web(), nil, local.Options{}))
	ok(t, s.AddCheck(checks.Definition{Name: "api-a", TTL: time.Hour, ServiceID: "a"}, local.Options{}))
	ok(t, s.UpdateTTL("file-a", "passing", ""))
	ok(t, s.UpdateTTL("file-b", "passing", ""))

	defs := fileDefs(catalog.Service{Service: "a"}, catalog.Service{Service: "b", Port: 9})
	defs.Checks = []local.CheckDefinition{{Check: checks.Definition{Name: "own", TTL: time.Hour, ServiceID: "A"}}}
	ok(t, s.Reload(defs))
	want := strings.Join([]string{
		`check api-a of "a" critical ""`,
		`check file-a of "a" passing ""`,
		`check file-b of "b" passing ""`,
		`check own of "a" critical ""`,
		"service a a [] 0",
		"service b b [] 9",
		"service web web [a] 80",
	}, "\n")
	if got := show(s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	defs.Checks = nil
	ok(t, s.Reload(defs))
	if _, found := s.Check("own"); found {
		t.Error("a check that left the files is still there")
	}
}

func TestReload_SaysAllFaultsAndChangesNothing(t *testing.T) {
	s := newState(t)
	ok(t, s.Load(fileDefs(catalog.Service{Service: "a"})))
	before := show(s)
	defs := fileDefs(catalog.Service{Service: "b"}, catalog.Service{Service: "b"}, catalog.Service{})
	defs.Checks = []local.CheckDefinition{{Check: checks.Definition{Name: "x"}}, {Check: checks.Definition{Name: "y", TTL: time.Hour, ServiceID: "nope"}}}
	err := s.Reload(defs)
	if err == nil {
		t.Fatal("no error")
	}
	for _, fault := range []string{`service "b" is defined twice`, "Missing service name", `Failed to register check "x": Invalid check: TTL`, `Failed to register check "y": ServiceID "nope" does not exist`} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("error lacks %q:\n%v", fault, err)
		}
	}
	if got := show(s); got != before {
		t.Errorf("changed to\n%s", got)
	}
}

func TestNew_SaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.WriteFile(filepath.Join(dir, "sync-sequence"), []byte("?"), 0o600))
	cfg := local.DefaultConfig()
	cfg.Node = catalog.Node{Node: "n1"}
	cfg.DataDir = dir
	if _, err := local.New(cfg); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "sync-sequence")) {
		t.Errorf("damaged sequence: %v", err)
	}
	cfg.Node.Node, cfg.CheckUpdateInterval = "", -1
	if _, err := local.New(cfg); err == nil || !strings.Contains(err.Error(), "needs a name") || !strings.Contains(err.Error(), "check_update_interval") {
		t.Errorf("bad configuration: %v", err)
	}
}
