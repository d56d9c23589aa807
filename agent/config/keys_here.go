package config

import (
	"time"

	"muster/catalog"
	"muster/gossip"
)

// actedOn are the keys that change what the agent does.
func actedOn() []Key {
	var all []Key
	for _, area := range [][]Key{identityKeys(), addressKeys(), clusterKeys(), paceKeys(), meshKeys(), checkKeys(), httpKeys(), dnsKeys(), logKeys()} {
		all = append(all, area...)
	}
	return all
}

func identityKeys() []Key {
	return []Key{
		key("node_name", "node", "name of this node, unique in the cluster; default is the host's name", func(d *draft) *string { return &d.NodeName }),
		key("node_id", "node-id", "UUID of this node, which stays when its name or address changes; default is a random one kept in the data directory", func(d *draft) *string { return &d.NodeID }),
		key("node_meta", "node-meta", "metadata of this node as `key:value`; may be repeated", func(d *draft) *map[string]string { return &d.NodeMeta }),
		key("locality.region", "", "region in which this node runs", func(d *draft) *string { return &d.locality.Region }),
		key("locality.zone", "", "zone of that region in which this node runs", func(d *draft) *string { return &d.locality.Zone }),
		key("datacenter", "datacenter", "datacenter of this agent; default dc1", func(d *draft) *string { return &d.Datacenter }),
		key("primary_datacenter", "", "datacenter that /v1/agent/self names as the primary; default is the agent's own", func(d *draft) *string { return &d.PrimaryDatacenter }),
		key("server", "server", "run in server mode: vote, and hold the catalog", func(d *draft) *bool { return &d.Server }),
		key("data_dir", "data-dir", "directory in which the agent keeps its state", func(d *draft) *string { return &d.DataDir }),
		key("pid_file", "pid-file", "file to write the agent's process ID to", func(d *draft) *string { return &d.PIDFile }),
	}
}

func addressKeys() []Key {
	return []Key{
		key("bind_addr", "bind", "IP address or go-sockaddr template for traffic between agents; default 0.0.0.0", func(d *draft) *string { return &d.BindAddr }),
		key("advertise_addr", "advertise", "IP address or template that other agents are told; default is the bind address, else this machine's private one", func(d *draft) *string { return &d.AdvertiseAddr }),
		key("advertise_addr_wan", "advertise-wan", "address told to other datacenters; default is the advertised one", func(d *draft) *string { return &d.AdvertiseAddrWAN }),
		key("serf_lan", "serf-lan-bind", "IP address or template for gossip; default is the bind address", func(d *draft) *string { return &d.SerfBindAddr }),
		key("serf_wan", "serf-wan-bind", "IP address or template for gossip between datacenters; default is the bind address", func(d *draft) *string { return &d.SerfWANBindAddr }),
		key("client_addr", "client", "IP addresses or templates, separated by spaces, on which HTTP is served; default 127.0.0.1", func(d *draft) *string { return &d.clientAddr }),
		key("tagged_addresses", "", "further addresses of this node, by name; lan, wan and their families are those advertised", func(d *draft) *map[string]string { return &d.TaggedAddresses }),
		key("addresses.http", "", "addresses for HTTP instead of client_addr; unix:///path is a socket", func(d *draft) *string { return &d.httpAddr }),
		key("ports.http", "http-port", "port of the HTTP API; -1 is off; default 8500", func(d *draft) *int { return &d.httpPort }),
		key("ports.server", "server-port", "cluster port of servers; default 8300", func(d *draft) *int { return &d.ServerPort }),
		key("ports.serf_lan", "serf-lan-port", "port for gossip; default 8301", func(d *draft) *int { return &d.SerfLANPort }),
		key("ports.serf_wan", "serf-wan-port", "port for gossip between the servers of all datacenters; -1 is off; default 8302", func(d *draft) *int { return &d.SerfWANPort }),
		key("unix_sockets.user", "", "user, by name or number, that owns the sockets", func(d *draft) *string { return &d.UnixSocket.User }),
		key("unix_sockets.group", "", "group, by name or number, of the sockets", func(d *draft) *string { return &d.UnixSocket.Group }),
		key("unix_sockets.mode", "", "permissions of the sockets, such as 0770", func(d *draft) *string { return &d.UnixSocket.Mode }),
	}
}

