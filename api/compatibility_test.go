package api_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	compatibilityDoc = "../docs/compatibility.md"
	elsewhereBegin   = "<!-- configuration: begin -->"
	elsewhereEnd     = "<!-- commands: end -->"
)

// TestCompatibility_DocIsCurrent makes the endpoints' part of the page from the
// route table and the list of Consul's endpoints, and compares it with what the
// page says. With -rewrite it writes the page.
func TestCompatibility_DocIsCurrent(t *testing.T) {
	old, err := os.ReadFile(compatibilityDoc)
	if err != nil && !*rewrite {
		t.Fatal(err)
	}
	page := compatibilityPage(t, elsewhere(string(old)))
	if *rewrite {
		if err := os.WriteFile(compatibilityDoc, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if page != string(old) {
		t.Errorf("%s is not what the route table says; run: go test ./api -run Compatibility -rewrite", compatibilityDoc)
	}
}

// elsewhere is the part of the page that is made elsewhere: of configuration keys
// by agent/config, of commands by cmd/agent.
func elsewhere(page string) string {
	_, rest, ok := strings.Cut(page, elsewhereBegin)
	section, _, closed := strings.Cut(rest, elsewhereEnd)
	if !ok || !closed {
		return "\n"
	}
	return section
}

func compatibilityPage(t *testing.T, config string) string {
	t.Helper()
	list, err := os.ReadFile("testdata/endpoints.list")
	if err != nil {
		t.Fatal(err)
	}
	routes := map[string]string{} // method and path to the line of documentation
	for _, r := range newRig(t).server.Routes() {
		if !strings.HasPrefix(r.Path, "/v1/test/") {
			routes[r.Method+" "+r.Path] = fmt.Sprintf("%s (%s)", r.Doc, r.Kind)
		}
	}
	var table strings.Builder
	here, later := 0, 0
	for line := range strings.Lines(string(list)) {
		area, endpoints, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			t.Fatalf("malformed line %q", line)
		}
		refused := ""
		if reason, ok := strings.CutPrefix(endpoints, "wont "); ok {
			refused, endpoints, _ = strings.Cut(reason, ": ")
		}
		fmt.Fprintf(&table, "\n### %s\n\n| endpoint | | |\n|---|---|---|\n", area)
		for e := range strings.SplitSeq(endpoints, "; ") {
			words := strings.Fields(e)
			path := words[len(words)-1]
			for _, method := range words[:len(words)-1] {
				name := method + " " + path
				state, doc := "not yet", ""
				switch said, is := routes[name]; {
				case is && refused != "":
					t.Errorf("%s is a route and listed as one that won't come", name)
				case is:
					state, doc = "here", said
					here++
				case refused != "":
					state, doc = "won't", refused
				default:
					later++
				}
				delete(routes, name)
				fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, state, doc)
			}
		}
	}
	for name := range routes {
		t.Errorf("%s is a route that testdata/endpoints.list does not have", name)
	}
	return fmt.Sprintf(`# Compatibility with Consul

What of Consul 1.21 is here, what is not yet, and what won't come. The part about
endpoints is made from the route table; a test keeps it true.

## Configuration keys and flags

%s%s%s

## HTTP endpoints

%d are here, %d not yet. An endpoint that is not here answers 404, as Consul does for
a path that it doesn't know.

Where Muster answers differently, and why:

- What is wrong with a request is always a 4xx; Consul answers some of it with
  500. A bad filter and an unknown datacenter stay 500, as clients look for that.
- Default reads are linearizable; in Consul a leader that was deposed a moment
  ago may answer with old data.
- A blocking query returns when its answer is different. Consul also returns
  where something else has moved its index.
- An answer that is sorted by `+"`?near=`"+` does not wake a blocking query because a
  node has moved; nodes without coordinates come last. An update of a coordinate
  takes effect at once, and one without `+"`Coord`"+` is refused.
- `+"`?cached`"+` changes nothing: every answer is kept, and current.
- DNS: docs/dns.md lists the differences; client agents answer from what they
  watch (`+"`dns_config.use_cache`"+` is true where Consul's is false).
- A write from a web page of another site is refused with 403, unless
  `+"`http_config.response_headers`"+` names its origin.
- A request over loopback for a name with dots that is no origin named there is
  answered with 421: a web page could have its own name resolve to 127.0.0.1.
- Beyond 2,048 requests under way, or 32,768 that wait, an answer is 503 with
  Retry-After; Consul has no such bound by default.
- Paths are matched as they were sent, so that keys keep their doubled slashes. What is no
  path of ours then is sent on with 307 to its cleaned form, as in Consul.
- A client agent that knows no server in reach waits for one as for a leader
  (`+"`performance.rpc_hold_timeout`"+`), and says then that there is no leader. Consul says at once
  that it knows no servers.
- A negative `+"`wait`"+` or `+"`max_stale`"+` is refused, and so is a bad one, or an unknown `+"`dc`"+`,
  where Consul doesn't look at it (`+"`/v1/catalog/datacenters`"+`). `+"`?sg`"+` is passed over.
- A compilation by `+"`POST /v1/discovery-chain`"+` answers at once, whatever its `+"`index`"+`.
- Consul's `+"`raft/peers.json`"+` keeps a server from starting, with a text that says
  what to do: `+"`muster operator raft recover`"+` (docs/operations.md).
- `+"`/v1/operator/keyring`"+` reaches the WAN pool and the LAN pool of this
  datacenter, by the leader; Consul passes it on to all datacenters.
- `+"`/v1/operator/usage`"+` counts this datacenter, also with `+"`?global`"+`, and has
  what is about the query in headers only.
- `+"`/v1/agent/metrics`"+` covers the agent's whole life, not the last ten seconds, and
  leaves the figures of an interval out.
- `+"`/v1/agent/metrics/stream`"+` begins at once, not at the end of an interval.
- `+"`/v1/exported-services`"+` takes `+"`filter`"+`, which Consul passes over.
- A check registered in the catalog with an unknown status is refused, and so is a
  write to a datacenter that can't be reached; Consul answers both with true.
- Docker and OS service checks are refused by name (Consul, too, runs the latter on
  Windows only). Aliases of services of one node that stand for each other recover
  together; Consul's hold each other critical.
- Two checks of one registration with the same ID are refused; Consul keeps the last.
- `+"`/v1/agent/health/service`"+` shows checks as `+"`/v1/agent/checks`"+` does.
- The index of a KV key or prefix is its own newest write or deletion; where Consul
  gives the index of the whole store for what is absent, it is the newest of the
  deletions that are forgotten. A query for `+"`?keys`"+` or `+"`?raw`"+` sleeps through
  writes that change neither. Keys keep their doubled slashes, and may hold NUL.
- Config entries are kept without `+"`Hash`"+`, and those of api-gateways and routes without
  `+"`Status`"+`: there is no data plane that these are bound to. A split's weight is from 0 to
  100. Two entries written at the same moment may contradict each other: the chain that
  they are part of says so when it is read.
- `+"`/v1/catalog/gateway-services`"+`: a service that a terminating gateway names keeps what
  is said of it there, also beside a wildcard; indexes are the gateway's entry's.
- `+"`?merge-central-config`"+` lists the upstreams that a transparent proxy is given sorted,
  behind its own. `+"`/v1/catalog/connect`"+` keeps the node's address then, where Consul loses it.
- `+"`/v1/connect/intentions/check`"+` goes by `+"`default_intention_policy`"+`, as authorize does;
  Consul's allows whatever that says.
- An intention keeps its ID, creation and metadata when another of its destination is
  set; Consul forgets them then. `+"`Hash`"+` is left out, and a namespace other than
  `+"`default`"+` refused, where Consul passes over it.
- `+"`/v1/connect/ca/configuration`"+` keeps and shows neither `+"`PrivateKey`"+` nor `+"`RootCert`"+`: the
  root is among the roots, and its key never leaves the servers (a backup has it, as
  Consul's does: keep it as you would the key). Unknown settings are refused, and other
  providers. Settings without a key leave the root as it is, unless they ask for another
  type or size. `+"`IntermediateCertTTL`"+` is how long an old root vouches for a new one: leaves
  are signed by the root itself. `+"`RotationPeriod`"+` has the root renewed so often; without
  it that happens shortly before it ends. Signing too fast is 429.
- A leaf's indexes count seconds. Its agent renews it when about two thirds of its time
  are over, as long as somebody has asked for it within the hour.
- `+"`/v1/agent/connect/authorize`"+` refuses certificates of another trust domain, which Consul
  lets pass, and is answered by the leader: an intention counts from the next connection.
- `+"`/v1/discovery-chain`"+`: virtual addresses are not given out. `+"`CustomizationHash`"+` is our own.
  All that a splitter leads to must speak its protocol; Consul lets one with a single split be.
- A session lives for twice its TTL without being renewed, as in Consul, and a new
  leader gives all sessions and lock-delays their time anew. A LockDelay below 10 ms is
  none. Setting a locked entry
  keeps its LockIndex. A negative LockDelay is refused, and so are unknown fields. What
  a session is given in `+"`Checks`"+` is shown in `+"`NodeChecks`"+`.
- A check has the tags that its service has now; in Consul those of when it was
  registered.
- A transaction that fails, or says what is so already, takes no log entry. What only
  reads is answered by any server, with the index that it has seen in `+"`Index`"+`, where
  Consul always has 1. An operation must name exactly one thing; Consul passes over
  `+"`{}`"+` and takes the first of several. `+"`Session`"+` with the verb `+"`delete`"+` is taken, which
  Consul's HTTP API refuses, and a service is deleted by its ID alone. An operation
  without permission refuses the whole transaction with 403. With a
  `+"`Namespace`"+` or `+"`Partition`"+` other than default it is 400.
- Snapshots: a restore goes through the log, and so happens on all servers or on none,
  also while servers fail; what is damaged is refused with 400 (Consul: 500) and changes
  nothing. Afterwards every `+"`ModifyIndex`"+` and every X-Consul-Index is that of the restore,
  which is above all that the cluster and the archive had: none goes back, and no old
  index fits a check-and-set. Sessions and lock-delays get their time anew. The
  archive has Consul's form, which its CLI saves, but the state in it is Muster's.
- Prepared queries: a template takes `+"`${name.full}`"+`, `+"`${name.prefix}`"+`, `+"`${name.suffix}`"+`,
  `+"`${match(N)}`"+` and `+"`${agent.segment}`"+` (always empty), and `+"`$$`"+`; no other expressions.
  `+"`${name.suffix}`"+` is cut off whatever the case of the prefix. Names have 512 bytes at
  most; a regular expression has 1,024, and 2,048 steps once compiled. `+"`Failover`"+` is kept
  and given back: there is no other datacenter to look in, so `+"`Failovers`"+` is 0. A query
  of a `+"`Peer`"+` is refused. An answer to `+"`execute`"+` or `+"`explain`"+` has its index and
  consistency in the headers, not once more in the body.
- Autopilot: `+"`ServerStabilizationTime`"+` is 0 by default (Consul 10s): a server gets its
  vote once rounds of replication have shown that it keeps up. Dead servers are
  removed where the rest can then bear more failures, so not the third of three;
  Consul goes down to two. `+"`RedundancyZoneTag`"+`, `+"`DisableUpgradeMigration`"+` and
  `+"`UpgradeVersionTag`"+` are Consul Enterprise's: kept and given back, nothing acts on
  them. Negative durations are refused.
- Filters also take `+"`any`"+` and `+"`all`"+`, and compare texts with `+"`is empty`"+` and `+"`in`"+`. Nodes have no
  `+"`PeerName`"+` and `+"`Partition`"+` to select by.
- A proxy's `+"`Expose.Checks`"+` is kept and given back; its checks get no `+"`ExposedPort`"+`, as there is no
  data plane that would listen there. Names of services may hold any characters.
%s`, elsewhereBegin, config, elsewhereEnd, here, later, table.String())
}
