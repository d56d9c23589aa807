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

// PromiseRequest puts a charter to a server, or tells it more of one that it
// has promised.
type PromiseRequest struct {
	Charter *Charter
	// Heard is how far the other members are with it, as known to who asks.
	Heard map[core.ServerID]Stage
	// Willing: promise it, if that is still open. Otherwise the server is done
	// with the charter, and so is everybody.
	Willing bool
	// Hopeless: nothing more can be heard of some who have not promised, or there
	// is another cluster. The server withdraws, if it may.
	Hopeless bool
	// Waiter gets the Standing that follows, once it is durable.
	Waiter Waiter
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
	if err = d.Decode(&p); err == nil && p.Charter != nil {
		err = p.Charter.Validate()
	}
	if err != nil {
		return Promise{}, fmt.Errorf("decode the bootstrap promise in %s: %w", path, err)
	}
	return p, nil
}

// recallPromise reads what this server promised. Where it is part of a cluster the
// promise is spent, and one that can't be read, as earlier builds left it, is no
// reason to stay away.
func (e *Engine) recallPromise() error {
	p, err := readPromise(e.cfg.FS, e.cfg.Dir)
	if err != nil && e.status.Config.ClusterID == "" {
		return err
	}
	if err != nil {
		e.log.Warn("a spent bootstrap promise can't be read; it may be removed", "error", err)
	}
	e.promise, e.kept = p, p
	return nil
}

// bootstrap writes the first configuration, if no promise to another cluster
// stands.
func (e *Engine) bootstrap(b Bootstrap) {
	if held := e.promise.ClusterID(); held != "" && held != b.Config.ClusterID {
		b.Waiter.Done(Result{Err: fmt.Errorf("%w %s", ErrPromised, held)})
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

// consider answers a PromiseRequest. Putting the same one twice is harmless.
func (e *Engine) consider(r PromiseRequest) {
	next := e.promise
	if e.empty() {
		next = e.promise.answer(e.cfg.ID, e.status.Incarnation, r)
	}
	switch {
	case next.Stage == Begun:
		begun := Standing{Promise: e.kept, Log: e.status.Incarnation, Cluster: next.ClusterID()}
		e.log.Info("begins a cluster", "cluster_id", begun.Cluster, "servers", len(next.Charter.Config.Servers))
		e.bootstrap(Bootstrap{Config: next.Charter.Config, Waiter: &answered{r.Waiter, begun}})
	case next == e.promise:
		r.Waiter.Done(Result{Value: e.standing()}) // what is under way to the disk is not in it yet
	default:
		e.logPromise(next)
		e.promise = next
		e.submit(LaneDisk, &keepPromise{cfg: &e.cfg, promise: next, waiter: r.Waiter})
	}
}

// logPromise says what becomes of a promise.
func (e *Engine) logPromise(next Promise) {
	if next.Charter == nil {
		if id := e.promise.ClusterID(); id != "" {
			e.log.Warn("a promised cluster can never come to be; this server is free for another", "cluster_id", id)
		}
		return
	}
	e.log.Info("bootstrap goes on", "cluster_id", next.ClusterID(), "stage", next.Stage)
}

// standing is what this server's disk says.
func (e *Engine) standing() Standing {
	s := Standing{Promise: e.kept, Log: e.status.Incarnation}
	if e.durable > 0 || e.snapshot.Index > 0 {
		s.Cluster = e.status.Config.ClusterID
	}
	return s
}

// empty says whether this server has never been part of a cluster. One that may
// have lost the end of its log may have.
func (e *Engine) empty() bool {
	return e.lastQueued.Index == 0 && e.snapshot.Index == 0 && e.status.Config.ClusterID == "" && !e.status.Voteless
}

// foreign says whether a message would make this server, which promised itself
// to one cluster and knows no configuration yet, part of another. Connections
// of a known other cluster are refused by transport before they get here; this
// closes the gap of those made before the promise.
func (e *Engine) foreign(m core.Message) bool {
	promised := e.promise.ClusterID()
	if promised == "" || e.status.Config.ClusterID != "" {
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
	if other == "" || other == promised {
		return false
	}
	e.log.Warn("refused raft message of another cluster than the promised one",
		"from", m.From, "cluster", other, "promised", promised)
	return true
}

// keepPromise makes a promise, or its end, durable.
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

func (k *keepPromise) finish(e *Engine) {
	e.kept = k.promise
	k.waiter.Done(Result{Value: e.standing()})
}

// answered gives its waiter a Standing.
type answered struct {
	waiter Waiter
	value  Standing
}

// Done implements Waiter.
func (a *answered) Done(r Result) {
	r.Value = a.value
	a.waiter.Done(r)
}
