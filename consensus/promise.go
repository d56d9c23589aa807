package consensus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// Promise is what an empty server gives the coordinator of a bootstrap: to join
// no other cluster. A cluster gets its first configuration only when each of
// its first members has promised, so that no two can have differing ones at
// (1, 1).
type Promise struct {
	ClusterID   string          `json:"cluster_id"`
	Coordinator core.ServerID   `json:"coordinator"`
	Members     []core.ServerID `json:"members"`
}

// PromiseRequest asks to make a promise durable, or to release the one to the
// same ClusterID.
type PromiseRequest struct {
	Promise Promise
	Release bool
	Waiter  Waiter
}

const (
	promiseFile  = "promise"
	promiseLimit = 64 << 10
)

func readPromise(fsys wal.FS, dir string) (p Promise, err error) {
	path := filepath.Join(dir, promiseFile)
	data, err := wal.ReadFile(fsys, path, promiseLimit)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Promise{}, fmt.Errorf("decode the bootstrap promise in %s: %w", path, err)
	}
	return p, nil
}

// bootstrap writes the first configuration, if no promise to another cluster
// stands.
func (e *Engine) bootstrap(b Bootstrap) {
	if held := e.promise; held.ClusterID != "" && held.ClusterID != b.Config.ClusterID {
		b.Waiter.Done(Result{Err: &PromiseError{Held: held, Want: b.Config.ClusterID}})
		return
	}
	if b.Config.Timing == (core.Timing{}) {
		b.Config.Timing = e.cfg.Timing
	}
	if err := e.core.Bootstrap(e.now, b.Config); err != nil {
		b.Waiter.Done(Result{Err: err})
		return
	}
	e.waiting.first = append(e.waiting.first, b.Waiter)
}

// requestPromise makes, repeats or releases a promise; the waiter is told when
// it is durable. Repeating one is harmless: a coordinator that lost the answer
// asks again.
func (e *Engine) requestPromise(r PromiseRequest) {
	held := e.promise
	switch {
	case r.Release && held.ClusterID != r.Promise.ClusterID:
		r.Waiter.Done(Result{})
		return
	case r.Release:
		e.promise = Promise{}
	case !e.empty():
		r.Waiter.Done(Result{Err: ErrNotEmpty})
		return
	case held.ClusterID != "" && held.ClusterID != r.Promise.ClusterID:
		r.Waiter.Done(Result{Err: &PromiseError{Held: held, Want: r.Promise.ClusterID}})
		return
	default:
		e.promise = r.Promise
	}
	e.submit(LaneDisk, &keepPromise{cfg: &e.cfg, promise: e.promise, waiter: r.Waiter})
}

// empty says whether this server has never been part of a cluster.
func (e *Engine) empty() bool {
	return e.lastQueued.Index == 0 && e.snapshot.Index == 0 && e.status.Config.ClusterID == ""
}

// foreign says whether a message would make this server, which promised itself
// to one cluster and knows no configuration yet, part of another. Connections
// of a known other cluster are refused by transport before they get here; this
// closes the gap of those made before the promise.
func (e *Engine) foreign(m core.Message) bool {
	if e.promise.ClusterID == "" || e.status.Config.ClusterID != "" {
		return false
	}
	other := ""
	if m.Snapshot != nil {
		other = m.Snapshot.Config.ClusterID
	}
	for _, entry := range m.Entries {
		if entry.Kind != core.EntryConfig {
			continue
		}
		if c, err := core.DecodeConfiguration(entry.Data); err == nil {
			other = c.ClusterID
		}
	}
	if other == "" || other == e.promise.ClusterID {
		return false
	}
	e.log.Warn("refused raft message of another cluster than the promised one",
		"from", m.From, "cluster", other, "promised", e.promise.ClusterID)
	return true
}

// keepPromise makes a promise, or its release, durable.
type keepPromise struct {
	cfg     *Config
	promise Promise
	waiter  Waiter
}

func (k *keepPromise) run() error {
	data, err := json.Marshal(k.promise)
	if err != nil {
		return fmt.Errorf("encode the bootstrap promise: %w", err)
	}
	return wal.WriteFileAtomic(k.cfg.FS, filepath.Join(k.cfg.Dir, promiseFile), data, 0o600)
}

func (k *keepPromise) finish(*Engine) { k.waiter.Done(Result{}) }
