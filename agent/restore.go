package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"muster/catalog"
	"muster/catalog/archive"
	"muster/catalog/state"
)

const (
	// partBytes is how much of an archive one entry of the log has.
	partBytes = 256 << 10
	// partWait bounds the commit of a part, installWait that of the last step, which
	// takes seconds where the catalog is large.
	partWait    = 30 * time.Second
	installWait = 5 * time.Minute
	// abandonRetry is the pause after a failed attempt to abandon a restore.
	abandonRetry = 200 * time.Millisecond
)

// restorer is what a leader does to restore the catalog from an archive: it has
// each part of it committed, and the last step only once the archive has proved
// whole. Every server loads the parts beside its catalog as they come, so that
// nobody holds the archive, and the log has no large entry.
//
// What goes wrong before the last step changes nothing. What is loaded then is
// abandoned by the leader: by this one, or, where leadership has moved on with that,
// by the one that comes after it.
type restorer struct {
	store   *state.Store
	propose func(context.Context, catalog.Command) (catalog.Result, error)
	// confirm returns once this server is known to lead and has applied all that
	// was committed.
	confirm func(context.Context) error
	// restored is called when the catalog has been replaced.
	restored func()
	logger   *slog.Logger

	left chan struct{} // has a place: run looks for a restore that nobody goes on with

	mu     sync.Mutex
	active string // guarded by mu; the restore that this server is busy with
}

func newRestorer(q *quorum, restored func(), logger *slog.Logger) *restorer {
	return &restorer{
		store: q.store, propose: q.Propose, confirm: q.ReadIndex, restored: restored, logger: logger,
		left: make(chan struct{}, 1),
	}
}

// Restore implements snapshotapi.Restorer.
func (r *restorer) Restore(ctx context.Context, in io.Reader) (index uint64, err error) {
	id := uuid.NewString()
	if !r.begin(id) {
		return 0, catalog.Errorf(catalog.TooMany, "the catalog is being restored from another archive; wait until that is done")
	}
	defer r.end()
	parts, err := r.load(ctx, id, in)
	if err != nil {
		if known := (*catalog.Error)(nil); !errors.As(err, &known) {
			return 0, catalog.Wrap(catalog.Invalid, err) // the archive's fault
		}
		if kind := catalog.KindOf(err); kind == catalog.Unavailable || kind == catalog.Blocked || kind == catalog.Unknown {
			// Nothing tries again by itself: the archive was read already.
			err = catalog.Errorf(catalog.Internal, "%v", err)
		}
		return 0, fmt.Errorf("nothing was restored, and nothing changed: %w", err)
	}
	result, err := r.step(ctx, installWait, &catalog.Restore{Step: catalog.RestoreInstall, ID: id, Part: parts})
	if kind := catalog.KindOf(err); kind == catalog.Unavailable || kind == catalog.Blocked {
		err = catalog.Errorf(catalog.Internal, "nothing was restored, and nothing changed: %v", err)
	}
	if err != nil {
		return 0, err
	}
	index, _ = result.Value.(uint64)
	r.logger.Warn("the catalog was restored from an archive", "index", index)
	r.restored()
	return index, nil
}

// load has all of an archive loaded, and verifies it.
func (r *restorer) load(ctx context.Context, id string, in io.Reader) (parts uint64, err error) {
	from, err := archive.NewReader(in)
	if err != nil {
		return 0, err
	}
	r.logger.Info("restoring the catalog from an archive", "archive", from.Meta.ID, "bytes", from.Meta.Size)
	if _, err := r.step(ctx, partWait, &catalog.Restore{Step: catalog.RestoreBegin, ID: id}); err != nil {
		return 0, err
	}
	err = state.Parts(from, partBytes, func(data []byte) error {
		parts++
		_, err := r.step(ctx, partWait, &catalog.Restore{Step: catalog.RestoreLoad, ID: id, Part: parts, Data: data})
		return err
	})
	if err == nil {
		err = from.Verify()
	}
	return parts, err
}

// step commits a step of a restore.
func (r *restorer) step(ctx context.Context, wait time.Duration, c *catalog.Restore) (catalog.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	result, err := r.propose(ctx, c)
	if err == nil {
		err = result.Err
	}
	return result, err
}

func (r *restorer) begin(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active != "" {
		return false
	}
	r.active = id
	return true
}

func (r *restorer) end() {
	r.mu.Lock()
	r.active = ""
	r.mu.Unlock()
	select {
	case r.left <- struct{}{}:
	default: // run looks soon
	}
}

// run abandons what nobody goes on with, until ctx ends, as it does when this
// server leads no longer.
func (r *restorer) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.abandon(ctx); err != nil {
			if ctx.Err() == nil {
				r.logger.Debug("abandoning a restore", "error", err)
			}
			pause, cancel := context.WithTimeout(ctx, abandonRetry)
			<-pause.Done()
			cancel()
			continue
		}
		select {
		case <-ctx.Done():
		case <-r.left:
		}
	}
}

// abandon has a restore forgotten that isn't this server's own.
func (r *restorer) abandon(ctx context.Context) error {
	if err := r.confirm(ctx); err != nil {
		return err
	}
	id := r.store.Restoring()
	r.mu.Lock()
	own := id == r.active
	r.mu.Unlock()
	if id == "" || own {
		return nil
	}
	_, err := r.step(ctx, partWait, &catalog.Restore{Step: catalog.RestoreAbandon, ID: id})
	if err == nil {
		r.logger.Warn("a restore of the catalog was abandoned: nothing has changed by it", "restore", id)
	}
	return err
}

// snapshotAPI is what the routes of /v1/snapshot see of a server: it implements
// snapshotapi.Replica.
type snapshotAPI struct {
	*quorum
	*restorer
}
