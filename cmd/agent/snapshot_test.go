package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/catalog/archive"
	"muster/catalog/state"
)

// backup is an archive of an empty catalog.
func backup(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	at := time.Unix(1700000000, 0)
	if err := archive.Write(&out, archive.NewMeta(19, 2, at), state.New().Snapshot(), at); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// serveBackup answers /v1/snapshot with bytes.
func serveBackup(t testing.TB, data []byte) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/snapshot":
			_, _ = w.Write(data)
		case "/v1/agent/self":
			_, _ = w.Write([]byte(`{"Config":{"Datacenter":"dc7"}}`))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("CONSUL_HTTP_ADDR", server.URL)
}

func TestSnapshotSave_KeepsOnlyWhatIsWhole(t *testing.T) {
	whole := backup(t)
	path := filepath.Join(t.TempDir(), "a.snap")
	serveBackup(t, whole)
	if out, errOut, code := muster(t, "snapshot", "save", path); code != 0 || out != "Saved and verified snapshot to index 19\n" {
		t.Fatalf("%d %q %q", code, out, errOut)
	}
	if out, errOut, code := muster(t, "snapshot", "save", "-append-filename=version,dc", path); code != 0 {
		t.Fatalf("%d %q %q", code, out, errOut)
	}
	serveBackup(t, whole[:len(whole)-9])
	if _, errOut, code := muster(t, "snapshot", "save", path); code != 1 || !strings.Contains(errOut, "no whole snapshot") {
		t.Errorf("half an archive: %d %q", code, errOut)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.Equal(data, whole) {
		t.Errorf("it took the place of the earlier one: %v", err)
	}
	var names []string
	entries, err := os.ReadDir(filepath.Dir(path))
	for _, e := range entries {
		names = append(names, e.Name())
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others", e.Name())
		}
	}
	if err != nil || strings.Join(names, " ") != "a-1.21.4-dc7.snap a.snap" {
		t.Errorf("there are %q: %v", names, err)
	}
	for _, args := range [][]string{{}, {"a", "b"}, {"-append-filename=node", path}} {
		if _, errOut, code := muster(t, append([]string{"snapshot", "save"}, args...)...); code != 1 || errOut == "" {
			t.Errorf("save %q: %d %q", args, code, errOut)
		}
	}
}

func TestSnapshotInspect_PrintsWhatConsulPrints(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.snap")
	if err := os.WriteFile(path, backup(t), 0o600); err != nil {
		t.Fatal(err)
	}
	want := ` ID           2-19-1700000000000
 Size         51
 Index        19
 Term         2
 Version      1

 Type          Count     Size
 ----          ----      ----
 Meta          1         29B
 ----          ----      ----
 Total                   29B
`
	if out, errOut, code := muster(t, "snapshot", "inspect", path); code != 0 || out != want {
		t.Errorf("%d %s %s", code, out, errOut)
	}
	out, _, code := muster(t, "snapshot", "inspect", "-format=json", "-kvdetails", path)
	if code != 0 || !strings.Contains(out, `"TotalSize": 29`) || !strings.Contains(out, `"StatsKV": []`) {
		t.Errorf("%d %s", code, out)
	}
	for _, args := range [][]string{
		{}, {"-format=xml", path}, {"-kvdepth=1", path}, {"-kvdetails", "-kvdepth=0", path}, {path + "x"}, {os.Args[0]},
	} {
		if _, errOut, code := muster(t, append([]string{"snapshot", "inspect"}, args...)...); code != 1 || errOut == "" {
			t.Errorf("inspect %q: %d %q", args, code, errOut)
		}
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KB", 2223: "2.2KB", 5 << 20: "5MB", 3 << 40: "3TB", 5 << 50: "5120TB"} {
		if got := byteSize(n); got != want {
			t.Errorf("%d bytes are %s, not %s", n, got, want)
		}
	}
}

func TestSnapshotRestore_SendsOnlyWhatIsWhole(t *testing.T) {
	whole := backup(t)
	path := filepath.Join(t.TempDir(), "a.snap")
	a := serve(t, map[string]string{"PUT /v1/snapshot": ""})
	for name, c := range map[string]struct {
		data []byte
		code int
		out  string
	}{"whole": {whole, 0, "Restored snapshot\n"}, "damaged": {whole[:len(whole)-9], 1, ""}} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, errOut, code := muster(t, "snapshot", "restore", path); code != c.code || out != c.out {
			t.Errorf("%s: %d %q %q", name, code, out, errOut)
		}
	}
	if len(a.requests) != 1 || a.requests[0] != "PUT /v1/snapshot "+string(whole) {
		t.Errorf("%d requests were sent", len(a.requests))
	}
	for _, args := range [][]string{{}, {path + "x"}} {
		if _, errOut, code := muster(t, append([]string{"snapshot", "restore"}, args...)...); code != 1 || errOut == "" {
			t.Errorf("restore %q: %d %q", args, code, errOut)
		}
	}
}
