package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"muster/catalog"
	"muster/catalog/ca"
	"muster/catalog/state"
)

// Paths on the cluster port by which agents get certificates for their services.
const (
	signPath   = "/internal/ca/sign"
	signerPath = "/internal/ca/signer"
)

const (
	requestLimit = 64 << 10 // bytes of a certificate request
	// signWait is how long a certificate request may wait for its turn.
	signWait = 500 * time.Millisecond
)

// signing is the way of certificate requests to the leader, who signs them. On a
// server it is also that leader's part.
type signing struct {
	enabled    bool // on this server
	datacenter string
	uplink     *uplink
	gate       gate
}

// signerInfo is what an agent must know of the root that signs, to ask it for a leaf.
type signerInfo struct {
	Index       uint64
	RootID      string
	TrustDomain string
	KeyType     string
	KeyBits     int
}

// signed is the answer to a certificate request.
type signed struct {
	Leaf  *ca.Leaf     `json:",omitempty"`
	Kind  catalog.Kind `json:",omitempty"` // of the error
	Error string       `json:",omitempty"`
}

var (
	errConnectOff = catalog.Errorf(catalog.Internal, "Connect must be enabled in order to use this endpoint")
	errNoRoot     = catalog.Errorf(catalog.Unavailable, "the cluster has no root certificate yet")
	errSignRate   = catalog.Errorf(catalog.TooMany, "operation rate limited by server: as many certificates are signed as CSRMaxPerSecond or CSRMaxConcurrent allow; try again")
)

// sign has the leader sign a request, in DER.
func (s *signing) sign(ctx context.Context, request []byte, hops int, patience time.Duration) (leaf *ca.Leaf, err error) {
	err = s.uplink.lead(ctx, hops, patience, leading{
		here: func(ctx context.Context) (err error) {
			leaf, err = s.signHere(ctx, request)
			return err
		},
		pass: func(ctx context.Context, addr string, hops int) (err error) {
			leaf, err = s.pass(ctx, addr, request, hops)
			return err
		},
	})
	return leaf, err
}

// signHere signs on the leader, with the root that signs now.
func (s *signing) signHere(ctx context.Context, request []byte) (*ca.Leaf, error) {
	if !s.enabled {
		return nil, errConnectOff
	}
	if err := s.uplink.quorum.ReadIndex(ctx); err != nil {
		return nil, err
	}
	a := s.uplink.quorum.store.View().CA()
	if a == nil {
		return nil, errNoRoot
	}
	csr, _, err := ca.Requested(a, s.datacenter, request)
	if err != nil {
		return nil, err
	}
	cfg, _, err := ca.ParseJSON(a.Config)
	if err != nil {
		return nil, err
	}
	leave, err := s.gate.enter(ctx, cfg.MaxPerSecond, cfg.MaxConcurrent)
	if err != nil {
		return nil, err
	}
	defer leave()
	return ca.Sign(a, csr, time.Now())
}

// pass asks another server.
func (s *signing) pass(ctx context.Context, addr string, request []byte, hops int) (*ca.Leaf, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+signPath, bytes.NewReader(request))
	if err != nil {
		return nil, err
	}
	req.Header.Set(hopsHeader, strconv.Itoa(hops))
	var answer signed
	if err := s.uplink.call(addr, req, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	switch {
	case answer.Error != "":
		return nil, catalog.Errorf(answer.Kind, "%s", answer.Error)
	case answer.Leaf == nil:
		return nil, fmt.Errorf("server %s answers without a certificate", addr)
	}
	return answer.Leaf, nil
}

// signer waits until the root that signs is another than at an index, or ctx ends,
// and says what is known of it then. It may be as old as the server is behind.
func (s *signing) signer(ctx context.Context, index uint64) (signerInfo, error) {
	if s.uplink.quorum != nil {
		if !s.enabled {
			return signerInfo{}, errConnectOff
		}
		return awaitSigner(ctx, s.uplink.quorum.store, index), nil
	}
	err := error(errNoServers)
	for _, addr := range s.uplink.router.Servers() {
		var req *http.Request
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s%s?index=%d", addr, signerPath, index), nil)
		if err != nil {
			return signerInfo{}, err
		}
		var answer struct {
			signerInfo
			Off bool
		}
		if err = s.uplink.call(addr, req, &answer); err == nil {
			if answer.Off {
				return signerInfo{}, errConnectOff
			}
			return answer.signerInfo, nil
		}
	}
	return signerInfo{}, err
}

// awaitSigner does so with a server's own copy of the catalog. Without an index it
// waits for the first root.
func awaitSigner(ctx context.Context, store *state.Store, index uint64) signerInfo {
	for {
		v := store.View()
		a := v.CA()
		info := signerInfo{Index: v.Index()}
		if a != nil {
			root := a.Active()
			info.RootID, info.TrustDomain, info.KeyType, info.KeyBits = root.ID, a.TrustDomain(), root.KeyType, root.KeyBits
		}
		if a != nil && info.Index > index || ctx.Err() != nil {
			return info
		}
		// Its error is ctx's, which the next round sees.
		_ = store.Wait(ctx, v.Topics(), info.Index)
	}
}

// routes puts the server's side on the cluster port.
func (s *signing) routes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+signPath, func(w http.ResponseWriter, r *http.Request) {
		hops, request, ok := passed(w, r, requestLimit)
		if !ok {
			return
		}
		leaf, err := s.sign(r.Context(), request, hops, passedHold)
		answer := signed{Leaf: leaf}
		if err != nil {
			answer = signed{Kind: catalog.KindOf(err), Error: err.Error()}
		}
		writeJSON(w, answer)
	})
	mux.HandleFunc("GET "+signerPath, func(w http.ResponseWriter, r *http.Request) {
		index, err := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
		if err != nil {
			http.Error(w, "bad index: "+err.Error(), http.StatusBadRequest)
			return
		}
		wait := watchTime * 9 / 10 // a little less than the caller waits
		if index == 0 {
			wait = passedHold
		}
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		info, err := s.signer(ctx, index)
		if err != nil && !errors.Is(err, errConnectOff) {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, struct {
			signerInfo
			Off bool
		}{info, err != nil})
	})
}

// gate lets certificate requests through one by one, so many a second or so many at a
// time.
type gate struct {
	mu   sync.Mutex
	next time.Time // guarded by mu; when the next may pass
	busy int       // guarded by mu
}

// enter waits for a place, but not for long. Whoever has one leaves.
func (g *gate) enter(ctx context.Context, perSecond float64, concurrent int) (leave func(), err error) {
	wait, err := g.take(perSecond, concurrent)
	if err != nil {
		return nil, err
	}
	leave = func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.busy--
	}
	if wait > 0 {
		waitFor(ctx, wait, nil, nil)
	}
	if err := ctx.Err(); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// take gives a place, and how long it is until it may be used.
func (g *gate) take(perSecond float64, concurrent int) (wait time.Duration, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	switch {
	case concurrent > 0:
		if g.busy >= concurrent {
			return 0, errSignRate
		}
	case perSecond > 0:
		at := g.next
		if at.Before(now) {
			at = now
		}
		if wait = at.Sub(now); wait > signWait {
			return 0, errSignRate
		}
		g.next = at.Add(time.Duration(float64(time.Second) / perSecond))
	}
	g.busy++
	return wait, nil
}
