package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

// The bootstrap's own endpoints on the cluster port: how a server stands, and a
// charter that is put to it.
const (
	bootstrapStatePath   = "/internal/bootstrap/state"
	bootstrapCharterPath = "/internal/bootstrap/charter"
)

const (
	bootstrapRetry   = time.Second
	bootstrapTimeout = 5 * time.Second
	// bootstrapPatience is how long a promised cluster waits for members that
	// gossip does not name: ample for a newcomer to be known to all.
	bootstrapPatience = 2 * time.Second
	bootstrapLimit    = 64 << 10 // bytes of a request or answer
)

// bootstrapper makes the first configuration of a new cluster, once: never two
// of them, whatever the order in which servers start, stop and come back.
//
// While no server has Raft state, the one with the lowest ID among the
// bootstrap-expect lowest draws up a charter for these: a random cluster ID,
// their addresses and logs. Each that has promised it carries it on by asking
// the others how far they are; what follows from the answers is decided in
// package consensus, which has the argument. So it doesn't matter which of them
// dies on the way. Servers beyond the expected number are added by the leader
// later, like any that join.
type bootstrapper struct {
	self   core.ServerID
	expect int
	timing core.Timing
	node   *consensus.Node
	pool   *gossip.Pool
	// roundTrip sends a request to a server's cluster port.
	roundTrip func(addr string, r *http.Request) (*http.Response, error)
	logger    *slog.Logger

	// missed is the promised cluster some of whose members can't be heard of,
	// and since when.
	missed struct {
		cluster string
		since   time.Time
	}
}

// bootstrapState is a server's answer on both paths.
type bootstrapState struct {
	consensus.Standing
	Empty bool // it has never been part of a cluster
}

// bootstrapCharter is what is put to a server.
type bootstrapCharter struct {
	Charter *consensus.Charter
	Heard   map[core.ServerID]consensus.Stage
}

func (b *bootstrapper) state() bootstrapState {
	s := b.node.Status()
	return bootstrapState{s.Standing, s.Empty}
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

// try does what there is to do for this server. An error says what is in the way.
func (b *bootstrapper) try(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootstrapTimeout)
	defer cancel()
	all := b.census(ctx)
	own := b.state()
	if own.Charter != nil {
		return b.pursue(ctx, own.Charter, all)
	}
	switch {
	case all.cluster != nil:
		return all.cluster
	case all.silent != nil:
		return all.silent
	case b.expect == 0:
		return errors.New("bootstrap_expect is not set; waiting for a cluster to add this server")
	}
	servers, err := b.candidates()
	if err != nil {
		return err
	}
	first := servers[:b.expect]
	if core.ServerID(first[0].ID) != b.self {
		return fmt.Errorf("server %s has the lowest ID and draws up the first configuration", first[0].Name)
	}
	all.states[b.self] = own
	charter, err := b.draw(first, all.states)
	if err != nil {
		return err
	}
	if _, err := b.node.Consider(ctx, consensus.PromiseRequest{Charter: charter, Willing: true}); err != nil {
		return fmt.Errorf("promise cluster %s: %w", charter.Config.ClusterID, err)
	}
	return b.pursue(ctx, charter, all)
}

// census is how the other live servers stand.
type census struct {
	members map[core.ServerID]gossip.Member
	states  map[core.ServerID]bootstrapState // of those that answered
	silent  error                            // why one did not
	cluster error                            // names a cluster that exists
}

// census asks all live servers at the same time.
func (b *bootstrapper) census(ctx context.Context) census {
	c := census{members: map[core.ServerID]gossip.Member{}, states: map[core.ServerID]bootstrapState{}}
	for _, m := range b.pool.Members() {
		if m.Server && m.Status == gossip.StatusAlive && core.ServerID(m.ID) != b.self {
			c.members[core.ServerID(m.ID)] = m
		}
	}
	c.silent = b.each(ctx, c, slices.Collect(maps.Keys(c.members)), http.MethodGet, bootstrapStatePath, nil)
	for id, s := range c.states {
		if !s.Empty {
			c.cluster = fmt.Errorf("server %s is part of cluster %s; waiting for its leader to add this server", c.members[id].Name, s.Cluster)
		}
	}
	return c
}

