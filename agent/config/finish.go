package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/http/httpguts"

	"muster/catalog"
	"muster/catalog/ca"
	"muster/catalog/configentry"
	"muster/gossip"
)

// newDraft starts from the defaults.
func newDraft(dev bool) *draft {
	d := &draft{
		table:   newTable(Keys()),
		origins: map[string]origin{},
		warned:  map[string]bool{},
		Config: Config{
			Datacenter:            "dc1",
			BindAddr:              "0.0.0.0",
			ServerPort:            8300,
			SerfLANPort:           8301,
			SerfWANPort:           8302,
			RetryInterval:         30 * time.Second,
			CoordinateInterval:    15 * time.Second,
			CoordinateRate:        64,
			RetryIntervalWAN:      30 * time.Second,
			ReconnectTimeout:      72 * time.Hour,
			ReconnectTimeoutWAN:   72 * time.Hour,
			GossipLAN:             gossip.DefaultConfig().Timing,
			GossipWAN:             gossip.DefaultWANConfig().Timing,
			EncryptVerifyIncoming: true,
			EncryptVerifyOutgoing: true,
			RaftMultiplier:        1,
			RaftSnapshotThreshold: 16384,
			RPCHoldTimeout:        7 * time.Second,
			Connect:               Connect{Enabled: true, LeafSpread: 30 * time.Second},
			ClusterLimits:         ClusterLimits{HandshakeTimeout: 5 * time.Second, MaxConnsPerClient: 100},
			SyncInterval:          time.Minute,
			CheckUpdateInterval:   5 * time.Minute,
			CheckOutputMaxSize:    4096,
			DefaultQueryTime:      5 * time.Minute,
			MaxQueryTime:          10 * time.Minute,
			HTTPLimits:            HTTPLimits{MaxConnsPerClient: 200, MaxValueBytes: 512 << 10, MaxTxnBytes: 512 << 10},
			Log:                   Log{RotateDuration: 24 * time.Hour},
			DNS:                   defaultDNS(),
		},
		autopilot:  catalog.DefaultAutopilot(),
		caProvider: "consul",
		caConfig:   map[string]any{},
		clientAddr: "127.0.0.1",
		httpPort:   8500,
		dnsPort:    8600,
		logLevel:   "info",
	}
	if dev {
		d.Dev, d.Server, d.Bootstrap = true, true, true
		d.BindAddr = "127.0.0.1"
		d.UI, d.EnableDebug, d.DisableKeyringFile = true, true, true
		d.logLevel = "debug"
		d.GossipLAN = gossip.DevTiming()
	}
	return d
}

// finish fills in what was left out, resolves what was given as text, and notes
// every fault that is left.
func (d *draft) finish() {
	d.finishIdentity()
	d.finishBootstrap()
	d.finishJoin()
	d.finishAddresses()
	d.finishDNS()
	d.finishLog()
	d.finishAutopilot()
	d.finishCA()
	d.checkEncrypt()
	d.checkHTTP()
	d.checkWatches()
	d.checkRanges()
	n := d.node()
	if err := n.Validate(); err != nil && len(d.faults) == 0 {
		d.faults = append(d.faults, fmt.Errorf("this node: %w", err))
	}
}

var (
	validDatacenter = regexp.MustCompile(`^[a-z0-9_-]+$`)
	dnsName         = regexp.MustCompile(`^[a-zA-Z0-9-]{1,63}$`)
)

