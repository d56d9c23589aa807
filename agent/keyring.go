package agent

import (
	"context"
	"sync"

	"muster/api/operatorapi"
	"muster/gossip"
)

// keyAPI implements operatorapi.Keyring over the pools that a server is in.
type keyAPI struct{ agent *Agent }

var keyActions = map[operatorapi.KeyAction]gossip.KeyAction{
	operatorapi.ListKeys: gossip.ListKeys, operatorapi.InstallKey: gossip.InstallKey,
	operatorapi.UseKey: gossip.UseKey, operatorapi.RemoveKey: gossip.RemoveKey,
}

// Keys implements operatorapi.Keyring. The pools are asked at the same time.
func (k keyAPI) Keys(ctx context.Context, op operatorapi.KeyOperation) []operatorapi.KeyReport {
	pools := []*gossip.Pool{k.agent.pool}
	if k.agent.wan != nil && !op.LocalOnly {
		pools = []*gossip.Pool{k.agent.wan.pool, k.agent.pool}
	}
	reports := make([]operatorapi.KeyReport, len(pools))
	var asking sync.WaitGroup
	for i, pool := range pools {
		asking.Go(func() {
			got, err := pool.Keys(ctx, keyActions[op.Action], op.Key, op.RelayFactor)
			reports[i] = operatorapi.KeyReport{
				WAN: pool != k.agent.pool, Datacenter: k.agent.cfg.Datacenter,
				Messages: got.Messages, Keys: got.Keys, PrimaryKeys: got.Primary, NumNodes: got.Members, Err: err,
			}
		})
	}
	asking.Wait()
	return reports
}
