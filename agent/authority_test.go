package agent

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/agent/config"
	"muster/catalog"
	"muster/catalog/ca"
	"muster/catalog/state"
)

// duty is a log of commands for leaders' duties that have no cluster.
type duty struct {
	store *state.Store
	mu    sync.Mutex
	index uint64
}

func (d *duty) propose(_ context.Context, c catalog.Command) (catalog.Result, error) {
	data, err := catalog.EncodeCommand(c)
	if err != nil {
		return catalog.Result{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index++
	return d.store.Apply([]state.Entry{{Index: d.index, Data: data}})[0], nil
}

// A leader makes the first root, renews it in time, and has it forgotten once its
// leaves are gone, for years.
func TestAuthority_KeepsARootThroughItsYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &duty{store: state.New()}
		settings := map[string]any{"leaf_cert_ttl": "1000h", "intermediate_cert_ttl": "3000h", "root_cert_ttl": "3001h"}
		cfg, shown, err := ca.Parse(settings)
		if err != nil {
			t.Fatal(err)
		}
		a := &authority{
			cfg: config.Connect{Enabled: true, CA: cfg, Shown: shown}, clusterID: func() string { return "c1" },
			store: d.store, propose: d.propose, confirm: func(context.Context) error { return nil }, logger: slog.New(slog.DiscardHandler),
		}
		ctx, stop := context.WithCancel(context.Background())
		leading := sync.WaitGroup{}
		leading.Go(func() { a.run(ctx) })
		synctest.Wait()
		first := d.store.View().CA()
		if first == nil || first.TrustDomain() != "c1.consul" || len(first.Roots) != 1 {
			t.Fatalf("%+v", first)
		}
		var seen []int
		for range 40 {
			time.Sleep(100 * time.Hour) // of the bubble's own time
			now := d.store.View().CA()
			if n := len(now.Roots); len(seen) == 0 || seen[len(seen)-1] != n {
				seen = append(seen, n)
			}
			if left := time.Until(time.Unix(now.Active().NotAfter, 0)); left < 1000*time.Hour {
				t.Fatalf("the root that signs has %s left", left)
			}
		}
		if len(seen) < 3 || seen[0] != 1 || seen[1] != 2 || seen[2] != 1 {
			t.Errorf("there were %v roots", seen)
		}
		stop()
		leading.Wait()
	})
}
