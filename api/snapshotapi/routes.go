package snapshotapi

import (
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

// Replica is a server's copy of the catalog.
type Replica interface {
	Store() *state.Store
	// Term is the current term of Raft.
	Term() uint64
}

// Routes are the rows of /v1/snapshot. On client agents replica is nil: they pass
// these on.
func Routes(replica Replica) []api.Route {
	h := handlers{replica}
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/snapshot", Kind: api.Read, Plain: true,
			Doc: "Gives an archive of the whole catalog: nodes, services, checks, keys and values, sessions.",
			ACL: api.Rule{Resource: acl.Operator, Access: acl.Write}, Download: h.save,
		},
	}
}

type handlers struct{ replica Replica }

// save archives the state of one moment, while the store goes on.
func (h handlers) save(*api.Request) (*api.Download, error) {
	snapshot := h.replica.Store().Snapshot()
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
