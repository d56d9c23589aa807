package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// TestCoordination shows of entries, sessions, transactions, queries and snapshots
// what a user sees of them at a server and, where it makes a difference who is
// asked, at a client agent.
func TestCoordination(t *testing.T) {
	c := newCluster(t)
	server := c.servers(1)[0].start()
	client := c.client("client").start()
	server.waitLeader()
	waitMembers(t, []*agent{server, client}, 2)
	client.waitLeader()

	for _, a := range []*agent{server, client} {
		t.Run("bad input at the "+a.name+" changes nothing", func(t *testing.T) { badCoordination(t, a) })
		t.Run("keys hold any bytes at the "+a.name, func(t *testing.T) { anyKey(t, a) })
		t.Run("sessions at the "+a.name+" end with what they live by", func(t *testing.T) { endedByChecks(t, a) })
	}
	t.Run("a watch wakes for what it asked", func(t *testing.T) { wokenByItsOwn(t, client, server) })
	t.Run("archives go through the command line", func(t *testing.T) { archived(t, client) })
}

// send makes a request with a body and gives the answer.
func (a *agent) send(t *testing.T, method, path, body string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.addr+":8500"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(answer)
}

// must wants an answer of 200.
func (a *agent) must(t *testing.T, method, path, body string) string {
	t.Helper()
	status, answer := a.send(t, method, path, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s %.100s: %d %s", method, path, body, status, answer)
	}
	return answer
}