func clusterKeys() []Key {
	return []Key{
		key("bootstrap", "bootstrap", "form a cluster of this server alone", func(d *draft) *bool { return &d.Bootstrap }),
		key("bootstrap_expect", "bootstrap-expect", "how many servers form the cluster together", func(d *draft) *int { return &d.BootstrapExpect }),
		key("retry_join", "retry-join", "address of an agent to join, tried until it answers; may be repeated", func(d *draft) *[]string { return &d.RetryJoin }),
		key("start_join", "join", "the old name of retry_join", func(d *draft) *[]string { return &d.RetryJoin }),
		key("retry_interval", "retry-interval", "pause between attempts to join; default 30s", func(d *draft) *time.Duration { return &d.RetryInterval }),
		key("retry_max", "retry-max", "how many times to try to join before giving up; default 0, for ever", func(d *draft) *int { return &d.RetryMax }),
		key("rejoin_after_leave", "rejoin", "join the peers known from before although this agent had left", func(d *draft) *bool { return &d.RejoinAfterLeave }),
		key("leave_on_terminate", "", "leave the cluster at SIGTERM; default true for clients, false for servers", func(d *draft) *bool { return &d.LeaveOnTerminate }),
		key("skip_leave_on_interrupt", "", "end without leaving at SIGINT; default false for clients, true for servers", func(d *draft) *bool { return &d.SkipLeaveOnInterrupt }),
		key("reconnect_timeout", "", "after which a failed member is forgotten; default 72h", func(d *draft) *time.Duration { return &d.ReconnectTimeout }),
		key("retry_join_wan", "retry-join-wan", "address of a server of another datacenter to join, tried until it answers; may be repeated", func(d *draft) *[]string { return &d.RetryJoinWAN }),
		key("start_join_wan", "join-wan", "the old name of retry_join_wan", func(d *draft) *[]string { return &d.RetryJoinWAN }),
		key("retry_interval_wan", "retry-interval-wan", "pause between attempts to join other datacenters; default 30s", func(d *draft) *time.Duration { return &d.RetryIntervalWAN }),
		key("retry_max_wan", "retry-max-wan", "how many times to try to join other datacenters before giving up; default 0, for ever", func(d *draft) *int { return &d.RetryMaxWAN }),
		key("reconnect_timeout_wan", "", "after which a failed server is forgotten in the WAN pool; default 72h", func(d *draft) *time.Duration { return &d.ReconnectTimeoutWAN }),
		key("disable_coordinates", "", "keep this node's network coordinate out of the catalog", func(d *draft) *bool { return &d.DisableCoordinates }),
		key("sync_coordinate_interval_min", "", "least pause between two updates of this node's coordinate; default 15s", func(d *draft) *time.Duration { return &d.CoordinateInterval }),
		key("sync_coordinate_rate_target", "", "updates of coordinates in a second that the whole cluster may send; default 64", func(d *draft) *float64 { return &d.CoordinateRate }),
		key("serf_lan_allowed_cidrs", "serf-lan-allowed-cidrs", "network, as CIDR, whose members gossip accepts; may be repeated; default all", func(d *draft) *[]string { return &d.allowedLAN }),
		key("serf_wan_allowed_cidrs", "serf-wan-allowed-cidrs", "the same for gossip between datacenters", func(d *draft) *[]string { return &d.allowedWAN }),
		key("encrypt", "encrypt", "gossip key in base64, as keygen makes it", func(d *draft) *Secret { return &d.Encrypt }),
		key("encrypt_verify_incoming", "", "refuse gossip in plain text where a key is set; default true", func(d *draft) *bool { return &d.EncryptVerifyIncoming }),
		key("encrypt_verify_outgoing", "", "send no gossip in plain text where a key is set; default true", func(d *draft) *bool { return &d.EncryptVerifyOutgoing }),
		key("disable_keyring_file", "disable-keyring-file", "keep gossip keys in memory only", func(d *draft) *bool { return &d.DisableKeyringFile }),
		key("performance.raft_multiplier", "", "1 to 10; scales the election timeout of 150 to 300 ms and the heartbeat of 50 ms; default 1", func(d *draft) *int { return &d.RaftMultiplier }),
		key("performance.rpc_hold_timeout", "", "how long a request waits for a leader; default 7s", func(d *draft) *time.Duration { return &d.RPCHoldTimeout }),
		key("limits.rpc_handshake_timeout", "", "how long a connection to the cluster port may say nothing; default 5s", func(d *draft) *time.Duration { return &d.ClusterLimits.HandshakeTimeout }),
		key("limits.rpc_max_conns_per_client", "", "connections from one address to the cluster port; default 100, 0 is no bound", func(d *draft) *int { return &d.ClusterLimits.MaxConnsPerClient }),
		key("autopilot.cleanup_dead_servers", "", firstOnly+"dead servers are removed where the rest can then bear more failures; default true", func(d *draft) *bool { return &d.autopilot.CleanupDeadServers }),
		key("autopilot.last_contact_threshold", "", firstOnly+"how long a healthy server may leave the leader without an answer; default 200ms", func(d *draft) *time.Duration { return &d.autopilot.LastContactThreshold }),
		key("autopilot.max_trailing_logs", "", firstOnly+"how many entries a healthy server may be behind; default 250", func(d *draft) *uint64 { return &d.autopilot.MaxTrailingLogs }),
		key("autopilot.min_quorum", "", firstOnly+"how many voters stay, dead or not; default 0", func(d *draft) *uint64 { return &d.autopilot.MinQuorum }),
		key("autopilot.server_stabilization_time", "", firstOnly+"how long a new server must have been healthy to get a vote; default 0s", func(d *draft) *time.Duration { return &d.autopilot.ServerStabilizationTime }),
		key("autopilot.redundancy_zone_tag", "", firstOnly+"kept and shown; nothing acts on it", func(d *draft) *string { return &d.autopilot.RedundancyZoneTag }),
		key("autopilot.disable_upgrade_migration", "", firstOnly+"kept and shown; nothing acts on it", func(d *draft) *bool { return &d.autopilot.DisableUpgradeMigration }),
		key("autopilot.upgrade_version_tag", "", firstOnly+"kept and shown; nothing acts on it", func(d *draft) *string { return &d.autopilot.UpgradeVersionTag }),
		key("raft_snapshot_threshold", "", "entries applied between two snapshots; default 16384", func(d *draft) *uint64 { return &d.RaftSnapshotThreshold }),
	}
}

