package checks_test

import (
	"strings"
	"testing"
	"time"

	"muster/agent/checks"
	"muster/catalog"
)

func TestValidate_SaysWhatIsWrong(t *testing.T) {
	const (
		noTTL      = "Invalid check: TTL must be > 0 for TTL checks"
		noInterval = "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks"
	)
	s := time.Second
	for _, tc := range []struct {
		want string // beginning of the text
		def  checks.Definition
	}{
		{noTTL, checks.Definition{}},
		{noTTL, checks.Definition{TTL: -s}},
		{noTTL, checks.Definition{Interval: s}},
		{noTTL, checks.Definition{Shell: "/bin/sh", Interval: s}},
		{noInterval, checks.Definition{HTTP: "http://a/"}},
		{noInterval, checks.Definition{TCP: "a:1", Interval: -s}},
		{"Invalid check: Interval and TTL cannot both be specified", checks.Definition{HTTP: "http://a/", Interval: s, TTL: s}},
		{"Invalid check: Interval and TTL cannot both be specified", checks.Definition{Interval: s, TTL: s}},
		{"Invalid check: HTTP and TCP are two types of check", checks.Definition{HTTP: "http://a/", TCP: "a:1", Interval: s}},
		{`Invalid check: UDP "a" must be host:port`, checks.Definition{UDP: "a", Interval: s}},
		{`Invalid check: GRPC "a" must be host:port`, checks.Definition{GRPC: "a/service", Interval: s}},
		{`Invalid check: GRPC "" must be host:port`, checks.Definition{GRPC: "/service", Interval: s}},
		{`Invalid check: H2PING "a" must be host:port`, checks.Definition{H2PING: "a", Interval: s}},
		{"Invalid check: OSService checks are not supported", checks.Definition{OSService: "a", Interval: s}},
		{"Invalid check: Docker checks are not supported", checks.Definition{DockerContainerID: "a", ScriptArgs: []string{"a"}, Interval: s}},
		{"Invalid check: TTL must be not be set for Alias checks", checks.Definition{AliasService: "a", TTL: s}},
		{"Bad check status", checks.Definition{TTL: s, Status: "bogus"}},
		{"Invalid check: MaxOutputMaxSize must be positive", checks.Definition{TTL: s, OutputMaxSize: -1}},
		{"Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical", checks.Definition{TCP: "a:1", Interval: s, FailuresBeforeWarning: 5, FailuresBeforeCritical: 3}},
		{"Invalid check: SuccessBeforePassing", checks.Definition{TTL: s, SuccessBeforePassing: -1}},
		{"Invalid check: Timeout can't be negative", checks.Definition{TCP: "a:1", Interval: s, Timeout: -s}},
		{"Invalid check: DeregisterCriticalServiceAfter can't be negative", checks.Definition{TTL: s, DeregisterCriticalServiceAfter: -s}},
		{`Invalid check: TCP "a" must be host:port`, checks.Definition{TCP: "a", Interval: s}},
		{`Invalid check: HTTP "file:///etc/passwd" must be a URL that begins with http`, checks.Definition{HTTP: "file:///etc/passwd", Interval: s}},
		{`Invalid check: HTTP "a.test/x" must be a URL`, checks.Definition{HTTP: "a.test/x", Interval: s}},
		{`Invalid check: HTTP "http://a\n/" is not a URL`, checks.Definition{HTTP: "http://a\n/", Interval: s}},
		{`Invalid check: Method "G\nX"`, checks.Definition{HTTP: "http://a/", Method: "G\nX", Interval: s}},
		{`Invalid check: Header name "X\r\nY"`, checks.Definition{HTTP: "http://a/", Header: map[string][]string{"X\r\nY": {"v"}}, Interval: s}},
		{`Invalid check: the value of Header "X"`, checks.Definition{HTTP: "http://a/", Header: map[string][]string{"X": {"v\r\nHost: b"}}, Interval: s}},
	} {
		err := tc.def.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("%+v\n got %v\nwant %s", tc.def, err, tc.want)
		} else if catalog.KindOf(err) != catalog.Invalid {
			t.Errorf("%v: kind %d, want Invalid", err, catalog.KindOf(err))
		}
	}
}

func TestType_NamesEachType(t *testing.T) {
	for want, d := range map[string]checks.Definition{
		"ttl":        {TTL: time.Second},
		"script":     {ScriptArgs: []string{"a"}},
		"http":       {HTTP: "http://a"},
		"tcp":        {TCP: "a:1"},
		"udp":        {UDP: "a:1"},
		"grpc":       {GRPC: "a:1"},
		"h2ping":     {H2PING: "a:1"},
		"os_service": {OSService: "a"},
		"docker":     {DockerContainerID: "a", ScriptArgs: []string{"a"}},
		"alias":      {AliasService: "a"},
	} {
		if got := d.Type(); got != want {
			t.Errorf("%+v: type %q, want %q", d, got, want)
		}
	}
}
