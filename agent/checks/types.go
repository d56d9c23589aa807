package checks

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"muster/catalog"
)

// The types of checks, as the catalog and the API name them.
const (
	TypeTTL         = "ttl"
	TypeScript      = "script"
	TypeHTTP        = "http"
	TypeTCP         = "tcp"
	TypeUDP         = "udp"
	TypeGRPC        = "grpc"
	TypeH2PING      = "h2ping"
	TypeOSService   = "os_service"
	TypeDocker      = "docker"
	TypeAlias       = "alias"
	TypeMaintenance = "maintenance" // kept by package local; never run
)

// probe asks once how the watched thing is. It returns when ctx ends.
type probe func(ctx context.Context) (status, output string)

// kind is one type of check.
type kind struct {
	name string
	// field is how an operator calls it.
	field string
	// is says whether a definition describes a check of this type.
	is func(d *Definition) bool
	// build makes the probe of a valid definition; nil where this agent cannot run such checks.
	build func(d Definition, cfg Config) probe
}

// kinds are the types of checks that are asked on an interval, and aliases, which
// are asked when the catalog changes; an alias of something on the agent's own
// node package local follows by itself. A definition that fits none of them is a
// TTL check.
var kinds = []kind{
	{TypeScript, "Script", func(d *Definition) bool { return len(d.ScriptArgs) > 0 && d.DockerContainerID == "" }, newScript},
	{TypeHTTP, "HTTP", func(d *Definition) bool { return d.HTTP != "" }, newHTTP},
	{TypeTCP, "TCP", func(d *Definition) bool { return d.TCP != "" }, newTCP},
	{TypeUDP, "UDP", func(d *Definition) bool { return d.UDP != "" }, newUDP},
	{TypeGRPC, "GRPC", func(d *Definition) bool { return d.GRPC != "" }, newGRPC},
	{TypeH2PING, "H2PING", func(d *Definition) bool { return d.H2PING != "" }, newH2PING},
	{TypeOSService, "OSService", func(d *Definition) bool { return d.OSService != "" }, nil},
	{TypeDocker, "Docker", func(d *Definition) bool { return d.DockerContainerID != "" && len(d.ScriptArgs) > 0 }, nil},
	{TypeAlias, "Alias", (*Definition).IsAlias, newRemoteAlias},
}

// described lists the types of interval checks that a definition describes.
func (d *Definition) described() []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool { return !k.is(d) })
}

// Type names the type of check that d describes, the first where it describes
// several, which Validate refuses.
func (d *Definition) Type() string {
	if ks := d.described(); len(ks) > 0 {
		return ks[0].name
	}
	return TypeTTL
}

// Validate says what is wrong with a definition, nil if nothing. Its error is a
// *catalog.Error of kind Invalid.
func (d *Definition) Validate() error {
	if err := d.validateType(); err != nil {
		return err
	}
	switch {
	case !validStatus(d.Status) && d.Status != "":
		return invalid("Bad check status %q: must be 'passing', 'warning' or 'critical'", d.Status)
	case d.OutputMaxSize < 0:
		return invalid("Invalid check: MaxOutputMaxSize must be positive")
	case d.SuccessBeforePassing < 0 || d.FailuresBeforeWarning < 0 || d.FailuresBeforeCritical < 0:
		return invalid("Invalid check: SuccessBeforePassing, FailuresBeforeWarning and FailuresBeforeCritical can't be negative")
	case d.FailuresBeforeWarning > d.FailuresBeforeCritical:
		return invalid("Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical")
	case d.Timeout < 0:
		return invalid("Invalid check: Timeout can't be negative")
	case d.DeregisterCriticalServiceAfter < 0:
		return invalid("Invalid check: DeregisterCriticalServiceAfter can't be negative")
	case d.HTTP != "":
		return d.validateHTTP()
	}
	grpc, _ := splitGRPC(d.GRPC)
	for field, addr := range map[string]string{"TCP": d.TCP, "UDP": d.UDP, "GRPC": grpc, "H2PING": d.H2PING} {
		if addr == "" && !(field == "GRPC" && d.GRPC != "") {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return invalid("Invalid check: %s %q must be host:port: %v", field, addr, err)
		}
	}
	return nil
}

// validateType checks that exactly one type is described, with the times it needs.
func (d *Definition) validateType() error {
	ks := d.described()
	switch {
	case len(ks) > 1:
		return invalid("Invalid check: %s and %s are two types of check; register one check for each", ks[0].field, ks[1].field)
	case len(ks) == 0 && d.TTL <= 0:
		return invalid("Invalid check: TTL must be > 0 for TTL checks")
	case len(ks) == 0 && d.Interval > 0:
		return invalid("Invalid check: Interval and TTL cannot both be specified")
	case len(ks) == 0:
		return nil
	case ks[0].build == nil:
		return invalid("Invalid check: %s checks are not supported by this agent; a Script check can do the same", ks[0].field)
	case ks[0].name == TypeAlias && d.TTL != 0:
		return invalid("Invalid check: TTL must be not be set for Alias checks")
	case ks[0].name == TypeAlias:
		return nil // asked when what it stands for changes
	case d.Interval <= 0:
		return invalid("Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")
	case d.TTL != 0:
		return invalid("Invalid check: Interval and TTL cannot both be specified")
	}
	return nil
}

// validateHTTP refuses what could make the agent send anything but one plain
// HTTP request: other schemes, and methods or headers that hold line breaks.
func (d *Definition) validateHTTP() error {
	u, err := url.Parse(d.HTTP)
	if err != nil {
		return invalid("Invalid check: HTTP %q is not a URL: %v", d.HTTP, err)
	}
	if s := strings.ToLower(u.Scheme); s != "http" && s != "https" || u.Host == "" {
		return invalid("Invalid check: HTTP %q must be a URL that begins with http:// or https:// and names a host", d.HTTP)
	}
	if _, err := http.NewRequest(d.Method, d.HTTP, nil); err != nil {
		return invalid("Invalid check: Method %q: %v", d.Method, err)
	}
	for name, values := range d.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return invalid("Invalid check: Header name %q contains invalid characters", name)
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return invalid("Invalid check: the value of Header %q contains invalid characters", name)
			}
		}
	}
	return nil
}

func validStatus(s string) bool {
	return s == catalog.StatusPassing || s == catalog.StatusWarning || s == catalog.StatusCritical
}

func invalid(format string, args ...any) error {
	return catalog.Errorf(catalog.Invalid, format, args...)
}
