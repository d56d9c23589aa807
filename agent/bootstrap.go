package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

// Paths of the bootstrap's own endpoints on the cluster port.
const (
	bootstrapStatePath   = "/internal/bootstrap/state"
	bootstrapPromisePath = "/internal/bootstrap/promise"
)

const (
	bootstrapRetry   = time.Second
	bootstrapTimeout = 5 * time.Second
	bootstrapLimit   = 64 << 10 // bytes of a request or answer
)

// bootstrapper makes the first configuration of a new cluster, once: never two
// of them, whatever the order in which servers start, stop and come back.
//
// While no server has Raft state, the one with the lowest ID among the
// bootstrap-expect lowest coordinates. It makes a random cluster ID, asks every
// server it knows whether it is still empty, collects a durable promise from
// each of exactly bootstrap-expect of them, itself first, and only then writes
// the configuration. A server that has promised refuses other clusters; a
// server that isn't empty promises nothing. Servers beyond the expected number
// are added by the leader later, like any that join.
type bootstrapper struct {
	self   core.ServerID
	expect int
	node   *consensus.Node
	pool   *gossip.Pool
	// roundTrip sends a request to a server's cluster port.
	roundTrip func(addr string, r *http.Request) (*http.Response, error)
	logger    *slog.Logger
}

// bootstrapState is a server's answer to bootstrapStatePath.
type bootstrapState struct {
	Empty     bool
	ClusterID string // of its configuration
	Promised  string // cluster ID of the promise that it holds
}

// promised is a server's answer to bootstrapPromisePath: the promise stands, in
// the directory of this log.
type promised struct {
	Log core.Incarnation
}

func (b *bootstrapper) state() bootstrapState {
	s := b.node.Status()
	return bootstrapState{
		Empty:     s.LastIndex == 0 && s.Snapshot.Index == 0 && s.Config.ClusterID == "",
		ClusterID: s.Config.ClusterID, Promised: s.Promise.ClusterID,
	}
}

