package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/agent"
	"muster/consensus/core"
	"muster/consensus/wal"
)

// dataDir is the data directory of a server that was stopped.
func dataDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	config := wal.DefaultConfig()
	config.Log = 0xC0FFEE
	l, _, err := wal.Open(wal.OS(), filepath.Join(dir, "raft"), config)
	if err != nil {
		t.Fatal(err)
	}
	members := core.Configuration{ClusterID: "c1", Servers: []core.Server{{ID: "n1", Addr: "127.0.0.1:8300", Suffrage: core.Voter}}}
	err = l.Append(wal.Batch{
		HardState: &core.HardState{Term: 3, Vote: "n1", Commit: 1},
		Entries:   []core.Entry{{Index: 1, Term: 3, Kind: core.EntryConfig, Data: core.EncodeConfiguration(members)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "node-id"), []byte("n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// offline runs a command line that needs no agent.
func offline(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), append([]string{"muster"}, args...), strings.NewReader(""), &o, &e)
	return code, o.String(), e.String()
}

func TestVerify_Whole(t *testing.T) {
	dir := dataDir(t)
	code, out, errOut := offline(t, "operator", "raft", "verify", "-format", "json", dir)
	var v agent.RaftReport
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != exitOK {
		t.Fatalf("exit %d: %v: %s%s", code, err, out, errOut)
	}
	if !v.Whole || v.NodeID != "n1" || v.ClusterID != "c1" || v.Term != 3 || v.Vote != "n1" || v.LastIndex != 1 || len(v.Servers) != 1 || len(v.Segments) != 1 || len(v.Log) != 16 || v.Log == strings.Repeat("0", 16) {
		t.Errorf("verdict %+v", v)
	}
	code, out, _ = offline(t, "operator", "raft", "verify", dir)
	for _, want := range []string{"whole", "c1", "0000000000c0ffee", "3, vote for n1", "127.0.0.1:8300"} {
		if !strings.Contains(out, want) || code != exitOK {
			t.Errorf("exit %d, no %q in\n%s", code, want, out)
		}
	}
}

func TestVerify_Damaged(t *testing.T) {
	dir := dataDir(t)
	path := filepath.Join(dir, "raft", "00000000000000000001.wal")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[2*512+100] ^= 1 // in the second batch, which is whole and so was acknowledged
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := offline(t, "operator", "raft", "verify", "-format", "json", dir)
	var v agent.RaftReport
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatal(err)
	}
	if code != exitDamaged || v.Whole || v.DamagedFile != path || v.Offset != 2*512 {
		t.Errorf("exit %d, verdict %+v", code, v)
	}
}

func TestVerify_CannotRead(t *testing.T) {
	if code, _, errOut := offline(t, "operator", "raft", "verify", t.TempDir()); code != exitUnreadable || errOut == "" {
		t.Errorf("an empty directory: exit %d, %q", code, errOut)
	}
	dir := dataDir(t)
	release, err := wal.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if code, _, errOut := offline(t, "operator", "raft", "verify", dir); code != exitUnreadable || !strings.Contains(errOut, "stop it") {
		t.Errorf("beside an agent: exit %d, %q", code, errOut)
	}
}
