package agent

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"muster/api/agentapi"
	"muster/catalog"
	"muster/catalog/ca"
)

const (
	// maxLeaves bounds the services that an agent has certificates for.
	maxLeaves = 4096
	// leafIdle is after how long without a question a certificate is not renewed.
	leafIdle = time.Hour
	// leafRetryMin and leafRetryMax bound the pause after a renewal that failed.
	leafRetryMin = time.Second
	leafRetryMax = time.Minute
)

// leaves keeps certificates for the services whose programs ask this agent for one:
// the key is made here, and the leader signs. Each is renewed when between three and four
// fifths of its time are over, at a moment of its own, or soon after there is another root; so whoever holds a blocking query always has a good one. One that nobody asks
// for any more ends.
type leaves struct {
	datacenter string
	signer     func(ctx context.Context, index uint64) (signerInfo, error)
	sign       func(ctx context.Context, request []byte) (*ca.Leaf, error)
	// spread is within how long after a change of the root all leaves are renewed.
	spread time.Duration
	// hold is how long the first leaf may wait for a server.
	hold   time.Duration
	logger *slog.Logger
	begin  chan *identity // to run, which owns the goroutines
	over   chan struct{}  // closed when run has ended

	mu      sync.Mutex
	all     map[string]*identity // guarded by mu; by service
	root    string               // guarded by mu; ID of the one that signs, "" while it is not known
	rooted  chan struct{}        // guarded by mu; closed when root changes
	changed chan struct{}        // guarded by mu; closed when any leaf does
	ended   bool                 // guarded by mu
}

// identity is a service's certificate, and who keeps it.
type identity struct {
	service string
	ctx     context.Context
	cancel  context.CancelFunc
	used    atomic.Int64 // when it was last asked for, in Unix seconds

	// Guarded by the mutex of leaves.
	leaf    *agentapi.Leaf // nil before the first
	err     error          // why there is none, once it is over
	changed chan struct{}  // closed when leaf or err is another
}

func newLeaves(datacenter string, s *signing, spread, hold time.Duration, logger *slog.Logger) *leaves {
	return &leaves{
		datacenter: datacenter, signer: s.signer, spread: spread, hold: hold, logger: logger,
		sign: func(ctx context.Context, request []byte) (*ca.Leaf, error) {
			return s.sign(ctx, request, maxHops, hold)
		},
		begin: make(chan *identity), over: make(chan struct{}), all: map[string]*identity{}, rooted: make(chan struct{}), changed: make(chan struct{}),
	}
}

// run keeps certificates until ctx ends.
func (l *leaves) run(ctx context.Context) error {
	defer close(l.over)
	var running sync.WaitGroup
	defer running.Wait()
	var watching sync.Once
	for {
		select {
		case <-ctx.Done():
			l.mu.Lock()
			defer l.mu.Unlock()
			l.ended = true
			for _, id := range l.all {
				id.cancel()
			}
			return nil
		case id := <-l.begin:
			watching.Do(func() { running.Go(func() { l.watchRoot(ctx) }) })
			running.Go(func() { l.keep(id) })
		}
	}
}

// watchRoot learns which root signs.
func (l *leaves) watchRoot(ctx context.Context) {
	index, pause := uint64(0), leafRetryMin
	for ctx.Err() == nil {
		asked, cancel := context.WithTimeout(ctx, watchTime)
		info, err := l.signer(asked, index)
		cancel()
		if err != nil || info.Index < index || info.RootID == "" {
			waitFor(ctx, jittered(pause), nil, nil)
			index, pause = 0, min(2*pause, leafRetryMax)
			continue
		}
		index, pause = info.Index, leafRetryMin
		l.mu.Lock()
		if l.root != info.RootID {
			l.root = info.RootID
			close(l.rooted)
			l.rooted = make(chan struct{})
		}
		l.mu.Unlock()
	}
}

// jittered is a time of about d.
func jittered(d time.Duration) time.Duration {
	return d/2 + rand.N(d)
}

// Leaf implements agentapi.Identities.
func (l *leaves) Leaf(ctx context.Context, service string) (*agentapi.Leaf, <-chan struct{}, error) {
	ctx, cancel := context.WithTimeout(ctx, l.hold)
	defer cancel()
	id, err := l.of(ctx, service)
	if err != nil {
		return nil, nil, err
	}
	for {
		l.mu.Lock()
		leaf, changed, err := id.leaf, id.changed, id.err
		l.mu.Unlock()
		if leaf != nil || err != nil {
			return leaf, changed, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, catalog.Errorf(catalog.Unavailable, "no server has signed a certificate in time: %v", ctx.Err())
		}
	}
}

// Leaves implements agentapi.Identities.
func (l *leaves) Leaves() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

var errTooManyLeaves = catalog.Errorf(catalog.TooMany, "this agent keeps certificates for %d services, which is as many as it can", maxLeaves)