// each asks the live ones among servers, at the same time, and notes how they
// stand. Its error is one of those who did not answer.
func (b *bootstrapper) each(ctx context.Context, c census, servers []core.ServerID, method, path string, in any) error {
	var mu sync.Mutex
	var g errgroup.Group
	for _, id := range servers {
		m, live := c.members[id]
		if !live {
			continue
		}
		g.Go(func() error {
			var s bootstrapState
			err := b.call(ctx, m, method, path, in, &s)
			if err == nil {
				mu.Lock()
				defer mu.Unlock()
				c.states[id] = s
			}
			return err
		})
	}
	return g.Wait()
}

// draw draws up a charter for the servers.
func (b *bootstrapper) draw(servers []gossip.Member, states map[core.ServerID]bootstrapState) (*consensus.Charter, error) {
	id, err := uuid.NewRandom()
	if err != nil {
		return nil, fmt.Errorf("make a cluster ID: %w", err)
	}
	charter := &consensus.Charter{Config: core.Configuration{ClusterID: id.String(), Timing: b.timing}}
	for _, m := range servers {
		s, known := states[core.ServerID(m.ID)]
		switch {
		case !known:
			return nil, fmt.Errorf("server %s has just come; asking it next", m.Name)
		case s.Charter != nil:
			return nil, fmt.Errorf("server %s has promised itself to cluster %s; waiting for what becomes of that", m.Name, s.ClusterID())
		}
		charter.Config.Servers = append(charter.Config.Servers, core.Server{
			ID: core.ServerID(m.ID), Addr: m.ClusterAddr, Suffrage: core.Voter, Log: s.Log,
		})
		charter.Turns = append(charter.Turns, s.Turn)
	}
	return charter, nil
}

// pursue carries on a charter that this server has promised, as far as it goes:
// it tells each member what it knows of the others and hears how they stand,
// until nothing changes any more.
func (b *bootstrapper) pursue(ctx context.Context, charter *consensus.Charter, all census) error {
	var others []core.ServerID
	for _, s := range charter.Config.Servers {
		if s.ID != b.self {
			others = append(others, s.ID)
		}
	}
	hopeless := false
	for {
		heard := map[core.ServerID]consensus.Stage{}
		for _, id := range others {
			heard[id] = all.states[id].On(charter, id)
		}
		own, err := b.node.Consider(ctx, consensus.PromiseRequest{Charter: charter, Heard: heard, Hopeless: hopeless})
		if err != nil {
			return fmt.Errorf("decide on cluster %s: %w", charter.Config.ClusterID, err)
		}
		tell := bootstrapCharter{Charter: charter, Heard: maps.Clone(heard)}
		tell.Heard[b.self] = own.On(charter, b.self)
		err = b.each(ctx, all, others, http.MethodPut, bootstrapCharterPath, tell)
		switch {
		case own.Cluster != "":
			return nil
		case own.Charter == nil:
			return fmt.Errorf("cluster %s can never come to be; asking anew", charter.Config.ClusterID)
		}
		moved, missing := false, []core.ServerID(nil)
		for _, id := range others {
			now := all.states[id].On(charter, id)
			moved = moved || now != heard[id]
			if now == consensus.Unheard {
				missing = append(missing, id) // not alive, or with another log
			}
		}
		switch {
		case moved:
		case err != nil:
			return err
		case all.cluster != nil && !hopeless, missing != nil && !hopeless && b.patienceEnds(charter):
			hopeless = true
		default:
			return fmt.Errorf("stands at %q with cluster %s and waits for servers %v; if they are lost for good, and no server is in that cluster, stop the servers that wait, remove the directory raft in their data-dirs, and start them again",
				own.Stage, charter.Config.ClusterID, missing)
		}
	}
}

// patienceEnds says whether members of a charter have been missing for long. One
// that has just come is not known to all at once, and to withdraw for its sake
// would be early.
func (b *bootstrapper) patienceEnds(charter *consensus.Charter) bool {
	if b.missed.cluster != charter.Config.ClusterID {
		b.missed.cluster, b.missed.since = charter.Config.ClusterID, time.Now()
	}
	return time.Since(b.missed.since) >= bootstrapPatience
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
	mux.HandleFunc("PUT "+bootstrapCharterPath, func(w http.ResponseWriter, r *http.Request) {
		var c bootstrapCharter
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, bootstrapLimit))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&c); err != nil {
			http.Error(w, "decode the charter: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := c.Charter.Validate(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		standing, err := b.node.Consider(r.Context(), consensus.PromiseRequest{
			Charter: c.Charter, Heard: c.Heard, Willing: len(c.Charter.Config.Servers) == b.expect,
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, bootstrapState{standing, b.node.Status().Empty})
	})
}
