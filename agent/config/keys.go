package config

import (
	"reflect"
	"slices"
	"strings"
)

// File is everything that a configuration may say, by Consul's keys. Pointers
// are nil where nothing was said. The tag muster:"later" marks what is accepted,
// so that existing configurations start, but not acted on yet; whoever sets it
// is warned. File is also the table that docs/compatibility.md is made from.
type File struct {
	Addresses struct {
		HTTP    *string `mapstructure:"http"`
		HTTPS   *string `mapstructure:"https" muster:"later"`
		DNS     *string `mapstructure:"dns" muster:"later"`
		GRPC    *string `mapstructure:"grpc" muster:"later"`
		GRPCTLS *string `mapstructure:"grpc_tls" muster:"later"`
	} `mapstructure:"addresses"`
	ACL                     map[string]any   `mapstructure:"acl" muster:"later"`
	AdvertiseAddr           *string          `mapstructure:"advertise_addr"`
	AdvertiseAddrWAN        *string          `mapstructure:"advertise_addr_wan"`
	AdvertiseReconnect      *string          `mapstructure:"advertise_reconnect_timeout" muster:"later"`
	AutoReloadConfig        *bool            `mapstructure:"auto_reload_config" muster:"later"`
	Autopilot               map[string]any   `mapstructure:"autopilot" muster:"later"`
	BindAddr                *string          `mapstructure:"bind_addr"`
	Bootstrap               *bool            `mapstructure:"bootstrap"`
	BootstrapExpect         *int             `mapstructure:"bootstrap_expect"`
	CAFile                  *string          `mapstructure:"ca_file" muster:"later"`
	CAPath                  *string          `mapstructure:"ca_path" muster:"later"`
	Cache                   map[string]any   `mapstructure:"cache" muster:"later"`
	CertFile                *string          `mapstructure:"cert_file" muster:"later"`
	Check                   []map[string]any `mapstructure:"check"`
	CheckOutputMaxSize      *int             `mapstructure:"check_output_max_size" muster:"later"`
	CheckUpdateInterval     *string          `mapstructure:"check_update_interval"`
	Checks                  []map[string]any `mapstructure:"checks"`
	ClientAddr              *string          `mapstructure:"client_addr"`
	ConfigEntries           map[string]any   `mapstructure:"config_entries" muster:"later"`
	Connect                 map[string]any   `mapstructure:"connect" muster:"later"`
	Datacenter              *string          `mapstructure:"datacenter"`
	DataDir                 *string          `mapstructure:"data_dir"`
	DefaultQueryTime        *string          `mapstructure:"default_query_time"`
	DisableAnonymousSig     *bool            `mapstructure:"disable_anonymous_signature" muster:"none"`
	DisableHostNodeID       *bool            `mapstructure:"disable_host_node_id" muster:"none"`
	DisableRemoteExec       *bool            `mapstructure:"disable_remote_exec" muster:"none"`
	DisableUpdateCheck      *bool            `mapstructure:"disable_update_check" muster:"none"`
	DiscardCheckOutput      *bool            `mapstructure:"discard_check_output" muster:"later"`
	DNSConfig               map[string]any   `mapstructure:"dns_config" muster:"later"`
	Domain                  *string          `mapstructure:"domain" muster:"later"`
	AltDomain               *string          `mapstructure:"alt_domain" muster:"later"`
	EnableDebug             *bool            `mapstructure:"enable_debug" muster:"later"`
	EnableLocalScriptChecks *bool            `mapstructure:"enable_local_script_checks"`
	EnableScriptChecks      *bool            `mapstructure:"enable_script_checks"`
	Encrypt                 *string          `mapstructure:"encrypt"`
	EncryptVerifyIncoming   *bool            `mapstructure:"encrypt_verify_incoming"`
	EncryptVerifyOutgoing   *bool            `mapstructure:"encrypt_verify_outgoing"`
	GossipLAN               map[string]any   `mapstructure:"gossip_lan" muster:"later"`
	GossipWAN               map[string]any   `mapstructure:"gossip_wan" muster:"later"`
	HTTPConfig              struct {
		AllowWriteHTTPFrom []string          `mapstructure:"allow_write_http_from" muster:"later"`
		BlockEndpoints     []string          `mapstructure:"block_endpoints"`
		MaxHeaderBytes     *int              `mapstructure:"max_header_bytes"`
		ResponseHeaders    map[string]string `mapstructure:"response_headers"`
		UseCache           *bool             `mapstructure:"use_cache" muster:"later"`
	} `mapstructure:"http_config"`
	KeyFile        *string `mapstructure:"key_file" muster:"later"`
	KVMaxValueSize *uint64 `mapstructure:"kv_max_value_size" muster:"later"`
	LeaveOnTerm    *bool   `mapstructure:"leave_on_terminate"`
	Limits         struct {
		HTTPMaxConnsPerClient *int           `mapstructure:"http_max_conns_per_client"`
		HTTPSHandshakeTimeout *string        `mapstructure:"https_handshake_timeout" muster:"later"`
		KVMaxValueSize        *uint64        `mapstructure:"kv_max_value_size" muster:"later"`
		RequestLimits         map[string]any `mapstructure:"request_limits" muster:"later"`
		RPCHandshakeTimeout   *string        `mapstructure:"rpc_handshake_timeout" muster:"later"`
		RPCMaxBurst           *int           `mapstructure:"rpc_max_burst" muster:"later"`
		RPCMaxConnsPerClient  *int           `mapstructure:"rpc_max_conns_per_client" muster:"later"`
		RPCRate               *float64       `mapstructure:"rpc_rate" muster:"later"`
		TxnMaxReqLen          *uint64        `mapstructure:"txn_max_req_len" muster:"later"`
	} `mapstructure:"limits"`
	LogFile         *string           `mapstructure:"log_file" muster:"later"`
	LogJSON         *bool             `mapstructure:"log_json"`
	LogLevel        *string           `mapstructure:"log_level"`
	MaxQueryTime    *string           `mapstructure:"max_query_time"`
	NodeID          *string           `mapstructure:"node_id"`
	NodeMeta        map[string]string `mapstructure:"node_meta"`
	NodeName        *string           `mapstructure:"node_name"`
	NonVotingServer *bool             `mapstructure:"non_voting_server" muster:"later"`
	Peering         map[string]any    `mapstructure:"peering" muster:"later"`
	Performance     struct {
		GRPCKeepaliveInterval *string `mapstructure:"grpc_keepalive_interval" muster:"later"`
		GRPCKeepaliveTimeout  *string `mapstructure:"grpc_keepalive_timeout" muster:"later"`
		LeaveDrainTime        *string `mapstructure:"leave_drain_time"`
		RaftMultiplier        *int    `mapstructure:"raft_multiplier"`
		RPCHoldTimeout        *string `mapstructure:"rpc_hold_timeout"`
	} `mapstructure:"performance"`
	PidFile *string `mapstructure:"pid_file" muster:"later"`
	Ports   struct {
		DNS            *int `mapstructure:"dns" muster:"later"`
		ExposeMaxPort  *int `mapstructure:"expose_max_port" muster:"later"`
		ExposeMinPort  *int `mapstructure:"expose_min_port" muster:"later"`
		GRPC           *int `mapstructure:"grpc" muster:"later"`
		GRPCTLS        *int `mapstructure:"grpc_tls" muster:"later"`
		HTTP           *int `mapstructure:"http"`
		HTTPS          *int `mapstructure:"https" muster:"later"`
		SerfLAN        *int `mapstructure:"serf_lan"`
		SerfWAN        *int `mapstructure:"serf_wan" muster:"later"`
		Server         *int `mapstructure:"server"`
		SidecarMaxPort *int `mapstructure:"sidecar_max_port" muster:"later"`
		SidecarMinPort *int `mapstructure:"sidecar_min_port" muster:"later"`
	} `mapstructure:"ports"`
	PrimaryDatacenter     *string          `mapstructure:"primary_datacenter" muster:"later"`
	RaftProtocol          *int             `mapstructure:"raft_protocol" muster:"none"`
	RaftSnapshotInterval  *string          `mapstructure:"raft_snapshot_interval" muster:"later"`
	RaftSnapshotThreshold *int             `mapstructure:"raft_snapshot_threshold"`
	RaftTrailingLogs      *int             `mapstructure:"raft_trailing_logs" muster:"later"`
	ReconnectTimeout      *string          `mapstructure:"reconnect_timeout"`
	ReconnectTimeoutWAN   *string          `mapstructure:"reconnect_timeout_wan" muster:"later"`
	Recursors             []string         `mapstructure:"recursors" muster:"later"`
	RejoinAfterLeave      *bool            `mapstructure:"rejoin_after_leave"`
	RetryInterval         *string          `mapstructure:"retry_interval"`
	RetryJoin             []string         `mapstructure:"retry_join"`
	RetryJoinWAN          []string         `mapstructure:"retry_join_wan" muster:"later"`
	RetryMax              *int             `mapstructure:"retry_max"`
	RPC                   map[string]any   `mapstructure:"rpc" muster:"later"`
	Segment               *string          `mapstructure:"segment" muster:"later"`
	Segments              []map[string]any `mapstructure:"segments" muster:"later"`
	SerfLAN               *string          `mapstructure:"serf_lan"`
	SerfWAN               *string          `mapstructure:"serf_wan" muster:"later"`
	Server                *bool            `mapstructure:"server"`
	ServerName            *string          `mapstructure:"server_name" muster:"later"`
	Service               []map[string]any `mapstructure:"service"`
	Services              []map[string]any `mapstructure:"services"`
	SessionTTLMin         *string          `mapstructure:"session_ttl_min" muster:"later"`
	SkipLeaveOnInt        *bool            `mapstructure:"skip_leave_on_interrupt"`
	StartJoin             []string         `mapstructure:"start_join"`
	SyslogFacility        *string          `mapstructure:"syslog_facility" muster:"later"`
	Telemetry             map[string]any   `mapstructure:"telemetry" muster:"later"`
	TLS                   map[string]any   `mapstructure:"tls" muster:"later"`
	TranslateWANAddrs     *bool            `mapstructure:"translate_wan_addrs" muster:"later"`
	TxnMaxReqLen          *uint64          `mapstructure:"txn_max_req_len" muster:"later"`
	UI                    *bool            `mapstructure:"ui"`
	UIConfig              struct {
		Enabled     *bool   `mapstructure:"enabled"`
		Dir         *string `mapstructure:"dir" muster:"later"`
		ContentPath *string `mapstructure:"content_path" muster:"later"`
	} `mapstructure:"ui_config"`
	UseStreamingBackend  *bool            `mapstructure:"use_streaming_backend" muster:"none"`
	VerifyIncoming       *bool            `mapstructure:"verify_incoming" muster:"later"`
	VerifyIncomingHTTPS  *bool            `mapstructure:"verify_incoming_https" muster:"later"`
	VerifyIncomingRPC    *bool            `mapstructure:"verify_incoming_rpc" muster:"later"`
	VerifyOutgoing       *bool            `mapstructure:"verify_outgoing" muster:"later"`
	VerifyServerHostname *bool            `mapstructure:"verify_server_hostname" muster:"later"`
	Version              *string          `mapstructure:"version" muster:"none"`
	Watches              []map[string]any `mapstructure:"watches" muster:"later"`
}

