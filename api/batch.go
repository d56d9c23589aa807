package api

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"muster/catalog"
)

const (
	// commandsPath is where on the cluster port a leader takes the commands of another
	// server's callers: a POST of a list of commands as EncodeCommand makes them, in
	// msgpack, is answered by the list of their outcomes as EncodeOutcome makes them.
	commandsPath = InternalPrefix + "commands"

	// maxBatched is the length in bytes of a command up to which it goes with others. The
	// request of a larger one is passed on, as those of other rows are.
	maxBatched = 16 << 10
	// maxTogether is how many commands go together, of MaxCommandSize bytes in all.
	maxTogether = 1024
	// maxCommands is the length of their request, lists' and strings' heads included.
	maxCommands = catalog.MaxCommandSize + 8*maxTogether
	// maxOutcomes is the length of its answer.
	maxOutcomes = maxTogether * catalog.MaxOutcome
)

// batcher sends commands to the leader. A server has one request with commands under way
// with it at a time, and what comes meanwhile goes together with the next one: so the
// more there is to send, the less each costs, and where there is little none waits. (With
// two or four under way there are fewer in each, and it takes 64 clients longer.)
//
// It has no goroutine of its own: a caller whose turn it is sends for all that wait.
type batcher struct {
	cluster Cluster

	mu    sync.Mutex
	lanes map[string]*lane // guarded by mu; by the leader's address; only those in use
}

// lane is what goes to one server: there is a request under way, and others wait. The
// batcher's lock guards it.
type lane struct{ waiting []*parcel }

// parcel is a command on its way.
type parcel struct {
	ctx  context.Context // its caller's
	data []byte

	turn   chan []*parcel // gives its caller what to send: itself and those that go with it
	done   chan struct{}  // closed once result and err are set
	result catalog.Result
	err    error
}

// errMoved says that a command was not sent, as there may be another leader.
var errMoved = catalog.Errorf(catalog.Unavailable, "the servers or their leader have changed")

func newBatcher(c Cluster) *batcher { return &batcher{cluster: c, lanes: map[string]*lane{}} }

// commit has the leader at addr commit a command. Until it is sent it is taken back
// when the servers or their leader change. An error of kind Unavailable or Blocked says that it
// had no effect. ctx is the caller's; when it ends the command may yet take effect.
func (b *batcher) commit(ctx context.Context, addr string, changed <-chan struct{}, data []byte) (catalog.Result, error) {
	p := &parcel{ctx: ctx, data: data, turn: make(chan []*parcel, 1), done: make(chan struct{})}
	b.mu.Lock()
	l := b.lanes[addr]
	if l == nil {
		l = &lane{}
		b.lanes[addr] = l
		p.turn <- []*parcel{p}
	} else {
		l.waiting = append(l.waiting, p)
	}
	b.mu.Unlock()
	gone := ctx.Done()
	for {
		select {
		case batch := <-p.turn:
			b.send(addr, batch)
			b.next(addr, l)
		case <-p.done:
			return p.result, p.err
		case <-changed:
			if b.takeBack(l, p) {
				return catalog.Result{}, errMoved
			}
			changed = nil
		case <-gone:
			switch {
			case b.takeBack(l, p):
				return catalog.Result{}, catalog.Wrap(catalog.Unavailable, ctx.Err())
			case len(p.turn) == 0:
				return catalog.Result{}, catalog.Wrap(catalog.Unknown, ctx.Err())
			}
			gone = nil // others wait for what it is to send
		}
	}
}

// next has the first that waits send what waits.
func (b *batcher) next(addr string, l *lane) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(l.waiting) == 0 {
		delete(b.lanes, addr)
		return
	}
	n, bytes := 0, 0
	for n < min(len(l.waiting), maxTogether) {
		if bytes += len(l.waiting[n].data); bytes > catalog.MaxCommandSize {
			break
		}
		n++
	}
	l.waiting[0].turn <- l.waiting[:n:n]
	l.waiting = l.waiting[n:]
}

// takeBack takes back a command that was not sent, and says whether that was so.
func (b *batcher) takeBack(l *lane, p *parcel) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(l.waiting, p)
	if i >= 0 {
		l.waiting = slices.Concat(l.waiting[:i], l.waiting[i+1:]) // what was sent of it stays as it is
	}
	return i >= 0
}

