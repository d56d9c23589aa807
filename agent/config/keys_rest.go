package config

// notYet are the keys that are taken, so that configuration written for Consul
// starts, but not acted on so far.
func notYet() []Key {
	var all []Key
	for _, area := range [][]Key{
		rows(Later, "access is not controlled yet: every request is allowed", `
			acl.enabled bool
			acl.down_policy
			acl.default_policy
			acl.enable_key_list_policy bool
			acl.enable_token_persistence bool
			acl.enable_token_replication bool
			acl.policy_ttl duration
			acl.role_ttl duration
			acl.token_ttl duration
			acl.tokens.initial_management
			acl.tokens.master
			acl.tokens.agent
			acl.tokens.agent_recovery
			acl.tokens.agent_master
			acl.tokens.default
			acl.tokens.replication
			acl.tokens.config_file_service_registration
			acl.tokens.dns
			acl_agent_master_token
			acl_agent_token
			acl_datacenter
			acl_default_policy
			acl_down_policy
			acl_enable_key_list_policy bool
			acl_master_token
			acl_replication_token
			acl_token
			acl_ttl duration
			enable_acl_replication bool`),
		rows(Later, "connections are in plain text: there is no TLS yet", `
			ca_file
			ca_path
			cert_file
			key_file
			server_name
			tls_cipher_suites
			tls_min_version
			tls_prefer_server_cipher_suites bool
			verify_incoming bool
			verify_incoming_https bool
			verify_incoming_rpc bool
			verify_outgoing bool
			verify_server_hostname bool
			enable_agent_tls_for_checks bool
			tls.defaults.ca_file
			tls.defaults.ca_path
			tls.defaults.cert_file
			tls.defaults.key_file
			tls.defaults.tls_min_version
			tls.defaults.tls_cipher_suites
			tls.defaults.verify_incoming bool
			tls.defaults.verify_outgoing bool
			tls.defaults.verify_server_hostname bool
			tls.internal_rpc.ca_file
			tls.internal_rpc.ca_path
			tls.internal_rpc.cert_file
			tls.internal_rpc.key_file
			tls.internal_rpc.tls_min_version
			tls.internal_rpc.tls_cipher_suites
			tls.internal_rpc.verify_incoming bool
			tls.internal_rpc.verify_outgoing bool
			tls.internal_rpc.verify_server_hostname bool
			tls.https.ca_file
			tls.https.ca_path
			tls.https.cert_file
			tls.https.key_file
			tls.https.tls_min_version
			tls.https.tls_cipher_suites
			tls.https.verify_incoming bool
			tls.https.verify_outgoing bool
			tls.https.verify_server_hostname bool
			tls.grpc.ca_file
			tls.grpc.ca_path
			tls.grpc.cert_file
			tls.grpc.key_file
			tls.grpc.tls_min_version
			tls.grpc.tls_cipher_suites
			tls.grpc.use_auto_cert bool
			tls.grpc.verify_incoming bool
			tls.grpc.verify_outgoing bool
			tls.grpc.verify_server_hostname bool
			addresses.https
			ports.https int @https-port
			limits.https_handshake_timeout duration`),
		rows(Later, "there is no service mesh yet", `
			connect.enable_mesh_gateway_wan_federation bool
			enable_central_service_config bool
			addresses.grpc
			addresses.grpc_tls
			ports.grpc int @grpc-port
			ports.grpc_tls int @grpc-tls-port
			ports.proxy_min_port int
			ports.proxy_max_port int
			ports.sidecar_min_port int
			ports.sidecar_max_port int
			ports.expose_min_port int
			ports.expose_max_port int
			performance.grpc_keepalive_interval duration
			performance.grpc_keepalive_timeout duration
			peering.enabled bool
			peering.test_allow_peer_registrations bool
			xds.update_max_per_second number`),
		rows(Later, "requests are not passed on to other datacenters yet", `
			primary_gateways list @primary-gateway
			primary_gateways_interval duration
			translate_wan_addrs bool
`),
		rows(Later, "no effect: an agent advertises one address; tagged_addresses gives further ones names, such as lan_ipv6", `
			advertise_addr_ipv4
			advertise_addr_ipv6
			advertise_addr_wan_ipv4
			advertise_addr_wan_ipv6`),
		rows(Later, "no effect: updates of coordinates are batched as all writes are", `
			consul.coordinate.update_batch_size int
			consul.coordinate.update_max_batches int
			consul.coordinate.update_period duration`),
		rows(Later, "the built-in value is used", `
			advertise_reconnect_timeout duration
			consul.server.health_interval duration
			limits.rpc_client_timeout duration
			server_rejoin_age_max duration`),
		rows(Later, "every answer is kept, shared and current already; ?cached changes nothing", `
			cache.entry_fetch_max_burst int
			cache.entry_fetch_rate number
			http_config.use_cache bool
			rpc.enable_streaming bool
			use_streaming_backend bool`),
		rows(Later, "no effect: default reads are linearizable on every server; ask with ?stale and max_stale", `
			discovery_max_stale duration`),
		rows(Later, "times of consensus are replicated: performance.raft_multiplier scales them", `
			consul.raft.election_timeout duration
			consul.raft.heartbeat_timeout duration
			consul.raft.leader_lease_timeout duration`),
		rows(Later, "no effect: the log is bounded in bytes, and snapshots are taken by raft_snapshot_threshold", `
			raft_snapshot_interval duration
			raft_trailing_logs int`),
		rows(Later, "requests are bounded by how many are under way, not by their rate (docs/http.md)", `
			limits.rpc_max_burst int
			limits.rpc_rate number
			limits.request_limits.mode
			limits.request_limits.read_rate number
			limits.request_limits.write_rate number`),
		rows(Later, "no effect: an agent that leaves hands leadership over and waits until it is out of the quorum, 20s at most", `
			performance.leave_drain_time duration`),
		rows(Later, "the least TTL of a session is 10s", `
			session_ttl_min duration`),
		rows(Later, "files are read again at SIGHUP and by muster reload only", `
			auto_reload_config bool @auto-reload-config`),
		rows(Later, "the log goes to standard output and log_file", `
			enable_syslog bool @syslog
			syslog_facility`),
		rows(Later, "metrics are Prometheus', at /metrics and /v1/agent/metrics, under their own names", `
			telemetry.disable_hostname bool
			telemetry.disable_per_tenancy_usage_metrics bool
			telemetry.dogstatsd_addr
			telemetry.dogstatsd_tags list
			telemetry.enable_host_metrics bool
			telemetry.filter_default bool
			telemetry.metrics_prefix
			telemetry.prefix_filter list
			telemetry.prometheus_retention_time duration
			telemetry.retry_failed_connection bool
			telemetry.statsd_address
			telemetry.statsite_address`),
		rows(Later, "the web UI is built in, at /ui/", `
			ui_content_path @ui-content-path
			ui_dir @ui-dir
			ui_config.content_path
			ui_config.dashboard_url_templates map
			ui_config.dir
			ui_config.metrics_provider
			ui_config.metrics_provider_files list
			ui_config.metrics_provider_options_json
			ui_config.metrics_proxy.add_headers block
			ui_config.metrics_proxy.base_url
			ui_config.metrics_proxy.path_allowlist list`),
		rows(Later, "Muster has no such thing to turn on or off", `
			acl_enforce_version_8 bool
			build_date
			disable_anonymous_signature bool
			disable_host_node_id bool @disable-host-node-id
			disable_http_unprintable_char_filter bool
			disable_remote_exec bool
			disable_update_check bool
			experiments list
			protocol int @protocol
			raft_boltdb block
			raft_logstore.backend
			raft_logstore.boltdb.no_freelist_sync bool
			raft_logstore.disable_log_cache bool
			raft_logstore.verification.enabled bool
			raft_logstore.verification.interval duration
			raft_logstore.wal.segment_size_mb int
			raft_prevote_disabled bool
			raft_protocol int @raft-protocol
			revision
			segments block
			version
			version_metadata
			version_prerelease
			reporting.license.enabled bool
			telemetry.circonus_api_app
			telemetry.circonus_api_token
			telemetry.circonus_api_url
			telemetry.circonus_broker_id
			telemetry.circonus_broker_select_tag
			telemetry.circonus_check_display_name
			telemetry.circonus_check_force_metric_activation
			telemetry.circonus_check_id
			telemetry.circonus_check_instance_id
			telemetry.circonus_check_search_tag
			telemetry.circonus_check_tags
			telemetry.circonus_submission_interval
			telemetry.circonus_submission_url`),
	} {
		all = append(all, area...)
	}
	return all
}

// wont are the keys for which there is nothing to ignore safely: an agent that
// took them would do something else than its operator asked for.
func wont() []Key {
	var all []Key
	for _, area := range [][]Key{
		rows(Never, "this is a feature of Consul Enterprise", `
			audit.enabled bool
			license_path
			partition
			dns_config.prefer_namespace bool
			acl.msp_disable_bootstrap bool
			acl.tokens.managed_service_provider block
			non_voting_server bool @non-voting-server
			read_replica bool @read-replica
			segment @segment
			snapshot_agent block`),
		rows(Never, "Muster does not connect to HashiCorp's cloud", `
			cloud.auth_url
			cloud.client_id
			cloud.client_secret
			cloud.hostname
			cloud.resource_id
			cloud.scada_address`),
		rows(Never, "agents are not configured by servers; give each its own configuration", `
			auto_config.authorization block
			auto_config.dns_sans list
			auto_config.enabled bool
			auto_config.intro_token
			auto_config.intro_token_file
			auto_config.ip_sans list
			auto_config.server_addresses list
			auto_encrypt.allow_tls bool
			auto_encrypt.dns_san list
			auto_encrypt.ip_san list
			auto_encrypt.tls bool`),
	} {
		all = append(all, area...)
	}
	return all
}