func badCoordination(t *testing.T, a *agent) {
	a.must(t, "PUT", "/v1/kv/bad/there", "as it was")
	a.must(t, "PUT", "/v1/catalog/register", `{"Node":"bad","Address":"192.0.2.1","Checks":[{"Name":"well","Status":"passing"},{"Name":"ill","Status":"critical"}]}`)
	state := func() (all []string) {
		for _, path := range []string{"/v1/kv/?recurse", "/v1/session/list", "/v1/query", "/v1/catalog/node/bad", "/v1/config/service-defaults"} {
			_, h, body := a.get(path)
			all = append(all, path+" at "+h.Get("X-Consul-Index")+": "+body)
		}
		return all
	}
	template := func(regexp, service string) string {
		return fmt.Sprintf(`{"Name":"bad-","Template":{"Type":"name_prefix_match","Regexp":%q},"Service":{"Service":%q}}`, regexp, service)
	}
	ops := func(n int, op string) string { return "[" + strings.Repeat(op+",", n-1) + op + "]" }
	_, _, saved := a.get("/v1/snapshot")
	before := state()
	for _, bad := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"PUT", "/v1/kv/bad/there?cas=x", "new", 400, `parsing "x"`},
		{"PUT", "/v1/kv/bad/there?cas=-1", "new", 400, `parsing "-1"`},
		{"PUT", "/v1/kv/bad/there?cas=18446744073709551616", "new", 400, "out of range"},
		{"PUT", "/v1/kv/bad/there?cas=1&acquire=s", "new", 400, "Conflicting flags"},
		{"PUT", "/v1/kv/bad/there?flags=many", "new", 400, `parsing "many"`},
		{"PUT", "/v1/kv/", "new", 400, "Missing key name"},
		{"PUT", "/v1/kv/bad/large", strings.Repeat("x", 512<<10+1), 413, "max size: 524288 bytes"},
		{"DELETE", "/v1/kv/bad/there?cas=x", "", 400, `parsing "x"`},
		{"DELETE", "/v1/kv/bad/?cas=1&recurse", "", 400, "Conflicting flags"},

		{"PUT", "/v1/txn", ops(129, `{"KV":{"Verb":"set","Key":"bad/txn"}}`), 413, "129 > 128"},
		{"PUT", "/v1/txn", ops(2, `{"KV":{"Verb":"set","Key":"bad/txn","Value":"`+strings.Repeat("eHh4", 80_000)+`"}}`), 413, "max size: 524288 bytes"},
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"bad/txn"}},{"KV":{"Verb":"increment","Key":"bad/there"}}]`, 409, `"OpIndex":1,"What":"unknown KV operation: increment"`},
		{"PUT", "/v1/txn", `[{"Node":{"Verb":"rename","Node":{"Node":"bad"}}}]`, 409, "unknown node operation: rename"},
		{"PUT", "/v1/txn", `[{"Session":{"Verb":"set","Session":{"ID":"s"}}}]`, 409, "unknown session operation: set"},
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"bad/txn"}},{"KV":{"Verb":"cas","Key":"bad/there","Index":1}}]`, 409, "index is stale"},
		{"PUT", "/v1/txn", `[{"KV":{"Verb":"set","Key":"bad/txn","Value":"not base64"}}]`, 400, "illegal base64"},
		{"PUT", "/v1/txn", `[{}]`, 400, "exactly one of"},

		{"PUT", "/v1/session/create", `{"Node":"bad","NodeChecks":["ill"]}`, 400, "Check 'ill' is in critical state"},
		{"PUT", "/v1/session/create", `{"Node":"bad","NodeChecks":["none"]}`, 400, "Missing check 'none' registration"},
		{"PUT", "/v1/session/create", `{"Node":"nobody"}`, 400, "Missing node registration"},
		{"PUT", "/v1/session/create", `{"TTL":"9.9s"}`, 400, "must be between [10s=24h0m0s]"},
		{"PUT", "/v1/session/create", `{"TTL":"24h1s"}`, 400, "must be between [10s=24h0m0s]"},
		{"PUT", "/v1/session/create", `{"TTL":"soon"}`, 400, "Session TTL 'soon' invalid"},
		{"PUT", "/v1/session/create", `{"Behavior":"keep"}`, 400, "Invalid Behavior setting 'keep'"},
		{"PUT", "/v1/session/create", `{"LockDelay":"-1s"}`, 400, "must not be negative"},
		{"PUT", "/v1/session/renew/nobody", ``, 404, "Session id 'nobody' not found"},

		{"POST", "/v1/query", template("(", "x"), 400, "missing closing )"},
		{"POST", "/v1/query", template("((((a{9}){9}){9}){9})", "x"), 400, "Bad Regexp"},
		{"POST", "/v1/query", template("(a{1000}){1000}", "x"), 400, "Bad Regexp"},
		{"POST", "/v1/query", template(strings.Repeat("(a*)*", 300), "x"), 400, "Bad Regexp"},
		{"POST", "/v1/query", template("", "${match(1"), 400, "failed compiling template"},
		{"POST", "/v1/query", `{"Name":"bad","Service":{"Service":""}}`, 400, "Must provide a Service name"},
		{"POST", "/v1/query", `{"Name":"bad","Service":{"Service":"x"},"Session":"nobody"}`, 400, `invalid session "nobody"`},
		{"DELETE", "/v1/query/nobody", ``, 404, "non-existent prepared query"},

		{"PUT", "/v1/snapshot", "", 400, "decompress"},
		{"PUT", "/v1/snapshot", "junk, and not so little of it", 400, "gzip: invalid header"},
		{"PUT", "/v1/snapshot", foreignArchive(t), 400, "Consul"},
		{"PUT", "/v1/snapshot", saved[:len(saved)/2], 400, "unexpected EOF"},
		{"PUT", "/v1/snapshot", damaged(saved), 400, ""},
		{"PUT", "/v1/config", `{"Kind":"service-splitter","Name":"x","Splits":[{"Weight":40}]}`, 400, "100"},
	} {
		if status, answer := a.send(t, bad.method, bad.path, bad.body); status != bad.status || !strings.Contains(answer, bad.says) {
			t.Errorf("%s %s %.80s: %d %.300s, want %d %s", bad.method, bad.path, bad.body, status, answer, bad.status, bad.says)
		}
	}
	if after := state(); !slices.Equal(before, after) {
		t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	if strings.Contains(a.log.String(), "panic") {
		t.Error("something panicked")
	}
}

