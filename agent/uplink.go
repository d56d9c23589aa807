package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
	"muster/catalog/state"
)

// Paths on the cluster port by which agents speak about their own entries.
const (
	commandPath = "/internal/command"
	nodePath    = "/internal/node"
	watchPath   = "/internal/node/watch"
)

const (
	hopsHeader   = "X-Muster-Hops"
	maxHops      = 2
	commandLimit = catalog.MaxCommandSize
	contentLimit = 256 << 20
	// watchTime is how long a watch of a node is left open.
	watchTime = 5 * time.Minute

	// retryCommand is how soon a command that was not done is tried again if
	// nothing seems to have changed.
	retryCommand = 50 * time.Millisecond
	// passedHold is how long a server keeps a command that was passed on to it if
	// it knows no leader; the agent that it is from asks another then.
	passedHold = 500 * time.Millisecond
)

// uplink is this agent's way to the catalog for what it promised its users: it
// implements local.Catalog. A command travels as it stands in the log, from a
// client agent to any server and from there to the leader. It is not an HTTP
// route of users: nothing is forwarded to it from port 8500.
type uplink struct {
	quorum *quorum // nil on a client agent
	router *router
	hold   time.Duration // how long to wait for a leader
}

// commandResult is the answer to a command.
type commandResult struct {
	Changed bool
	Kind    catalog.Kind `json:",omitempty"` // of the command's error
	Error   string       `json:",omitempty"`
	// Each answers the commands of a batch, nil for any other.
	Each []commandResult `json:",omitempty"`
}

// answerOf is what is said over the wire of a result.
func answerOf(result catalog.Result, err error) commandResult {
	answer := commandResult{Changed: result.Changed}
	if err = errors.Join(err, result.Err); err != nil {
		answer.Kind, answer.Error = catalog.KindOf(err), err.Error()
	}
	if each, ok := result.Value.([]catalog.Result); ok {
		for _, r := range each {
			answer.Each = append(answer.Each, answerOf(r, nil))
		}
	}
	return answer
}

// result undoes answerOf.
func (a commandResult) result() catalog.Result {
	result := catalog.Result{Changed: a.Changed}
	if a.Error != "" {
		result.Err = catalog.Errorf(a.Kind, "%s", a.Error)
	}
	if a.Each != nil {
		each := make([]catalog.Result, len(a.Each))
		for i := range a.Each {
			each[i] = a.Each[i].result()
		}
		result.Value = each
	}
	return result
}

// errUnreachable says that no answer came from a server. Whether it took the
// command in is not known, but sending it again is harmless: by its sequence
// number apply takes it once.
var errUnreachable = errors.New("no answer")

// retryable says whether a command may be sent again after err.
func retryable(err error) bool {
	kind := catalog.KindOf(err)
	return kind == catalog.Unavailable || kind == catalog.Blocked || errors.Is(err, errUnreachable)
}

var errNoServers = catalog.Errorf(catalog.Unavailable, "no servers are known; this agent has not joined a cluster that has any")

// Write implements local.Catalog: several commands are one entry of the log,
// unless they are too large for that.
func (u *uplink) Write(ctx context.Context, cmds []catalog.Command) []error {
	errs := make([]error, len(cmds))
	if len(cmds) > 1 {
		if data, err := catalog.EncodeCommand(catalog.BatchOf(cmds)); err == nil {
			result, err := u.submit(ctx, data, maxHops, u.hold)
			each, answered := result.Value.([]catalog.Result)
			if err = errors.Join(err, result.Err); err == nil && (!answered || len(each) != len(cmds)) {
				err = catalog.Errorf(catalog.Unknown, "%d commands were answered with %T", len(cmds), result.Value)
			}
			for i := range errs {
				if errs[i] = err; err == nil {
					errs[i] = each[i].Err
				}
			}
			return errs
		}
	}
	for i, cmd := range cmds {
		errs[i] = u.command(ctx, cmd)
	}
	return errs
}

func (u *uplink) command(ctx context.Context, cmd catalog.Command) error {
	data, err := catalog.EncodeCommand(cmd)
	if err != nil {
		return err
	}
	result, err := u.submit(ctx, data, maxHops, u.hold)
	return errors.Join(err, result.Err)
}

// submit has a command committed: here if this server leads, else by whoever
// does. Without a leader it waits for one, up to patience.
func (u *uplink) submit(ctx context.Context, data []byte, hops int, patience time.Duration) (result catalog.Result, err error) {
	err = u.lead(ctx, hops, patience, leading{
		here: func(ctx context.Context) (err error) {
			result, err = u.commit(ctx, data)
			return err
		},
		pass: func(ctx context.Context, addr string, hops int) (err error) {
			result, err = u.send(ctx, addr, data, hops)
			return err
		},
	})
	if err != nil {
		result = catalog.Result{}
	}
	return result, err
}