func (d *draft) finishIdentity() {
	d.Datacenter = strings.ToLower(d.Datacenter)
	switch {
	case d.Datacenter == "":
		d.faultIn("datacenter", "datacenter cannot be empty")
	case !validDatacenter.MatchString(d.Datacenter):
		d.faultIn("datacenter", "datacenter can only contain lowercase alphanumeric, - or _ characters. received: %q", d.Datacenter)
	}
	if d.PrimaryDatacenter = strings.ToLower(d.PrimaryDatacenter); d.PrimaryDatacenter == "" {
		d.PrimaryDatacenter = d.Datacenter
	}

	if d.NodeName == "" {
		host, err := os.Hostname()
		if err != nil {
			d.faultIn("node_name", "node_name is not given, and the host has no name: %w", err)
		}
		d.NodeName = host
	}
	if !dnsName.MatchString(d.NodeName) {
		d.warn("Node name %q will not be discoverable via DNS: only letters, digits and dashes are valid there, at most 63", d.NodeName)
	}
	if d.NodeID != "" {
		id, err := uuid.Parse(d.NodeID)
		if err != nil {
			d.faultIn("node_id", "node_id %q is no UUID: %w", d.NodeID, err)
		} else {
			d.NodeID = id.String()
		}
	}
	for name := range d.NodeMeta {
		if strings.HasPrefix(name, "consul-") {
			d.faultIn("node_meta", "node_meta invalid: Couldn't load metadata pair ('%s', '%s'): Key prefix 'consul-' is reserved for internal use", name, d.NodeMeta[name])
		}
	}
	if d.locality != (catalog.Locality{}) {
		d.Locality = &d.locality
	}
	d.finishDataDir()
}

func (d *draft) finishAutopilot() {
	if err := d.autopilot.Validate(); err != nil {
		d.faultIn("autopilot", "autopilot: %w", err)
	}
	if d.autopilot != catalog.DefaultAutopilot() {
		d.Autopilot = &d.autopilot
	}
}

func (d *draft) finishCA() {
	if d.caProvider != "consul" {
		d.faultIn("connect.ca_provider", "connect.ca_provider %q is not supported: the built-in certificate authority, \"consul\", is the only one", d.caProvider)
	}
	if p := d.Connect.IntentionPolicy; p != "" && p != configentry.Allow && p != configentry.Deny {
		d.faultIn("default_intention_policy", "default_intention_policy must be allow or deny, not %q", p)
	}
	var err error
	if d.Connect.CA, d.Connect.Shown, err = ca.Parse(d.caConfig); err != nil {
		d.faultIn("connect.ca_config", "connect.ca_config: %w", err)
	}
}

func (d *draft) finishDataDir() {
	switch {
	case d.Dev && d.DataDir != "":
		d.warn("data_dir has no effect with -dev: everything is kept in memory")
		d.DataDir = ""
	case d.Dev:
	case d.DataDir == "":
		d.faultIn("data_dir", "data_dir cannot be empty")
	default:
		abs, err := filepath.Abs(d.DataDir)
		if err != nil {
			d.faultIn("data_dir", "data_dir %q: %w", d.DataDir, err)
			return
		}
		info, err := os.Stat(abs)
		switch {
		case err == nil && !info.IsDir():
			d.faultIn("data_dir", "data_dir %q is not a directory", d.DataDir)
		case err != nil && !errors.Is(err, os.ErrNotExist):
			d.faultIn("data_dir", "data_dir: %w", err)
		}
		d.DataDir = abs
	}
}

func (d *draft) finishBootstrap() {
	expect := d.BootstrapExpect
	switch {
	case d.Dev && expect > 0:
		d.faultIn("bootstrap_expect", "'bootstrap_expect > 0' not allowed in dev mode")
	case d.Dev && !d.Server:
		d.faultIn("server", "-dev is a server of one; it cannot be a client")
	case expect < 0:
		d.faultIn("bootstrap_expect", "bootstrap_expect cannot be %d. Must be greater than or equal to zero", expect)
	case expect > 0 && !d.Server:
		d.faultIn("bootstrap_expect", "'bootstrap_expect > 0' requires 'server = true'")
	case d.Bootstrap && !d.Server:
		d.faultIn("bootstrap", "'bootstrap = true' requires 'server = true'")
	case expect > 0 && d.Bootstrap:
		d.faultIn("bootstrap_expect", "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive")
	case expect == 2:
		d.warn("bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance")
	case expect > 0 && expect%2 == 0:
		d.warn("bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum fault tolerance")
	}
	if expect == 1 {
		d.Bootstrap = true
	}
	if d.Bootstrap {
		d.BootstrapExpect = 1
	}
	if !d.given("leave_on_terminate") {
		d.LeaveOnTerminate = !d.Server
	}
	if !d.given("skip_leave_on_interrupt") {
		d.SkipLeaveOnInterrupt = d.Server
	}
}