// anyKey takes entries whose keys are not made for URLs, JSON or shells through
// all that names them.
func anyKey(t *testing.T, a *agent) {
	prefix := "any " + a.name + "/"
	keys := []string{"", "/", "a//b/", "../up", "per%20cent", "?q=1&r#s;t", "\x00", "line\nand\ttab", "<b>&\"'\\", "é ☃ \u2028", "日本"}
	kv := a.consul().KV()
	for i, key := range keys {
		key = prefix + key
		value := []byte(key)
		if _, err := kv.Put(&consul.KVPair{Key: key, Value: value}, nil); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if p, _, err := kv.Get(key, nil); err != nil || p == nil || p.Key != key || !bytes.Equal(p.Value, value) {
			t.Errorf("%q: %+v %v", key, p, err)
		}
		ok, got, _, err := kv.Txn(consul.KVTxnOps{{Verb: consul.KVGet, Key: key}, {Verb: consul.KVSet, Key: key, Value: value, Flags: uint64(i)}}, nil)
		if err != nil || !ok || got.Results[0].Key != key || !bytes.Equal(got.Results[0].Value, value) {
			t.Errorf("%q in a transaction: %t %+v %v", key, ok, got, err)
		}
	}
	if out, code := a.muster("kv", "get", prefix+keys[5]); code != 0 || out != prefix+keys[5]+"\n" {
		t.Errorf("muster kv get: %d %q", code, out)
	}
	listed, _, err := kv.Keys(prefix, "", nil)
	want := make([]string, len(keys))
	for i, key := range keys {
		want[i] = prefix + key
	}
	slices.Sort(want)
	if err != nil || !slices.Equal(listed, want) {
		t.Errorf("listed %q, %v\nwant   %q", listed, err, want)
	}
	exported, code := a.muster("kv", "export", prefix)
	if code != 0 {
		t.Fatalf("export: %s", exported)
	}
	a.must(t, "DELETE", "/v1/kv/"+url.PathEscape(prefix)+"?recurse", "")
	if out, code := a.muster("kv", "import", exported); code != 0 {
		t.Fatalf("import: %s", out)
	}
	if again, code := a.muster("kv", "export", prefix); code != 0 || again != exported {
		t.Errorf("exported %s\nimported %s", exported, again)
	}

	// What is no text can't be in JSON, and is read and deleted by its key alone.
	raw := "/v1/kv/" + url.PathEscape(prefix+"\xff\xfe")
	a.must(t, "PUT", raw, "bytes")
	if got := a.must(t, "GET", raw+"?raw", ""); got != "bytes" {
		t.Errorf("a key that is no text: %s", got)
	}
	if out, code := a.muster("kv", "delete", prefix+"\xff\xfe"); code != 0 {
		t.Errorf("delete a key that is no text: %s", out)
	}
	if status, _ := a.send(t, "GET", raw, ""); status != http.StatusNotFound {
		t.Errorf("a deleted key answers %d", status)
	}
}

// endedByChecks has sessions end by a check of their node, of a service, and with
// these; who watches what they held is told at once.
func endedByChecks(t *testing.T, a *agent) {
	const register, deregister = "/v1/catalog/register", "/v1/catalog/deregister"
	node := "n-" + a.name
	said := func(format string) string { return strings.ReplaceAll(format, "NODE", node) }
	for i, c := range []struct{ path, body string }{
		{register, `{"Node":"NODE","SkipNodeUpdate":true,"Check":{"Name":"disk","CheckID":"disk","Status":"critical"}}`},
		{register, `{"Node":"NODE","SkipNodeUpdate":true,"Check":{"Name":"web","CheckID":"web","ServiceID":"web","Status":"critical"}}`},
		{deregister, `{"Node":"NODE","CheckID":"disk"}`},
		{deregister, `{"Node":"NODE","ServiceID":"web"}`},
		{deregister, `{"Node":"NODE"}`},
	} {
		a.must(t, "PUT", register, said(`{"Node":"NODE","Address":"192.0.2.9","Service":{"Service":"web"},"Checks":[{"Name":"disk","Status":"warning"},{"Name":"web","CheckID":"web","ServiceID":"web","Status":"passing"}]}`))
		behavior := []string{consul.SessionBehaviorRelease, consul.SessionBehaviorDelete}[i%2]
		var made struct{ ID string }
		answer := a.must(t, "PUT", "/v1/session/create", said(`{"Node":"NODE","NodeChecks":["disk"],"ServiceChecks":[{"ID":"web"}],"LockDelay":"0s","Behavior":"`+behavior+`"}`))
		if err := json.Unmarshal([]byte(answer), &made); err != nil {
			t.Fatal(err)
		}
		kv, key := a.consul().KV(), "ended/"+node
		if ok, _, err := kv.Acquire(&consul.KVPair{Key: key, Session: made.ID}, nil); err != nil || !ok {
			t.Fatalf("acquire: %t %v", ok, err)
		}
		_, meta, err := kv.Get(key, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.must(t, "PUT", c.path, said(c.body))
		p, _, err := kv.Get(key, &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 20 * time.Second})
		if gone := behavior == consul.SessionBehaviorDelete; err != nil || (p == nil) != gone || p != nil && p.Session != "" {
			t.Errorf("%s %s (%s): the entry is %+v, %v", c.path, c.body, behavior, p, err)
		}
		if s, _, err := a.consul().Session().Info(made.ID, nil); err != nil || s != nil {
			t.Errorf("%s %s: the session is %+v, %v", c.path, c.body, s, err)
		}
	}
}