// firstOnly begins what is said of keys that are the cluster's: the first leader
// stores them, and operator autopilot set-config changes them from then on.
const firstOnly = "for a cluster that has no autopilot configuration yet: "

// paceKeys are those of the failure detectors and of dissemination.
func paceKeys() []Key {
	var keys []Key
	for _, pool := range []struct {
		block, of string
		timing    func(*draft) *gossip.Timing
	}{
		{"gossip_lan", "within the datacenter", func(d *draft) *gossip.Timing { return &d.GossipLAN }},
		{"gossip_wan", "between datacenters", func(d *draft) *gossip.Timing { return &d.GossipWAN }},
	} {
		keys = append(keys,
			key(pool.block+".gossip_interval", "", "pause between messages to a few members each, "+pool.of, func(d *draft) *time.Duration { return &pool.timing(d).GossipInterval }),
			key(pool.block+".gossip_nodes", "", "how many members a message goes to, "+pool.of, func(d *draft) *int { return &pool.timing(d).GossipNodes }),
			key(pool.block+".probe_interval", "", "pause between probes of one member each, "+pool.of, func(d *draft) *time.Duration { return &pool.timing(d).ProbeInterval }),
			key(pool.block+".probe_timeout", "", "time for the answer to a probe, "+pool.of, func(d *draft) *time.Duration { return &pool.timing(d).ProbeTimeout }),
			key(pool.block+".retransmit_mult", "", "how often a message is passed on, times the logarithm of the members, "+pool.of, func(d *draft) *int { return &pool.timing(d).RetransmitMult }),
			key(pool.block+".suspicion_mult", "", "how long a silent member is suspected before it has failed, in probe intervals times the logarithm of the members, "+pool.of, func(d *draft) *int { return &pool.timing(d).SuspicionMult }),
		)
	}
	return keys
}

func meshKeys() []Key {
	return []Key{
		key("connect.enabled", "", "keep a certificate authority, from which services have their identity; all servers must agree; default true", func(d *draft) *bool { return &d.Connect.Enabled }),
		key("default_intention_policy", "", "allow or deny connections that no intention is about; all servers must agree; default allow", func(d *draft) *string { return &d.Connect.IntentionPolicy }),
		key("connect.ca_provider", "", "consul, the built-in certificate authority; there is no other", func(d *draft) *string { return &d.caProvider }),
		key("connect.test_ca_leaf_root_change_spread", "", "within how long after a change of the root this agent renews its services' certificates, each at a moment of its own; default 30s", func(d *draft) *time.Duration { return &d.Connect.LeafSpread }),
		{Path: "connect.ca_config", Type: Block, Doc: "for a cluster that has no certificate authority yet: `leaf_cert_ttl`, `intermediate_cert_ttl`, `root_cert_ttl`, `rotation_period`, `private_key_type`, `private_key_bits`, `private_key`, `root_cert`, `csr_max_per_second`, `csr_max_concurrent`, `cluster_id`", add: (*draft).addCAConfig},
	}
}

