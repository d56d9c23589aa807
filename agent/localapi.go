package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"time"

	"muster/agent/checks"
	"muster/agent/config"
	"muster/agent/local"
	"muster/api/agentapi"
	"muster/catalog"
	"muster/consensus"
	"muster/consensus/core"
	"muster/gossip"
)

// localAPI is what the routes below /v1/agent see of an Agent: it implements
// agentapi.Agent.
type localAPI struct {
	*local.State
	*leaves
	agent *Agent
}

// AddService implements agentapi.Local.
func (l localAPI) AddService(svc catalog.Service, defs []agentapi.Check, o agentapi.Options) error {
	options := local.Options{Source: local.SourceAPI, Token: o.Token, ReplaceChecks: o.ReplaceChecks}
	if side := o.Sidecar; side != nil {
		options.Sidecar = &local.Sidecar{Service: side.Service, Checks: definitions(side.Checks), Token: side.Token}
	}
	return l.State.AddService(svc, definitions(defs), options)
}

func definitions(defs []agentapi.Check) []checks.Definition {
	out := make([]checks.Definition, len(defs))
	for i, d := range defs {
		out[i] = checks.Definition(d)
	}
	return out
}

// AddCheck implements agentapi.Local.
func (l localAPI) AddCheck(c agentapi.Check, o agentapi.Options) error {
	return l.State.AddCheck(checks.Definition(c), local.Options{Source: local.SourceAPI, Token: o.Token})
}

// Members implements agentapi.Cluster.
func (l localAPI) Members(wan bool) []agentapi.Member {
	pool, err := l.agent.poolOf(wan)
	if err != nil {
		return nil
	}
	var out []agentapi.Member
	for _, m := range pool.Members() {
		out = append(out, apiMember(m))
	}
	return out
}

func apiMember(m gossip.Member) agentapi.Member {
	return agentapi.Member{
		Name: m.Name, Addr: m.Addr, Port: m.Port, Tags: m.Tags, Status: int(m.Status),
		ProtocolMin: m.ProtocolMin, ProtocolMax: m.ProtocolMax, ProtocolCur: m.ProtocolCur,
		DelegateMin: m.DelegateMin, DelegateMax: m.DelegateMax, DelegateCur: m.DelegateCur,
	}
}

// Join implements agentapi.Cluster.
func (l localAPI) Join(ctx context.Context, address string, wan bool) error {
	pool, err := l.agent.poolOf(wan)
	if err != nil {
		return catalog.Wrap(catalog.Invalid, err)
	}
	if _, err := pool.Join(ctx, []string{address}); err != nil {
		// In the form that Consul's clients know.
		return catalog.Errorf(catalog.Internal, "1 error occurred:\n\t* Failed to join %s: %v\n\n", address, err)
	}
	return nil
}

// Leave implements agentapi.Cluster.
func (l localAPI) Leave(ctx context.Context) error { return l.agent.Leave(ctx) }

// ForceLeave implements agentapi.Cluster.
func (l localAPI) ForceLeave(node string, prune, wan bool) error {
	pool, err := l.agent.poolOf(wan)
	if err != nil {
		return catalog.Wrap(catalog.Invalid, err)
	}
	err = pool.ForceLeave(node, prune)
	if errors.Is(err, gossip.ErrUnknownMember) {
		return catalog.Errorf(catalog.Internal, "agent: No node found with name '%s'", node)
	}
	return err
}

// DataDir implements agentapi.Process.
func (l localAPI) DataDir() string { return l.agent.cfg.DataDir }

// Reload implements agentapi.Process.
func (l localAPI) Reload(context.Context) error {
	if l.agent.opts.Load == nil {
		return catalog.Errorf(catalog.Internal, "this agent was started without a configuration that can be read again")
	}
	cfg, err := l.agent.opts.Load()
	if err != nil {
		return fmt.Errorf("reload the configuration; it stays as it was: %w", err)
	}
	return l.agent.Reload(cfg)
}

// Monitor implements agentapi.Process.
func (l localAPI) Monitor(level slog.Level, json bool) (<-chan []byte, func(), error) {
	if l.agent.opts.Monitor == nil {
		return nil, nil, catalog.Errorf(catalog.Internal, "this agent was started without a log that can be watched")
	}
	lines, leave := l.agent.opts.Monitor(level, json)
	return lines, leave, nil
}

// Version implements agentapi.Process.
func (l localAPI) Version() agentapi.Version {
	return agentapi.Version{SHA: config.Revision(), HumanVersion: config.CompatVersion}
}