// wokenByItsOwn has queries on a key, a prefix and an absent key wait at one agent
// while others write beside them at another.
func wokenByItsOwn(t *testing.T, at, writer *agent) {
	writer.must(t, "PUT", "/v1/kv/woken/a/1", "")
	type answer struct {
		query string
		index uint64
		err   error
	}
	ask := func(ctx context.Context, query string, index uint64) (uint64, error) {
		key, recurse := strings.CutSuffix(query, "*")
		options := (&consul.QueryOptions{WaitIndex: index, WaitTime: time.Minute}).WithContext(ctx)
		var (
			meta *consul.QueryMeta
			err  error
		)
		if recurse {
			_, meta, err = at.consul().KV().List(key, options)
		} else {
			_, meta, err = at.consul().KV().Get(key, options)
		}
		if err != nil {
			return 0, err
		}
		return meta.LastIndex, nil
	}
	answers := make(chan answer)
	ctx, cancel := context.WithCancel(t.Context())
	var waiting []string
	before := map[string]uint64{}
	wait := func(query string) {
		index, err := ask(ctx, query, 0)
		if err != nil {
			t.Fatal(err)
		}
		before[query] = index
		waiting = append(waiting, query)
		go func() {
			index, err := ask(ctx, query, index)
			answers <- answer{query, index, err}
		}()
	}
	for _, query := range []string{"woken/a/1", "woken/a/*", "woken/none", "woken/none/*"} {
		wait(query)
	}
	defer func() { // whoever still waits is told to go
		cancel()
		for range waiting {
			if got := <-answers; got.err == nil {
				t.Errorf("%s was woken by what comes before it, or nothing", got.query)
			}
		}
	}()
	for _, c := range []struct {
		method, key string
		wakes       []string
	}{
		{"PUT", "woken/b", nil},
		{"PUT", "woken/a", nil},
		{"DELETE", "woken/b", nil},
		{"PUT", "woken/a/2", []string{"woken/a/*"}},
		{"PUT", "woken/a/1", []string{"woken/a/1", "woken/a/*"}},
		{"PUT", "woken/none", []string{"woken/none"}},
		{"PUT", "woken/none/x", []string{"woken/none/*"}},
		{"DELETE", "woken/a/1", []string{"woken/a/1", "woken/a/*"}},
	} {
		writer.must(t, c.method, "/v1/kv/"+c.key, c.method+strings.Repeat("I", len(waiting)))
		var woken []string
		for range c.wakes {
			got := <-answers
			if got.err != nil || got.index <= before[got.query] {
				t.Fatalf("%s %s: %+v, before at %d", c.method, c.key, got, before[got.query])
			}
			waiting = slices.DeleteFunc(waiting, func(q string) bool { return q == got.query })
			woken = append(woken, got.query)
		}
		slices.Sort(woken)
		if slices.Sort(c.wakes); !slices.Equal(woken, c.wakes) {
			t.Fatalf("%s %s woke %q, not %q", c.method, c.key, woken, c.wakes)
		}
		for _, query := range woken {
			wait(query)
		}
	}
}

// archived saves, inspects and restores by commands; a damaged archive is refused.
func archived(t *testing.T, a *agent) {
	file := filepath.Join(t.TempDir(), "saved.snap")
	run := func(want int, says string, args ...string) {
		t.Helper()
		if out, code := a.muster(append([]string{"snapshot"}, args...)...); code != want || !strings.Contains(out, says) {
			t.Fatalf("muster snapshot %v: %d %s", args, code, out)
		}
	}
	a.must(t, "PUT", "/v1/kv/archived", "before")
	run(0, "Saved and verified snapshot to index", "save", file)
	run(0, "KVS", "inspect", file)
	a.must(t, "PUT", "/v1/kv/archived", "after")
	index := func() string {
		_, h, _ := a.get("/v1/kv/archived")
		return h.Get("X-Consul-Index")
	}
	changed := index()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wrong := writeFile(t, "damaged.snap", damaged(string(data)))
	run(1, "rror", "inspect", wrong)
	run(1, "rror", "restore", wrong)
	if got := a.must(t, "GET", "/v1/kv/archived?raw", ""); got != "after" || index() != changed {
		t.Errorf("a refused archive left %s at %s, before at %s", got, index(), changed)
	}
	run(0, "Restored snapshot", "restore", file)
	if got := a.must(t, "GET", "/v1/kv/archived?raw", ""); got != "before" {
		t.Errorf("restored: %s", got)
	}
}

// damaged is an archive with one bit wrong.
func damaged(archive string) string {
	data := []byte(archive)
	data[len(data)/2] ^= 1
	return string(data)
}

// foreignArchive is what Consul 1.21.4 saved: an archive of our form, whose state is not ours.
func foreignArchive(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/consul-1.21.4.snap")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
