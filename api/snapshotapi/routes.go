package snapshotapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"muster/api"
	"muster/catalog/acl"
	"muster/catalog/archive"
	"muster/catalog/state"
)

// archiveType is how Consul calls an archive.
const archiveType = "application/x-gzip"

// Replica is a server's copy of the catalog, with its way to another one.
type Replica interface {
	Store() *state.Store
	// Term is the current term of Raft.
	Term() uint64
	// Restore replaces the whole catalog by what an archive holds, on the leader, and
	// gives the index at which it did. Where the archive is not whole, or anything
	// else fails with another kind than catalog.Unknown, nothing has changed.
	Restore(ctx context.Context, archive io.Reader) (index uint64, err error)
}

// Routes are the rows of /v1/snapshot. On client agents replica is nil: they pass
// these on.
func Routes(replica Replica) []api.Route {
	h := handlers{replica}
	return api.Undivided.Of([]api.Route{
		{
			Method: http.MethodGet, Path: "/v1/snapshot", Kind: api.Read, Plain: true,
			Doc: "Gives an archive of the whole catalog: nodes, services, checks, keys and values, sessions.",
			ACL: api.Rule{Resource: acl.Operator, Access: acl.Write}, Download: h.save,
		},
		{
			Method: http.MethodPut, Path: "/v1/snapshot", Kind: api.Write,
			Doc: "Replaces the whole catalog by what an archive holds, on all servers at one index, or changes nothing.",
			ACL: api.Rule{Resource: acl.Operator, Access: acl.Write}, Upload: true, Lead: h.restore,
		},
	})
}

type handlers struct{ replica Replica }

// save archives the state of one moment, while the store goes on.
func (h handlers) save(*api.Request) (*api.Download, error) {
	snapshot := h.replica.Store().Backup()
	now := time.Now()
	meta := archive.NewMeta(snapshot.Index(), h.replica.Term(), now)
	return &api.Download{
		ContentType: archiveType,
		Index:       meta.Index,
		Write: func(w io.Writer) error {
			defer snapshot.Close()
			return archive.Write(w, meta, snapshot, now)
		},
	}, nil
}

// restore restores the catalog. Its answer is empty, as Consul's is.
func (h handlers) restore(r *api.Request) (any, error) {
	if _, err := h.replica.Restore(r.Context(), r.Upload); err != nil {
		return nil, err
	}
	return &api.Answer{Body: api.Raw{ContentType: "application/octet-stream"}}, nil
}
