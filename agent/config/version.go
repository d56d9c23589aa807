package config

import "runtime/debug"

// Version is Muster's own version. Release builds set it with
// -ldflags "-X muster/agent/config.Version=1.2.3".
var Version = "0.1.0-dev"

// CompatVersion is the version of Consul whose clients and tools may take this
// agent for it: what `version -format=json` and each node's consul-version say.
const CompatVersion = "1.21.4"

// Revision is the commit this binary was built from, "" where the build doesn't
// know it.
func Revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value
		}
	}
	return ""
}