func (d *draft) finishJoin() {
	for path, old := range map[string]string{"retry_join": "start_join", "retry_join_wan": "start_join_wan"} {
		if d.given(old) {
			d.warn("%s: %s is deprecated; use %s", d.origins[old], old, path)
		}
	}
	d.resolveJoin("retry_join", d.RetryJoin)
	d.resolveJoin("retry_join_wan", d.RetryJoinWAN)
	if len(d.RetryJoinWAN) > 0 && !d.Server {
		d.faultIn("retry_join_wan", "retry_join_wan requires 'server = true': only servers are in the pool between datacenters")
	}
	if len(d.RetryJoinWAN) > 0 && d.SerfWANPort < 0 {
		d.faultIn("retry_join_wan", "retry_join_wan needs ports.serf_wan, which is off")
	}
}

// resolveJoin evaluates the templates among addresses to join, in place.
func (d *draft) resolveJoin(path string, addrs []string) {
	for i, addr := range addrs {
		resolved, err := resolve(addr)
		switch {
		case err != nil:
			d.faultIn(path, "%s %q: %w", path, addr, err)
		case strings.TrimSpace(resolved) == "":
			d.faultIn(path, "%s %q is empty; give host or host:port", path, addr)
		case strings.Contains(resolved, "provider="):
			d.faultIn(path, "%s %q: looking up addresses at a cloud provider is not supported; give host or host:port", path, addr)
		}
		addrs[i] = resolved
	}
}

var levels = map[string]slog.Level{
	"trace": LevelTrace, "debug": slog.LevelDebug, "info": slog.LevelInfo,
	"warn": slog.LevelWarn, "warning": slog.LevelWarn, "err": slog.LevelError, "error": slog.LevelError,
}

func (d *draft) finishLog() {
	level, ok := levels[strings.ToLower(strings.TrimSpace(d.logLevel))]
	if !ok {
		d.faultIn("log_level", "log_level %q is unknown; use trace, debug, info, warn or error", d.logLevel)
	}
	d.Log.Level = level
	if d.Log.RotateBytes < 0 {
		d.faultIn("log_rotate_bytes", "log_rotate_bytes cannot be %d; it must not be negative", d.Log.RotateBytes)
	}
	if d.Log.RotateDuration <= 0 {
		d.faultIn("log_rotate_duration", "log_rotate_duration cannot be %v; it must be positive", d.Log.RotateDuration)
	}
	if d.Log.RotateMaxFiles < -1 {
		d.faultIn("log_rotate_max_files", "log_rotate_max_files cannot be %d; -1 keeps no old files, 0 all", d.Log.RotateMaxFiles)
	}
}

func (d *draft) checkEncrypt() {
	if d.Encrypt == "" {
		return
	}
	key, err := base64.StdEncoding.DecodeString(string(d.Encrypt))
	if err != nil {
		d.faultIn("encrypt", "encrypt has invalid key: %w", err)
		return
	}
	if n := len(key); n != 16 && n != 24 && n != 32 {
		d.faultIn("encrypt", "encrypt has invalid key: it has %d bytes; a key has 16, 24 or 32 (`muster keygen` makes one)", n)
	}
}

func (d *draft) checkHTTP() {
	d.AllowWriteFrom = d.networks("http_config.allow_write_http_from", d.allowWriteFrom)
	for _, name := range slices.Sorted(maps.Keys(d.ResponseHeaders)) {
		if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(d.ResponseHeaders[name]) {
			d.faultIn("http_config.response_headers", "http_config.response_headers: %q is no valid HTTP header", name)
		}
	}
	for _, prefix := range d.BlockEndpoints {
		if !strings.HasPrefix(prefix, "/") {
			d.faultIn("http_config.block_endpoints", "http_config.block_endpoints: %q must begin with /", prefix)
		}
	}
	if mode := d.UnixSocket.Mode; mode != "" && !regexp.MustCompile(`^0?[0-7]{3}$`).MatchString(mode) {
		d.faultIn("unix_sockets.mode", "unix_sockets.mode %q must be octal permissions such as 0770", mode)
	}
}