// send sends a batch and hands out what became of it. It is given up once all its
// callers have gone.
func (b *batcher) send(addr string, batch []*parcel) {
	ctx, giveUp := context.WithCancel(context.WithoutCancel(batch[0].ctx))
	defer giveUp()
	var there atomic.Int64
	there.Store(int64(len(batch)))
	for _, p := range batch {
		defer context.AfterFunc(p.ctx, func() {
			if there.Add(-1) == 0 {
				giveUp()
			}
		})()
	}
	outcomes, err := b.exchange(ctx, addr, batch)
	failed := err
	for i, p := range batch {
		if p.err = err; err == nil {
			if p.result, p.err = catalog.DecodeOutcome(outcomes[i]); p.err != nil {
				p.err = lost(addr, p.err)
			}
			if notDone(p.result.Err) {
				failed = p.result.Err
			}
		}
		close(p.done)
	}
	if failed != nil && ctx.Err() == nil {
		b.cluster.Failed(addr)
	}
}

// exchange has a server commit the commands of a batch. An error is that of all of them.
func (b *batcher) exchange(ctx context.Context, addr string, batch []*parcel) ([][]byte, error) {
	cmds := make([][]byte, len(batch))
	for i, p := range batch {
		cmds[i] = p.data
	}
	body, err := catalog.Marshal(cmds)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+commandsPath, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := b.cluster.RoundTrip(addr, req)
	if err != nil {
		if neverSent(err) {
			return nil, fmt.Errorf("%w: ask server %s: %w", errNoLeader, addr, err)
		}
		return nil, lost(addr, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxOutcomes))
	if err != nil {
		return nil, lost(addr, err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusServiceUnavailable:
		return nil, &statusError{resp.StatusCode, string(data)}
	default:
		return nil, catalog.Errorf(catalog.Internal, "nothing was done: server %s answers commands with %s: %s", addr, resp.Status, data)
	}
	var outcomes [][]byte
	if err = catalog.Unmarshal(data, &outcomes); err == nil && len(outcomes) != len(batch) {
		err = fmt.Errorf("%d commands have %d outcomes", len(batch), len(outcomes))
	}
	if err != nil {
		return nil, lost(addr, err)
	}
	return outcomes, nil
}

// serveCommands is the leader's side.
func (s *Server) serveCommands(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || s.deps.Replica == nil {
		s.plain(w, http.StatusMethodNotAllowed, "commands are POSTed, to servers")
		return
	}
	var cmds [][]byte
	body, err := readBody(w, r, maxCommands)
	if err == nil {
		err = catalog.Unmarshal(body, &cmds)
	}
	if n := len(cmds); err == nil && (n == 0 || n > maxTogether) {
		err = fmt.Errorf("%d commands, not 1 to %d", n, maxTogether)
	}
	if err != nil {
		s.plain(w, http.StatusBadRequest, "read commands: "+err.Error())
		return
	}
	if err := s.active.enter(); err != nil {
		s.plain(w, statusOf(err), err.Error())
		return
	}
	defer s.active.leave()
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.HoldTimeout)
	defer cancel()
	outcomes := make([][]byte, len(cmds))
	var committing sync.WaitGroup
	for i, data := range cmds[1:] {
		committing.Go(func() { outcomes[i+1] = s.outcome(ctx, data) })
	}
	outcomes[0] = s.outcome(ctx, cmds[0])
	committing.Wait()
	answer, err := catalog.Marshal(outcomes)
	if err != nil {
		s.plain(w, http.StatusInternalServerError, err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/msgpack")
	_, _ = w.Write(answer) // who isn't there any more isn't told
}

// outcome commits a command and gives what became of it.
func (s *Server) outcome(ctx context.Context, data []byte) []byte {
	result, err := s.proposeHere(ctx, data)
	if err != nil {
		result = catalog.Result{Err: err}
	}
	outcome, err := catalog.EncodeOutcome(result)
	if err != nil { // it was carried out, but what it answers is too large to tell
		outcome, _ = catalog.EncodeOutcome(catalog.Result{Err: catalog.Wrap(catalog.Unknown, err)})
	}
	return outcome
}

// proposeHere has a command committed if this server leads.
func (s *Server) proposeHere(ctx context.Context, data []byte) (catalog.Result, error) {
	replica := s.deps.Replica
	if !replica.IsLeader() {
		return catalog.Result{}, cmp.Or(replica.Blocked(), error(errNoLeader))
	}
	cmd, err := catalog.DecodeCommand(data)
	if err != nil {
		return catalog.Result{}, err
	}
	return s.propose(ctx, cmd)
}