// of finds a service's identity, or begins one.
func (l *leaves) of(ctx context.Context, service string) (*identity, error) {
	l.mu.Lock()
	id := l.all[service]
	switch {
	case l.ended:
		l.mu.Unlock()
		return nil, errNotWatching
	case id != nil:
		id.used.Store(time.Now().Unix())
		l.mu.Unlock()
		return id, nil
	case len(l.all) >= maxLeaves:
		l.mu.Unlock()
		return nil, errTooManyLeaves
	}
	id = &identity{service: service, changed: make(chan struct{})}
	id.ctx, id.cancel = context.WithCancel(context.Background())
	id.used.Store(time.Now().Unix())
	l.all[service] = id
	l.mu.Unlock()
	select {
	case l.begin <- id:
		return id, nil
	case <-l.over:
		l.end(id, errNotWatching)
		return nil, errNotWatching
	case <-ctx.Done():
		l.end(id, ctx.Err())
		return nil, ctx.Err()
	}
}

// keep gets a certificate and renews it. It ends when nobody asks for it, and where
// there is no good one and no other can be had: who asks next begins anew.
func (l *leaves) keep(id *identity) {
	defer id.cancel()
	pause := leafRetryMin
	for {
		known := l.knownRoot()
		leaf, root, err := l.issue(id.ctx, id.service)
		old := id.leaf // which only this goroutine writes
		switch {
		case id.ctx.Err() != nil:
			l.end(id, errNotWatching)
			return
		case err == nil:
			pause = leafRetryMin
			l.publish(id, leaf)
		case old == nil || !time.Now().Before(old.ValidBefore):
			l.end(id, err)
			return
		default:
			l.logger.Warn("a service's certificate is not renewed for now", "service", id.service, "until", old.ValidBefore, "error", err)
			waitFor(id.ctx, jittered(pause), nil, nil)
			pause = min(2*pause, leafRetryMax)
			continue
		}
		l.awaitRenewal(id.ctx, leaf, known, root)
		if id.ctx.Err() == nil && l.endIdle(id) {
			return
		}
	}
}

// issue gets a certificate for a service, and the ID of the root that it is signed by.
func (l *leaves) issue(ctx context.Context, service string) (*agentapi.Leaf, string, error) {
	ctx, cancel := context.WithTimeout(ctx, l.hold)
	defer cancel()
	info, err := l.signer(ctx, 0)
	if err == nil && info.RootID == "" {
		err = errNoRoot
	}
	if err != nil {
		return nil, "", err
	}
	key, request, err := ca.Request(ca.ServiceURI(info.TrustDomain, l.datacenter, service), info.KeyType, info.KeyBits)
	if err != nil {
		return nil, "", err
	}
	signed, err := l.sign(ctx, request)
	if err != nil {
		return nil, "", err
	}
	return &agentapi.Leaf{
		SerialNumber: signed.SerialNumber, CertPEM: signed.Chain, PrivateKeyPEM: string(key),
		Service: service, ServiceURI: signed.URI, ValidAfter: signed.NotBefore, ValidBefore: signed.NotAfter,
	}, signed.RootID, nil
}

// knownRoot is the ID of the root that signs, as far as this agent has heard.
func (l *leaves) knownRoot() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.root
}

// awaitRenewal waits until a certificate is to be replaced, which a root has signed
// while this agent knew of one that may be older.
func (l *leaves) awaitRenewal(ctx context.Context, leaf *agentapi.Leaf, known, root string) {
	left := time.Until(leaf.ValidBefore)
	due := time.NewTimer(left*3/5 + rand.N(max(left/5, 1)))
	defer due.Stop()
	for {
		l.mu.Lock()
		signs, rooted := l.root, l.rooted
		l.mu.Unlock()
		if signs != known && signs != root {
			waitFor(ctx, rand.N(max(l.spread, 1)), nil, nil)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-due.C:
			return
		case <-rooted:
		}
	}
}

// publish gives a certificate to those who wait for it. Its index is the time in
// seconds, so that it goes on where it was when this agent starts anew.
func (l *leaves) publish(id *identity, leaf *agentapi.Leaf) {
	l.mu.Lock()
	defer l.mu.Unlock()
	leaf.ModifyIndex = uint64(time.Now().Unix())
	if id.leaf != nil {
		leaf.ModifyIndex = max(leaf.ModifyIndex, id.leaf.ModifyIndex+1)
	}
	leaf.CreateIndex = leaf.ModifyIndex
	id.leaf = leaf
	l.tell(id)
}

// tell wakes who waits for another certificate. The caller holds mu.
func (l *leaves) tell(id *identity) {
	close(id.changed)
	id.changed = make(chan struct{})
	close(l.changed)
	l.changed = make(chan struct{})
}

// end takes an identity out, and gives the reason to those who wait.
func (l *leaves) end(id *identity, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id.leaf, id.err = nil, err
	l.drop(id)
}

// endIdle takes an identity out that nobody has asked for in a while.
func (l *leaves) endIdle(id *identity) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(time.Unix(id.used.Load(), 0)) <= leafIdle {
		return false
	}
	l.drop(id) // who holds a stream asks again, and begins anew
	return true
}

// drop takes an identity out. The caller holds mu.
func (l *leaves) drop(id *identity) {
	id.cancel()
	if l.all[id.service] == id {
		delete(l.all, id.service)
	}
	l.tell(id)
}