// Self implements agentapi.Process.
func (l localAPI) Self() agentapi.Self {
	a := l.agent
	self := agentapi.Self{
		Config: agentapi.SelfConfig{
			Datacenter: a.cfg.Datacenter, PrimaryDatacenter: a.cfg.PrimaryDatacenter,
			NodeName: a.cfg.NodeName, NodeID: a.nodeID, Revision: config.Revision(),
			Server: a.cfg.Server, Version: config.CompatVersion,
		},
		DebugConfig: a.debugConfig(),
		Member:      apiMember(a.pool.Local()),
		Stats:       a.stats(),
		Meta:        a.node().Meta,
	}
	if c, err := a.pool.Coordinate(); err == nil {
		self.Coord = c
	}
	return self
}

// debugConfig shows what the agent runs with; secrets hide themselves.
func (a *Agent) debugConfig() map[string]any {
	out := map[string]any{}
	data, err := json.Marshal(a.cfg)
	if err == nil {
		err = json.Unmarshal(data, &out)
	}
	if err != nil {
		a.logger.Error("show the configuration", "error", err)
	}
	out["NodeID"] = a.nodeID
	out["SerfAdvertiseAddrLAN"] = "tcp://" + net.JoinHostPort(a.cfg.AdvertiseAddr, strconv.Itoa(a.cfg.SerfLANPort))
	out["ServerMode"] = a.cfg.Server
	out["DevMode"] = a.cfg.Dev
	out["ACLsEnabled"] = false // there are none; Consul's `debug` looks for it
	return out
}

// stats are figures for people, under the names that `consul info` gives them.
func (a *Agent) stats() map[string]map[string]string {
	monitors, ttls := 0, 0
	all := a.state.Checks()
	for _, c := range all {
		if c.Type == "ttl" {
			ttls++
		} else {
			monitors++
		}
	}
	out := map[string]map[string]string{
		"agent": {
			"check_monitors": strconv.Itoa(monitors), "check_ttls": strconv.Itoa(ttls),
			"checks": strconv.Itoa(len(all)), "services": strconv.Itoa(len(a.state.Services())),
		},
		"build": {
			"version": config.CompatVersion, "muster_version": config.Version, "revision": config.Revision(),
			"prerelease": "", "version_metadata": "",
		},
		"runtime": {
			"arch": runtime.GOARCH, "os": runtime.GOOS, "version": runtime.Version(),
			"cpu_count": strconv.Itoa(runtime.NumCPU()), "max_procs": strconv.Itoa(runtime.GOMAXPROCS(0)),
			"goroutines": strconv.Itoa(runtime.NumGoroutine()),
		},
		"serf_lan": a.pool.Stats(),
		"consul":   {"acl": "disabled", "known_servers": strconv.Itoa(len(a.router.Servers())), "server": "false"},
	}
	if a.quorum != nil {
		s := a.quorum.node.Status()
		out["raft"] = raftStats(s)
		if err := a.quorum.Blocked(); err != nil {
			out["raft"]["blocked"] = err.Error()
		}
		if a.wan != nil {
			out["serf_wan"] = a.wan.pool.Stats()
		}
		out["consul"] = map[string]string{
			"acl": "disabled", "bootstrap": strconv.FormatBool(a.cfg.Bootstrap), "known_datacenters": strconv.Itoa(len(datacenters{a}.Names())),
			"leader": strconv.FormatBool(s.Role == core.Leader), "leader_addr": a.quorum.LeaderAddr(), "server": "true",
		}
	}
	return out
}

func raftStats(s consensus.Status) map[string]string {
	n := func(v uint64) string { return strconv.FormatUint(v, 10) }
	contact := "never"
	switch {
	case s.Role == core.Leader:
		contact = "0"
	case s.LastContact >= 0:
		contact = s.LastContact.Round(time.Millisecond).String()
	}
	members, voters := "", 0
	for i, server := range s.Config.Servers {
		suffrage := "Nonvoter"
		if server.Suffrage == core.Voter {
			suffrage = "Voter"
			voters++
		}
		if i > 0 {
			members += " "
		}
		members += fmt.Sprintf("{Suffrage:%s ID:%s Address:%s}", suffrage, server.ID, server.Addr)
	}
	return map[string]string{
		"applied_index": n(s.Applied), "commit_index": n(s.Commit), "fsm_pending": n(s.Pending),
		"last_contact": contact, "last_log_index": n(s.LastIndex), "last_log_term": n(s.LastTerm),
		"last_snapshot_index": n(s.Snapshot.Index), "last_snapshot_term": n(s.Snapshot.Term),
		"latest_configuration": "[" + members + "]", "latest_configuration_index": n(s.ConfigIndex),
		"num_peers": strconv.Itoa(max(0, voters-1)), "protocol_version": "3",
		"state": s.Role.String(), "term": n(s.Term),
	}
}
