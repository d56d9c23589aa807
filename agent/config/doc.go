// Package config turns configuration files and flags into one validated Config.
//
// Load reads everything that a Source names, in Consul's order: defaults (those
// of -dev where asked for), then files and directories as they were given, then
// -hcl fragments, then flags. A later scalar replaces an earlier one; lists and
// maps grow; of services and checks all are kept. What comes out is ready to
// use: addresses are IPs (go-sockaddr templates are resolved here), ports that
// are off are gone, durations are durations.
//
// # The table of keys
//
// Every key that Consul 1.21 knows is one row of a table (Keys): its path, its
// type, its flag, and whether Muster acts on it, takes it with one warning that
// names it, or refuses it with the reason. Decoding, unknown-key errors, flags
// and docs/compatibility.md all come from those rows, so that none of them can
// say what another doesn't.
//
// # Faults
//
// Load never stops at the first fault: its error joins all of them, each with
// file, line and key. It reads files and network interfaces, and nothing else;
// it starts no goroutine, and keeps nothing between calls, so a reload is a
// second Load. Secrets are of type Secret, which prints as "hidden".
package config
