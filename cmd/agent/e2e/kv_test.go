package e2e

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// TestKV_ThroughTheOfficialClient asks a follower and a client agent for all that
// the official client's KV can do. Election timeouts are long: on a machine that
// is busy with other things a leader may be deposed, and what was under way with
// it ends as unknown, which is not what is tested here.
func TestKV_ThroughTheOfficialClient(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3, "-hcl", `performance { raft_multiplier = 4 }`)
	client := c.client("client")
	for _, a := range append(servers, client) {
		a.start()
	}
	for _, a := range append(servers, client) {
		a.waitLeader()
	}
	for i, a := range append(servers, client) {
		kv := a.consul().KV()
		prefix := fmt.Sprintf("e2e %d/é//", i)
		value := bytes.Repeat([]byte{0, 255}, 256<<10)
		key := prefix + "a"
		missing, meta, err := kv.Get(key, nil)
		if err != nil || missing != nil || meta.LastIndex == 0 || !meta.KnownLeader {
			t.Fatalf("%s: an absent key: %v %+v %v", a.name, missing, meta, err)
		}
		woken := make(chan error, 1)
		go func() {
			p, _, err := kv.Get(key, &consul.QueryOptions{WaitIndex: meta.LastIndex, WaitTime: 30 * time.Second})
			if err == nil && (p == nil || !bytes.Equal(p.Value, value) || p.Flags != 1<<63) {
				err = fmt.Errorf("woken with %v", p)
			}
			woken <- err
		}()
		if ok, _, err := kv.CAS(&consul.KVPair{Key: key, Value: value, Flags: 1 << 63}, nil); err != nil || !ok {
			t.Fatalf("%s: create: %t %v", a.name, ok, err)
		}
		if err := <-woken; err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
		p, meta, err := kv.Get(key, &consul.QueryOptions{RequireConsistent: true})
		if err != nil || p == nil || p.ModifyIndex != meta.LastIndex || p.LockIndex != 0 || p.Session != "" {
			t.Fatalf("%s: get: %+v %+v %v", a.name, p, meta, err)
		}
		if ok, _, err := kv.CAS(&consul.KVPair{Key: key, ModifyIndex: p.ModifyIndex + 1}, nil); err != nil || ok {
			t.Errorf("%s: check-and-set at a wrong index: %t %v", a.name, ok, err)
		}
		for _, name := range []string{"b/1", "b/2"} {
			if _, err := kv.Put(&consul.KVPair{Key: prefix + name}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if keys, _, err := kv.Keys(prefix, "/", nil); err != nil || fmt.Sprint(keys) != fmt.Sprint([]string{key, prefix + "b/"}) {
			t.Errorf("%s: keys %q %v", a.name, keys, err)
		}
		list, meta, err := kv.List(prefix, nil)
		if err != nil || len(list) != 3 || list[1].Value != nil || meta.LastIndex != list[2].ModifyIndex {
			t.Errorf("%s: list %v %+v %v", a.name, list, meta, err)
		}
		if ok, _, err := kv.DeleteCAS(&consul.KVPair{Key: key, ModifyIndex: 1}, nil); err != nil || ok {
			t.Errorf("%s: delete at a wrong index: %t %v", a.name, ok, err)
		}
		if _, err := kv.DeleteTree(prefix, nil); err != nil {
			t.Fatal(err)
		}
		gone, after, err := kv.List(prefix, nil)
		if err != nil || gone != nil || after.LastIndex <= meta.LastIndex {
			t.Errorf("%s: after the deletion: %v, index %d after %d, %v", a.name, gone, after.LastIndex, meta.LastIndex, err)
		}
	}
}