// Support says what becomes of a key.
type Support string

// The values of Support. Ignorable keys ask for something that Muster does, or
// leaves out, anyway; no warning is due.
const (
	Acted     Support = "here"
	Later     Support = "accepted, not acted on yet"
	Ignorable Support = "accepted, nothing to do"
)

// Key is one configuration key, such as ports.http.
type Key struct {
	Path    string
	Support Support
}

// Keys lists every key that a configuration may have, sorted by path.
func Keys() []Key {
	var out []Key
	walkKeys(reflect.TypeFor[File](), "", func(path string, support Support, _ []int) {
		out = append(out, Key{path, support})
	}, nil)
	slices.SortFunc(out, func(a, b Key) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// walkKeys visits the leaves of a struct of keys.
func walkKeys(t reflect.Type, prefix string, visit func(path string, s Support, index []int), at []int) {
	for f := range t.Fields() {
		path, index := prefix+f.Tag.Get("mapstructure"), append(slices.Clip(at), f.Index...)
		if f.Type.Kind() == reflect.Struct {
			walkKeys(f.Type, path+".", visit, index)
			continue
		}
		support := Acted
		switch f.Tag.Get("muster") {
		case "later":
			support = Later
		case "none":
			support = Ignorable
		}
		visit(path, support, index)
	}
}

// warnings names what f says that isn't acted on. What merely switches such a
// thing off, or says what is the case anyway, isn't worth a warning.
func (f *File) warnings() []string {
	var out []string
	v := reflect.ValueOf(f).Elem()
	walkKeys(v.Type(), "", func(path string, s Support, index []int) {
		if field := v.FieldByIndex(index); s == Later && says(field) {
			out = append(out, path+" is accepted but not acted on yet")
		}
	}, nil)
	slices.Sort(out)
	return out
}

func says(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() > 0
	default:
		return !v.IsNil() && !(v.Elem().Kind() == reflect.Bool && !v.Elem().Bool()) && !(v.Elem().CanInt() && v.Elem().Int() <= 0)
	}
}