// run tries until this server has Raft state, its own or a leader's.
func (b *bootstrapper) run(ctx context.Context) error {
	said := ""
	for b.state().Empty {
		changed, roles := b.pool.Changed(), b.node.Changed()
		if err := b.try(ctx); err != nil && ctx.Err() == nil {
			if text := err.Error(); text != said {
				b.logger.Info("not bootstrapping yet", "reason", err)
				said = text
			}
		}
		waitFor(ctx, bootstrapRetry, changed, roles)
		if ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

// try bootstraps if it is this server's turn. An error says what is in the way.
func (b *bootstrapper) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	states := map[core.ServerID]bootstrapState{}
	var inCluster error
	for _, m := range b.pool.Members() {
		if !m.Server || m.Status != gossip.StatusAlive || core.ServerID(m.ID) == b.self {
			continue
		}
		var s bootstrapState
		if err := b.call(ctx, m, http.MethodGet, bootstrapStatePath, nil, &s); err != nil {
			return err
		}
		states[core.ServerID(m.ID)] = s
		if !s.Empty {
			inCluster = fmt.Errorf("server %s is part of cluster %s; waiting for its leader to add this server", m.Name, s.ClusterID)
		}
	}
	if err := b.reconsider(ctx, states, inCluster != nil); err != nil {
		return err
	}
	if inCluster != nil {
		return inCluster
	}
	if b.expect == 0 {
		return errors.New("bootstrap_expect is not set; waiting for a cluster to add this server")
	}
	servers, err := b.candidates()
	if err != nil {
		return err
	}
	first := servers[:b.expect]
	if core.ServerID(first[0].ID) != b.self {
		return fmt.Errorf("server %s has the lowest ID and coordinates", first[0].Name)
	}
	cfg := core.Configuration{}
	for _, m := range first {
		cfg.Servers = append(cfg.Servers, core.Server{ID: core.ServerID(m.ID), Addr: m.ClusterAddr, Suffrage: core.Voter})
	}
	promise, err := b.promiseFor(cfg.Servers)
	if err != nil {
		return err
	}
	if err := b.promise(ctx, promise); err != nil {
		return err
	}
	cfg.Servers[0].Log = b.node.Status().Incarnation
	for i, m := range first[1:] {
		var made promised
		if err := b.call(ctx, m, http.MethodPut, bootstrapPromisePath, promise, &made); err != nil {
			return err
		}
		cfg.Servers[1+i].Log = made.Log
	}
	cfg.ClusterID = promise.ClusterID
	if err := b.node.Bootstrap(ctx, cfg); err != nil {
		return fmt.Errorf("write the first configuration: %w", err)
	}
	b.logger.Info("bootstrapped a new cluster", "cluster_id", cfg.ClusterID, "servers", len(cfg.Servers))
	return nil
}

// reconsider takes back a promise of which nothing can come any more, so that it
// doesn't keep this server out of the cluster that has formed instead. A promise
// to a coordinator who still stands for it stays.
func (b *bootstrapper) reconsider(ctx context.Context, states map[core.ServerID]bootstrapState, clusterExists bool) error {
	held := b.node.Status().Promise
	if held.ClusterID == "" {
		return nil
	}
	coordinator, alive := states[held.Coordinator]
	switch {
	case alive && (coordinator.ClusterID == held.ClusterID || coordinator.Promised == held.ClusterID):
		return nil
	case !alive && !clusterExists:
		return nil // its own, or that of a server that may come back
	}
	b.logger.Warn("released a bootstrap promise", "cluster_id", held.ClusterID, "coordinator", held.Coordinator)
	return b.node.ReleasePromise(ctx, held.ClusterID)
}

// candidates are the live servers, lowest ID first, at least as many as
// expected.
func (b *bootstrapper) candidates() ([]gossip.Member, error) {
	var servers []gossip.Member
	for _, m := range b.pool.Members() {
		if !m.Server || m.Status != gossip.StatusAlive || m.Expect == 0 {
			continue // a server that expects nobody waits to be added
		}
		if m.Expect != b.expect && core.ServerID(m.ID) != b.self {
			return nil, fmt.Errorf("server %s has bootstrap_expect=%d, this one %d; make them equal", m.Name, m.Expect, b.expect)
		}
		servers = append(servers, m)
	}
	if len(servers) < b.expect {
		return nil, fmt.Errorf("%d of the expected %d servers are here", len(servers), b.expect)
	}
	slices.SortFunc(servers, func(x, y gossip.Member) int { return strings.Compare(x.ID, y.ID) })
	return servers, nil
}

// promiseFor is the promise to ask for: the one this server coordinates
// already, if it is about the same servers, or a new one.
func (b *bootstrapper) promiseFor(servers []core.Server) (consensus.Promise, error) {
	var members []core.ServerID
	for _, s := range servers {
		members = append(members, s.ID)
	}
	if held := b.node.Status().Promise; held.Coordinator == b.self && slices.Equal(held.Members, members) {
		return held, nil
	}
	id, err := uuid.NewRandom()
	if err != nil {
		return consensus.Promise{}, fmt.Errorf("make a cluster ID: %w", err)
	}
	return consensus.Promise{ClusterID: id.String(), Coordinator: b.self, Members: members}, nil
}

// promise makes this server's own promise. One that it gave before stands in the
// way unless its coordinator is the one who asks (having found other servers in
// the meantime; it is still empty, so nothing came of it) or is gone.
func (b *bootstrapper) promise(ctx context.Context, p consensus.Promise) error {
	err := b.node.Promise(ctx, p)
	var refused *consensus.PromiseError
	if !errors.As(err, &refused) {
		return err
	}
	if held := refused.Held.Coordinator; held != p.Coordinator && b.isAlive(held) {
		return err
	}
	if err := b.node.ReleasePromise(ctx, refused.Held.ClusterID); err != nil {
		return err
	}
	b.logger.Warn("released a bootstrap promise", "cluster_id", refused.Held.ClusterID, "coordinator", refused.Held.Coordinator)
	return b.node.Promise(ctx, p)
}

func (b *bootstrapper) isAlive(id core.ServerID) bool {
	return slices.ContainsFunc(b.pool.Members(), func(m gossip.Member) bool {
		return core.ServerID(m.ID) == id && m.Status == gossip.StatusAlive
	})
}

// call asks another server's bootstrap endpoint.
func (b *bootstrapper) call(ctx context.Context, m gossip.Member, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+m.ClusterAddr+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := b.roundTrip(m.ClusterAddr, req)
	if err != nil {
		return fmt.Errorf("ask server %s: %w", m.Name, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, bootstrapLimit))
	if err != nil {
		return fmt.Errorf("ask server %s: %w", m.Name, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("server %s refuses: %s", m.Name, bytes.TrimSpace(answer))
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// routes puts the bootstrap's endpoints on the cluster port.
func (b *bootstrapper) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET "+bootstrapStatePath, func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, b.state())
	})
	mux.HandleFunc("PUT "+bootstrapPromisePath, func(w http.ResponseWriter, r *http.Request) {
		var p consensus.Promise
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, bootstrapLimit))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&p); err != nil {
			http.Error(w, "decode the promise: "+err.Error(), http.StatusBadRequest)
			return
		}
		if !slices.Contains(p.Members, b.self) || p.ClusterID == "" {
			http.Error(w, fmt.Sprintf("server %s is not among the members of this promise", b.self), http.StatusBadRequest)
			return
		}
		if err := b.promise(r.Context(), p); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		writeJSON(w, promised{Log: b.node.Status().Incarnation})
	})
}
