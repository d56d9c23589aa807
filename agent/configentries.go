package agent

import (
	"context"
	"fmt"

	"muster/catalog"
)

// writeEntries gives the cluster those config entries of this server's files that
// it lacks.
func (r *reconciler) writeEntries(ctx context.Context) error {
	for len(r.entries) > 0 {
		e := r.entries[0]
		set := &catalog.SetConfig{Verb: catalog.ConfigCAS, Kind: e.Kind, Name: e.Name, Body: e.Body}
		if err := r.apply(ctx, set); err != nil {
			return fmt.Errorf("write config entry %s/%s: %w", e.Kind, e.Name, err)
		}
		r.entries = r.entries[1:]
	}
	return nil
}