// leading is something that only the leader does, and that does no harm when it is
// done twice.
type leading struct {
	here func(ctx context.Context) error                        // on the leader
	pass func(ctx context.Context, addr string, hops int) error // asks another server
}

// lead has something done: here if this server leads, else by whoever does. Without
// a leader it waits for one, up to patience.
func (u *uplink) lead(ctx context.Context, hops int, patience time.Duration, do leading) error {
	ctx, cancel := context.WithTimeout(ctx, u.hold)
	defer cancel()
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var last error
	for {
		again, err := u.attempt(ctx, hops, do)
		if err == nil || !retryable(err) {
			return err
		}
		// Without a leader again is no news where it is known what somebody has to see to.
		if ctx.Err() == nil && (catalog.KindOf(err) == catalog.Blocked || catalog.KindOf(last) != catalog.Blocked) {
			last = err
		}
		waitFor(waiting, retryCommand, again, nil)
		if waiting.Err() != nil {
			return errors.Join(last, ctx.Err())
		}
	}
}

// attempt tries once. The channel tells when trying again may go otherwise.
func (u *uplink) attempt(ctx context.Context, hops int, do leading) (<-chan struct{}, error) {
	changed := u.router.Changed()
	if u.quorum == nil {
		var errs []error
		for _, addr := range u.router.Servers() {
			err := do.pass(ctx, addr, hops)
			if err == nil || !retryable(err) {
				return nil, err
			}
			if ctx.Err() == nil {
				u.router.Failed(addr)
			}
			errs = append(errs, err)
		}
		if len(errs) == 0 {
			errs = append(errs, errNoServers)
		}
		return changed, errors.Join(errs...)
	}
	if u.quorum.IsLeader() {
		return changed, do.here(ctx)
	}
	addr := u.router.LeaderAddr()
	if err := u.quorum.Blocked(); addr == "" && err != nil {
		return changed, err
	}
	if addr == "" || hops == 0 {
		return changed, catalog.Errorf(catalog.Unavailable, "No cluster leader")
	}
	return changed, do.pass(ctx, addr, hops-1)
}

// commit has this server, the leader, commit a command, unless it would change
// nothing, which a quorum round then confirms.
func (u *uplink) commit(ctx context.Context, data []byte) (catalog.Result, error) {
	cmd, err := catalog.DecodeCommand(data)
	if err != nil {
		return catalog.Result{}, err
	}
	if !u.quorum.store.Preview(cmd).Changed {
		if err := u.quorum.ReadIndex(ctx); err != nil {
			return catalog.Result{}, err
		}
		if preview := u.quorum.store.Preview(cmd); !preview.Changed {
			return preview, nil
		}
	}
	return u.quorum.propose(ctx, data)
}

// send passes a command on to a server.
func (u *uplink) send(ctx context.Context, addr string, data []byte, hops int) (catalog.Result, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+addr+commandPath, bytes.NewReader(data))
	if err != nil {
		return catalog.Result{}, err
	}
	req.Header.Set(hopsHeader, strconv.Itoa(hops))
	var answer commandResult
	if err := u.call(addr, req, &answer); err != nil {
		return catalog.Result{}, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	result := answer.result()
	return result, result.Err
}

// call does a request on a server's cluster port and decodes its JSON answer.
func (u *uplink) call(addr string, req *http.Request, out any) error {
	resp, err := u.router.RoundTrip(addr, req)
	if err != nil {
		if req.Context().Err() == nil {
			u.router.Failed(addr)
		}
		return fmt.Errorf("ask server %s: %w", addr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, contentLimit))
	if err != nil {
		return fmt.Errorf("ask server %s: %w", addr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("server %s answers %d: %s", addr, resp.StatusCode, bytes.TrimSpace(body))
	}
	return json.Unmarshal(body, out)
}

// Read implements local.Catalog.
func (u *uplink) Read(ctx context.Context, node string) (local.Contents, error) {
	if u.quorum != nil {
		if err := u.quorum.ReadIndex(ctx); err != nil {
			return local.Contents{}, err
		}
		return contentsOf(u.quorum.store.View(), node), nil
	}
	err := error(errNoServers)
	for _, addr := range u.router.Servers() {
		var req *http.Request
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+nodePath+"?name="+url.QueryEscape(node), nil)
		if err != nil {
			return local.Contents{}, err
		}
		var parts [][]byte
		if err = u.call(addr, req, &parts); err == nil {
			return joinContents(parts)
		}
	}
	return local.Contents{}, err
}