func checkKeys() []Key {
	block := func(path, doc string, add func(*draft, string, *node, string)) Key {
		return Key{Path: path, Type: Block, Doc: doc, add: add}
	}
	return []Key{
		block("service", "a service of this node", (*draft).addServices),
		block("services", "services of this node", (*draft).addServices),
		block("check", "a check of this node", (*draft).addChecks),
		block("checks", "checks of this node", (*draft).addChecks),
		block("watches", "what to watch, and the program or HTTP request that is handed the news (docs/operations.md)", (*draft).addWatches),
		block("config_entries.bootstrap", "config entries that a new leader writes where there are none of their kind and name", (*draft).addConfigEntries),
		key("enable_script_checks", "enable-script-checks", "allow script checks, from files and from the API", func(d *draft) *bool { return &d.EnableRemoteScriptChecks }),
		key("enable_local_script_checks", "enable-local-script-checks", "allow script checks from files only", func(d *draft) *bool { return &d.EnableLocalScriptChecks }),
		key("check_update_interval", "", "how long a check's output that changed without its status waits to be sent; default 5m", func(d *draft) *time.Duration { return &d.CheckUpdateInterval }),
		key("check_output_max_size", "check_output_max_size", "bound on the output of a check in bytes, which its own output_max_size can only lower; default 4096", func(d *draft) *int { return &d.CheckOutputMaxSize }),
		key("discard_check_output", "", "keep no output of checks", func(d *draft) *bool { return &d.DiscardCheckOutput }),
		key("ae_interval", "", "pause between two full comparisons with the catalog, longer in clusters above 128 members; default 1m", func(d *draft) *time.Duration { return &d.SyncInterval }),
	}
}

func httpKeys() []Key {
	return []Key{
		key("ui", "ui", "serve the web UI", func(d *draft) *bool { return &d.UI }),
		key("ui_config.enabled", "", "serve the web UI", func(d *draft) *bool { return &d.UI }),
		key("enable_debug", "", "serve profiles at /debug/pprof/", func(d *draft) *bool { return &d.EnableDebug }),
		key("default_query_time", "default-query-time", "how long a blocking query waits that does not say; default 5m", func(d *draft) *time.Duration { return &d.DefaultQueryTime }),
		key("max_query_time", "max-query-time", "how long a blocking query may wait at most; default 10m", func(d *draft) *time.Duration { return &d.MaxQueryTime }),
		key("http_config.response_headers", "", "headers added to every answer", func(d *draft) *map[string]string { return &d.ResponseHeaders }),
		key("http_config.block_endpoints", "", "path prefixes that are answered with 403", func(d *draft) *[]string { return &d.BlockEndpoints }),
		key("http_config.allow_write_http_from", "allow-write-http-from", "network, as CIDR, that may call write endpoints; may be repeated; default all", func(d *draft) *[]string { return &d.allowWriteFrom }),
		key("http_config.max_header_bytes", "", "bound on a request's headers; default 1 MiB", func(d *draft) *int { return &d.HTTPLimits.MaxHeaderBytes }),
		key("limits.http_max_conns_per_client", "", "connections from one address to the HTTP API; default 200, 0 is no bound", func(d *draft) *int { return &d.HTTPLimits.MaxConnsPerClient }),
		key("limits.kv_max_value_size", "", "bound on a value of the key/value store in bytes; default 512 KiB", func(d *draft) *int { return &d.HTTPLimits.MaxValueBytes }),
		key("limits.txn_max_req_len", "", "bound on the body of a transaction in bytes; default 512 KiB; limits.kv_max_value_size counts where it is larger", func(d *draft) *int { return &d.HTTPLimits.MaxTxnBytes }),
	}
}

