package checks

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
	TypeMaintenance = "maintenance"
)

// Type names the type of check that d describes, "" if none.
func (d *Definition) Type() string { return "" }

// Validate says what is wrong with a definition, nil if nothing. Its error is a
// *catalog.Error of kind Invalid.
func (d *Definition) Validate() error { return nil }
