package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Property 24: two servers with one ID or one address. The second is refused,
// by name, and the first goes on.
func TestServer_RefusesASecondOneOfItsIDOrAddress(t *testing.T) {
	const id = "11111111-2222-3333-4444-555555555555"
	c := newCluster(t)
	first := c.servers(1, "-node-id", id)[0].start()
	first.waitLeader()
	term := raftTerm(t, first)
	sameID := c.add("same-id", "-server", "-bootstrap-expect=1", "-node-id", id,
		"-retry-join", first.addr, "-retry-interval", "100ms", "-retry-max", "2")
	sameAddr := c.add("same-address", "-server", "-bootstrap-expect=1", "-bind", first.addr)
	for second, want := range map[*agent]string{sameID: first.name, sameAddr: first.addr} {
		second.start()
		if code := second.waitExit(20 * time.Second); code != 1 {
			t.Errorf("%s exits with %d, want 1", second.name, code)
		}
		if log := second.log.String(); !strings.Contains(log, want) {
			t.Errorf("%s does not name %s:\n%s", second.name, want, log)
		}
	}
	if !first.tryCatalogRegister("after") {
		t.Error("the first server takes no writes any more")
	}
	if now := raftTerm(t, first); now != term {
		t.Errorf("the first server went from term %s to %s", term, now)
	}
	if status, _, body := first.get("/v1/operator/raft/configuration"); status != http.StatusOK || strings.Count(body, `"Voter":true`) != 1 {
		t.Errorf("the quorum has changed: %d %s", status, body)
	}
}