func dnsKeys() []Key {
	return []Key{
		key("addresses.dns", "", "addresses for DNS instead of client_addr", func(d *draft) *string { return &d.dnsAddr }),
		key("ports.dns", "dns-port", "port of DNS, UDP and TCP; -1 is off; default 8600", func(d *draft) *int { return &d.dnsPort }),
		key("domain", "domain", "domain that DNS answers for; default consul.", func(d *draft) *string { return &d.DNS.Answers.Domain }),
		key("alt_domain", "alt-domain", "another domain that DNS answers for", func(d *draft) *string { return &d.DNS.Answers.AltDomain }),
		key("recursors", "recursor", "DNS server, as IP address, address and port, or template, that is asked about all other names; may be repeated", func(d *draft) *[]string { return &d.recursors }),
		key("dns_config.allow_stale", "", "answer from any server's own copy of the catalog; else each question takes a round among servers; default true", func(d *draft) *bool { return &d.DNS.AllowStale }),
		key("dns_config.max_stale", "", "how old such a copy may be; default 87600h", func(d *draft) *time.Duration { return &d.DNS.MaxStale }),
		key("dns_config.use_cache", "", "client agents answer from what they keep of the catalog, else each question asks a server; default true", func(d *draft) *bool { return &d.DNS.UseCache }),
		key("dns_config.cache_max_age", "", "for how long a client agent that reaches no server answers from what it keeps; default 0, max_stale", func(d *draft) *time.Duration { return &d.DNS.CacheMaxAge }),
		key("dns_config.a_record_limit", "", "bound on the addresses in an answer; default 0, none", func(d *draft) *int { return &d.DNS.Answers.ARecordLimit }),
		key("dns_config.udp_answer_limit", "", "bound on the records in an answer over UDP without EDNS; default 3", func(d *draft) *int { return &d.DNS.Answers.UDPAnswerLimit }),
		key("dns_config.enable_truncate", "", "mark answers over UDP that were cut, so that askers come back over TCP", func(d *draft) *bool { return &d.DNS.Answers.EnableTruncate }),
		key("dns_config.disable_compression", "", "write each name in full", func(d *draft) *bool { return &d.DNS.Answers.DisableCompression }),
		key("dns_config.enable_additional_node_meta_txt", "", "add nodes' metadata as TXT records; default true", func(d *draft) *bool { return &d.DNS.Answers.NodeMetaTXT }),
		key("dns_config.only_passing", "", "leave out instances with a warning; critical ones always are", func(d *draft) *bool { return &d.DNS.Answers.OnlyPassing }),
		key("dns_config.node_ttl", "", "for how long answers about nodes may be kept; default 0s", func(d *draft) *time.Duration { return &d.DNS.Answers.NodeTTL }),
		key("dns_config.service_ttl", "", "the same for services, by name; a name may end in *", func(d *draft) *map[string]string { return &d.serviceTTL }),
		key("dns_config.recursor_strategy", "", "order in which recursors are asked: sequential, the default, or random", func(d *draft) *string { return &d.DNS.Answers.RecursorStrategy }),
		key("dns_config.recursor_timeout", "", "how long to wait for one recursor; default 2s", func(d *draft) *time.Duration { return &d.DNS.Answers.RecursorTimeout }),
		key("dns_config.soa.refresh", "", "seconds in the SOA record; default 3600", func(d *draft) *uint32 { return &d.DNS.Answers.SOA.Refresh }),
		key("dns_config.soa.retry", "", "seconds in the SOA record; default 600", func(d *draft) *uint32 { return &d.DNS.Answers.SOA.Retry }),
		key("dns_config.soa.expire", "", "seconds in the SOA record; default 86400", func(d *draft) *uint32 { return &d.DNS.Answers.SOA.Expire }),
		key("dns_config.soa.min_ttl", "", "seconds for which a name may be believed missing; default 0", func(d *draft) *uint32 { return &d.DNS.Answers.SOA.MinTTL }),
	}
}

func logKeys() []Key {
	return []Key{
		key("log_level", "log-level", "trace, debug, info, warn or error; default info", func(d *draft) *string { return &d.logLevel }),
		key("log_json", "log-json", "write logs as JSON", func(d *draft) *bool { return &d.Log.JSON }),
		key("log_file", "log-file", "file to write the log to as well; a path that ends in / is a directory", func(d *draft) *string { return &d.Log.File }),
		key("log_rotate_bytes", "log-rotate-bytes", "size at which a new log file is begun; default 0, no bound", func(d *draft) *int { return &d.Log.RotateBytes }),
		key("log_rotate_duration", "log-rotate-duration", "age at which a new log file is begun; default 24h", func(d *draft) *time.Duration { return &d.Log.RotateDuration }),
		key("log_rotate_max_files", "log-rotate-max-files", "how many old log files to keep; default 0, all; -1 keeps none", func(d *draft) *int { return &d.Log.RotateMaxFiles }),
	}
}

// node is the catalog entry that the configuration makes of this agent, for the
// catalog's own rules to judge.
func (c *Config) node() catalog.Node {
	return catalog.Node{ID: c.NodeID, Node: c.NodeName, Address: c.AdvertiseAddr, Datacenter: c.Datacenter, Meta: c.NodeMeta, Locality: c.Locality}
}
