package state

import (
	"bytes"
	"encoding/json"
	"errors"

	"muster/catalog"
)

// Bounds on the results that are kept. They decide what apply does, so they are
// the same on every server of a cluster.
const (
	maxOutcomes     = 65536
	maxOutcomeBytes = 64 << 20
	outcomeOverhead = 256 // bytes that a row takes beside its texts, about
	maxForgotten    = 4096
)

// onceRow is the result of a command that was carried out under a caller's key.
type onceRow struct {
	Caller  string
	Key     string
	Hash    []byte // of the request
	Index   uint64
	Outcome []byte // as catalog.EncodeOutcome made it
	Edited  bool   `codec:",omitempty"` // the answer is this:
	Answer  []byte `codec:",omitempty"`
}

func onceKey(caller, key string) string { return caller + "\x00" + key }

func (r *onceRow) size() int {
	return len(r.Caller) + len(r.Key) + len(r.Hash) + len(r.Outcome) + len(r.Answer) + outcomeOverhead
}

// errReused is the answer to another request under a key that has a result.
var errReused = catalog.Errorf(catalog.Reused, "the idempotency key was used for another request: a retry must have the same method, path, parameters and body")

// answer is what the row's request is answered again.
func (r *onceRow) answer(hash []byte) catalog.Result {
	if !bytes.Equal(r.Hash, hash) {
		return catalog.Result{Err: errReused}
	}
	result, err := catalog.DecodeOutcome(r.Outcome)
	switch {
	case err != nil:
		return catalog.Result{Err: catalog.Wrap(catalog.Internal, err)}
	case r.Edited && result.Err == nil && len(r.Answer) > 0:
		result.Value = json.RawMessage(r.Answer)
	case r.Edited && result.Err == nil:
		result.Value = nil
	}
	return result
}

func (r reader) once(caller, key string) *onceRow {
	return first[*onceRow](r, tableOutcomes, byID, onceKey(caller, key))
}

// Outcome is what a request that a Once stands for was answered, false where it has
// not been carried out.
func (v *View) Outcome(c *catalog.Once) (catalog.Result, bool) {
	row := v.once(c.Caller, c.Key)
	if row == nil {
		return catalog.Result{}, false
	}
	return row.answer(c.Hash), true
}

// applyOnce carries out a catalog.Once as entry index's: the command, and keeping
// its result, or neither.
func (w *writer) applyOnce(index uint64, c *catalog.Once) catalog.Result {
	if err := keyable("idempotency key", c.Key, c.Caller); err != nil {
		return catalog.Result{Err: err}
	}
	if row := w.once(c.Caller, c.Key); row != nil {
		return row.answer(c.Hash)
	}
	if w.meta.Outcomes >= maxOutcomes || w.meta.OutcomeBytes >= maxOutcomeBytes {
		return catalog.Result{Err: catalog.Errorf(catalog.TooMany, "too many results are kept for idempotency keys (%d, %d bytes): nothing was done, try again in some minutes", w.meta.Outcomes, w.meta.OutcomeBytes)}
	}
	inner, err := singleCommand(c.Inner)
	if err != nil {
		return catalog.Result{Err: err}
	}
	before := *w
	w.db = w.db.begin()
	result := w.apply(index, inner)
	if c.Edited && result.Value == false {
		*w = before
		return catalog.Result{Value: false}
	}
	row := &onceRow{Caller: c.Caller, Key: c.Key, Hash: c.Hash, Index: index, Edited: c.Edited, Answer: c.Answer}
	if row.Outcome, err = catalog.EncodeOutcome(result); err != nil {
		*w = before
		return catalog.Result{Err: err}
	}
	w.keepOutcome(row)
	result.Changed = true
	return result
}

// singleCommand decodes a command that may be carried out under a key.
func singleCommand(data []byte) (catalog.Command, error) {
	if err := catalog.CheckRelease(data); err != nil {
		return nil, err // the server that can't read it must not go on
	}
	c, err := catalog.DecodeCommand(data)
	if err != nil {
		return nil, err
	}
	switch c.(type) {
	case *catalog.Once, *catalog.ForgetOutcomes, *catalog.Batch, *catalog.Restore:
		return nil, catalog.Errorf(catalog.Invalid, "operation %d can't be carried out under an idempotency key", c.Op())
	}
	return c, nil
}

func (w *writer) keepOutcome(row *onceRow) {
	w.insert(tableOutcomes, row)
	w.meta.Outcomes++
	w.meta.OutcomeBytes += row.size()
}

func (w *writer) forgetOutcome(row *onceRow) {
	w.delete(tableOutcomes, row)
	w.meta.Outcomes--
	w.meta.OutcomeBytes -= row.size()
}

// planForgetOutcomes forgets the oldest results up to an index.
func planForgetOutcomes(r reader, c *catalog.ForgetOutcomes) plan {
	var p plan
	for row := range each[*onceRow](r, tableOutcomes, byAgePrefix, "") {
		if row.Index > c.Through {
			break
		}
		if len(p.forget) == maxForgotten {
			p.value = true
			return p
		}
		p.forget = append(p.forget, row)
	}
	p.value = false
	return p
}

func (l *loader) loadOutcome(body []byte) error {
	row := new(onceRow)
	if err := catalog.Unmarshal(body, row); err != nil {
		return err
	}
	_, err := catalog.DecodeOutcome(row.Outcome)
	if err == nil && len(row.Answer) > 0 && (!row.Edited || !json.Valid(row.Answer)) {
		err = errors.New("an answer that was kept is not JSON, or not asked for")
	}
	err = errors.Join(err, keyable("idempotency key", row.Key, row.Caller), l.known(row.Index), l.ascends(onceKey(row.Caller, row.Key)))
	if err == nil {
		l.keepOutcome(row)
	}
	return err
}
