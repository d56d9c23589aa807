package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/agent"
	"muster/consensus/core"
	"muster/consensus/wal"
)

// serverDir is the data directory of server id in a cluster of three, with a log
// of as many entries.
func serverDir(t *testing.T, id string, entries uint64, addrs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	cfg := wal.DefaultConfig()
	cfg.Log = 7
	l, _, err := wal.Open(wal.OS(), filepath.Join(dir, "raft"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	members := core.Configuration{ClusterID: "c1"}
	for _, name := range []string{"n1", "n2", "n3"} {
		members.Servers = append(members.Servers, core.Server{ID: core.ServerID(name), Addr: addrs[name], Suffrage: core.Voter})
	}
	es := []core.Entry{{Index: 1, Term: 1, Kind: core.EntryConfig, Data: core.EncodeConfiguration(members)}}
	for i := uint64(2); i <= entries; i++ {
		es = append(es, core.Entry{Index: i, Term: 2, Kind: core.EntryNoop})
	}
	if err := l.Append(wal.Batch{HardState: &core.HardState{Term: 4, Commit: 1}, Entries: es}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node-id"), []byte(id+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// answering is the cluster port of a server that says which cluster it is in.
func answering(t *testing.T, cluster string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/internal/bootstrap/state" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Cluster": cluster})
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// gone is an address at which nothing listens.
func gone(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	return strings.TrimPrefix(s.URL, "http://")
}

func recovery(t *testing.T, args ...string) (code int, r agent.RaftRecovery, errOut string) {
	t.Helper()
	code, out, errOut := offline(t, append([]string{"operator", "raft", "recover", "-format", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &r); err != nil && code != exitUnreadable {
		t.Fatalf("exit %d: %v: %s%s", code, err, out, errOut)
	}
	return code, r, errOut
}

func verified(t *testing.T, dir string) (v agent.RaftReport) {
	t.Helper()
	_, out, errOut := offline(t, "operator", "raft", "verify", "-format", "json", dir)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%v: %s%s", err, out, errOut)
	}
	return v
}

func TestRecover_TakesTheMostAdvancedAndKeepsACopy(t *testing.T) {
	lost := map[string]string{"n1": gone(t), "n2": answering(t, ""), "n3": answering(t, "c2")}
	dir := serverDir(t, "n1", 9, lost)
	before := verified(t, dir)

	code, r, errOut := recovery(t, dir)
	if code != exitOK || r.Done || r.Refusal != "" || r.Index != 10 || r.Term != 5 {
		t.Fatalf("dry run: exit %d, %+v, %s", code, r, errOut)
	}
	for _, other := range r.Others {
		if other.Alive {
			t.Errorf("%s at %s counts as alive: %s", other.ID, other.Addr, other.Says)
		}
	}
	if after := verified(t, dir); after.LastIndex != before.LastIndex || after.ClusterID != "c1" {
		t.Errorf("the dry run has changed something: %+v", after)
	}

	code, out, errOut := offline(t, "operator", "raft", "recover", "-yes", dir)
	for _, want := range []string{"Kept: all 9 entries", "after entry 1 ", "Lost: ", "has been wiped", "another cluster", "only voter n1", "Start this server"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errOut)
		}
	}
	after := verified(t, dir)
	if !after.Whole || after.ClusterID == "c1" || len(after.Servers) != 1 || after.Servers[0].ID != "n1" || after.LastIndex != 10 || after.Term != 5 || after.Vote != "" {
		t.Errorf("recovered: %+v", after)
	}
	if kept := verified(t, filepath.Join(dir, "before-recovery-1")); kept.LastIndex != 9 || kept.ClusterID != "c1" || kept.Log != before.Log {
		t.Errorf("backup: %+v", kept)
	}
}

func TestRecover_RefusesWhileThereIsAMajority(t *testing.T) {
	addrs := map[string]string{"n1": gone(t), "n2": answering(t, "c1"), "n3": answering(t, "c1")}
	dir := serverDir(t, "n1", 3, addrs)
	code, _, errOut := recovery(t, "-yes", dir)
	if code != exitFailed || !strings.Contains(errOut, addrs["n2"]) || !strings.Contains(errOut, addrs["n3"]) {
		t.Errorf("two of three alive: exit %d, %s", code, errOut)
	}
	// One alive and this one started: also a majority.
	addrs["n3"] = gone(t)
	code, _, errOut = recovery(t, "-yes", serverDir(t, "n1", 3, addrs))
	if code != exitFailed || !strings.Contains(errOut, "no majority of the 3 voters is lost") {
		t.Errorf("one alive besides this one: exit %d, %s", code, errOut)
	}
	// Two stopped ones.
	addrs["n2"] = gone(t)
	less, more := serverDir(t, "n1", 3, addrs), serverDir(t, "n2", 4, addrs)
	code, r, errOut := recovery(t, "-yes", less, more)
	if code != exitFailed || r.DataDir != more || !strings.Contains(errOut, less) || !strings.Contains(errOut, more) {
		t.Errorf("two of three stopped: exit %d, %+v, %s", code, r, errOut)
	}
	if v := verified(t, more); v.ClusterID != "c1" || v.LastIndex != 4 {
		t.Errorf("a refusal has changed something: %+v", v)
	}
}

func TestRecover_RefusesDamageAndWhatIsInUse(t *testing.T) {
	dir := serverDir(t, "n1", 3, map[string]string{"n1": gone(t), "n2": gone(t), "n3": gone(t)})
	release, err := wal.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{dir}, {"-yes", dir}} {
		if code, _, errOut := recovery(t, args...); code != exitUnreadable || !strings.Contains(errOut, "stop it") {
			t.Errorf("beside an agent: exit %d, %s", code, errOut)
		}
	}
	release()
	if code, _, errOut := recovery(t, "-yes", t.TempDir()); code != exitUnreadable || !strings.Contains(errOut, "no server's data directory") {
		t.Errorf("an empty directory: exit %d, %s", code, errOut)
	}
	path := filepath.Join(dir, "raft", "00000000000000000001.wal")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[2*512+100] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := recovery(t, "-yes", dir); code != exitFailed || !strings.Contains(errOut, path) {
		t.Errorf("a damaged log: exit %d, %s", code, errOut)
	}
}

// A lone voter whose log may have lost entries never votes again by itself: there
// is nobody to catch it up. Its operator can decide that what is there is all.
func TestRecover_FreesALoneVoterWithoutAVote(t *testing.T) {
	dir := dataDir(t)
	if code, _, errOut := recovery(t, "-yes", dir); code != exitFailed || !strings.Contains(errOut, "start") {
		t.Errorf("a whole one: exit %d, %s", code, errOut)
	}
	path := filepath.Join(dir, "raft", "00000000000000000001.wal")
	if err := os.Truncate(path, 64<<10); err != nil {
		t.Fatal(err)
	}
	if v := verified(t, dir); !v.Voteless {
		t.Fatalf("the server still has its vote: %+v", v)
	}
	if code, r, errOut := recovery(t, "-yes", dir); code != exitOK || !r.Done {
		t.Fatalf("exit %d, %+v, %s", code, r, errOut)
	}
	if v := verified(t, dir); !v.Whole || v.Voteless {
		t.Errorf("afterwards: %+v", v)
	}
}