func (d *draft) checkWatches() {
	if len(d.Watches) > 0 && len(d.HTTP) == 0 {
		d.faultIn("watches", "watches ask this agent's own HTTP API, which is off: see ports.http")
	}
}

// networks parses a list of CIDRs.
func (d *draft) networks(path string, cidrs []string) []netip.Prefix {
	var all []netip.Prefix
	for _, cidr := range cidrs {
		network, err := netip.ParsePrefix(cidr)
		if err != nil {
			d.faultIn(path, "%s: invalid cidr: %s", path, cidr)
			continue
		}
		all = append(all, network.Masked())
	}
	return all
}

// positive says whether all that can be configured of a pool's pace is.
func positive(t gossip.Timing) bool {
	return t.GossipInterval > 0 && t.ProbeInterval > 0 && t.ProbeTimeout > 0 &&
		t.GossipNodes > 0 && t.RetransmitMult > 0 && t.SuspicionMult > 0
}

// checkRanges looks at the numbers that have bounds.
func (d *draft) checkRanges() {
	if m := d.RaftMultiplier; m < 1 || m > 10 {
		d.faultIn("performance.raft_multiplier", "performance.raft_multiplier cannot be %d. Must be between 1 and 10", m)
	}
	for _, r := range []struct {
		path string
		ok   bool
		why  string
	}{
		{"retry_interval", d.RetryInterval > 0, "must be positive"},
		{"retry_max", d.RetryMax >= 0, "must not be negative; 0 tries for ever"},
		{"reconnect_timeout", d.ReconnectTimeout > 0, "must be positive"},
		{"retry_interval_wan", d.RetryIntervalWAN > 0, "must be positive"},
		{"sync_coordinate_interval_min", d.CoordinateInterval > 0, "must be positive"},
		{"sync_coordinate_rate_target", d.CoordinateRate > 0, "must be positive"},
		{"retry_max_wan", d.RetryMaxWAN >= 0, "must not be negative; 0 tries for ever"},
		{"reconnect_timeout_wan", d.ReconnectTimeoutWAN > 0, "must be positive"},
		{"gossip_lan", positive(d.GossipLAN), "has a value that is not positive"},
		{"gossip_wan", positive(d.GossipWAN), "has a value that is not positive"},
		{"performance.rpc_hold_timeout", d.RPCHoldTimeout > 0, "must be positive"},
		{"raft_snapshot_threshold", d.RaftSnapshotThreshold > 0, "must be positive"},
		{"limits.rpc_handshake_timeout", d.ClusterLimits.HandshakeTimeout > 0, "must be positive"},
		{"limits.rpc_max_conns_per_client", d.ClusterLimits.MaxConnsPerClient >= 0, "must not be negative; 0 is no bound"},
		{"connect.test_ca_leaf_root_change_spread", d.Connect.LeafSpread >= 0, "must not be negative"},
		{"ae_interval", d.SyncInterval > 0, "must be positive"},
		{"check_output_max_size", d.CheckOutputMaxSize > 0, "must be positive, to discard check output use the discard_check_output flag"},
		{"check_update_interval", d.CheckUpdateInterval >= 0, "must not be negative"},
		{"dns_config.max_stale", d.DNS.MaxStale >= 0, "must not be negative"},
		{"dns_config.cache_max_age", d.DNS.CacheMaxAge >= 0, "must not be negative; 0 is max_stale"},
		{"default_query_time", d.DefaultQueryTime > 0, "must be positive"},
		{"max_query_time", d.MaxQueryTime > 0, "must be positive"},
		{"http_config.max_header_bytes", d.HTTPLimits.MaxHeaderBytes >= 0, "must not be negative"},
		{"limits.http_max_conns_per_client", d.HTTPLimits.MaxConnsPerClient >= 0, "must not be negative; 0 is no bound"},
		{"limits.kv_max_value_size", d.HTTPLimits.MaxValueBytes > 0, "must be positive"},
		{"limits.txn_max_req_len", d.HTTPLimits.MaxTxnBytes > 0, "must be positive"},
	} {
		if !r.ok {
			d.faultIn(r.path, "%s %s", r.path, r.why)
		}
	}
}