// Watch gives what the catalog has of a node, for an alias (checks.Config.Watch).
// It may be as old as the server is behind.
func (u *uplink) Watch(ctx context.Context, node string, index uint64) (checks.Aliased, error) {
	ctx, cancel := context.WithTimeout(ctx, watchTime)
	defer cancel()
	if u.quorum != nil {
		return watchNode(ctx, u.quorum.store, node, index), nil
	}
	err := error(errNoServers)
	for _, addr := range u.router.Servers() {
		query := url.Values{"name": {node}, "index": {strconv.FormatUint(index, 10)}}
		var req *http.Request
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+watchPath+"?"+query.Encode(), nil)
		if err != nil {
			return checks.Aliased{}, err
		}
		var answer checks.Aliased
		if err = u.call(addr, req, &answer); err == nil {
			return answer, nil
		}
	}
	return checks.Aliased{}, err
}

// watchNode waits until what a server has of a node is newer than index, or ctx
// ends.
func watchNode(ctx context.Context, store *state.Store, node string, index uint64) checks.Aliased {
	for {
		v := store.View()
		c := contentsOf(v, node)
		if v.Index() > index || ctx.Err() != nil {
			answer := checks.Aliased{Index: v.Index(), Services: map[string]bool{}, Checks: c.Checks}
			for _, svc := range c.Services {
				answer.Services[catalog.Fold(svc.ID)] = true
			}
			return answer
		}
		// Its error is ctx's, which the next round sees.
		_ = store.Wait(ctx, v.Topics(), index)
	}
}

// splitContents turns contents into commands that would make them: the form
// whose types survive the way (JSON's would not, in a proxy's configuration).
func splitContents(c local.Contents) ([][]byte, error) {
	if c.Node == nil {
		return nil, nil
	}
	first := &catalog.Register{Node: *c.Node}
	for _, check := range c.Checks {
		first.Checks = append(first.Checks, *check)
	}
	cmds := []*catalog.Register{first}
	for _, svc := range c.Services {
		cmds = append(cmds, &catalog.Register{Node: *c.Node, Service: svc})
	}
	parts := make([][]byte, len(cmds))
	for i, cmd := range cmds {
		var err error
		if parts[i], err = catalog.EncodeCommand(cmd); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// joinContents undoes splitContents.
func joinContents(parts [][]byte) (local.Contents, error) {
	var c local.Contents
	for _, part := range parts {
		cmd, err := catalog.DecodeCommand(part)
		if err != nil {
			return local.Contents{}, err
		}
		r, ok := cmd.(*catalog.Register)
		if !ok {
			return local.Contents{}, fmt.Errorf("a server describes a node by a %T", cmd)
		}
		c.Node = &r.Node
		if r.Service != nil {
			c.Services = append(c.Services, r.Service)
		}
		for i := range r.Checks {
			c.Checks = append(c.Checks, &r.Checks[i])
		}
	}
	return c, nil
}

func contentsOf(v *state.View, node string) local.Contents {
	return local.Contents{Node: v.Node(node), Services: v.NodeServices(node), Checks: v.NodeChecks(node)}
}

// routes puts the server's side on the cluster port.
func (u *uplink) routes(mux *http.ServeMux) {
	mux.HandleFunc("PUT "+commandPath, u.serveCommand)
	mux.HandleFunc("GET "+watchPath, u.serveWatch)
	mux.HandleFunc("GET "+nodePath, func(w http.ResponseWriter, r *http.Request) {
		c, err := u.Read(r.Context(), r.URL.Query().Get("name"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		parts, err := splitContents(c)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		writeJSON(w, parts)
	})
}

func (u *uplink) serveWatch(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.ParseUint(r.URL.Query().Get("index"), 10, 64)
	if err != nil {
		http.Error(w, "bad index: "+err.Error(), http.StatusBadRequest)
		return
	}
	// A little less than the caller waits, so that he gets an answer.
	ctx, cancel := context.WithTimeout(r.Context(), watchTime*9/10)
	defer cancel()
	writeJSON(w, watchNode(ctx, u.quorum.store, r.URL.Query().Get("name"), index))
}

// passed reads what an agent has passed on: how often that may still be done, and the
// body. It has answered what is malformed.
func passed(w http.ResponseWriter, r *http.Request, limit int64) (hops int, data []byte, ok bool) {
	hops, err := strconv.Atoi(r.Header.Get(hopsHeader))
	if err != nil || hops < 0 || hops > maxHops {
		http.Error(w, "bad "+hopsHeader+" header", http.StatusBadRequest)
		return 0, nil, false
	}
	if data, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit)); err != nil {
		http.Error(w, "read the body: "+err.Error(), http.StatusBadRequest)
		return 0, nil, false
	}
	return hops, data, true
}

func (u *uplink) serveCommand(w http.ResponseWriter, r *http.Request) {
	hops, data, ok := passed(w, r, commandLimit)
	if !ok {
		return
	}
	result, err := u.submit(r.Context(), data, hops, passedHold)
	writeJSON(w, answerOf(result, err))
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	// The other side is gone if this fails; there is no one to tell.
	_ = json.NewEncoder(w).Encode(v)
}
