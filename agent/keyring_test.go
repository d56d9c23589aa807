package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"muster/agent/config"
	"muster/api/operatorapi"
	"muster/gossip"
)

const (
	oldKey = "kzsFzMtHXN0ScCWTeq0jSA=="
	newKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
)

// keyringOverHTTP asks an agent for an operation on the keys.
func keyringOverHTTP(a *testAgent, method, key string) (body string, status int, err error) {
	req, err := http.NewRequest(method, "http://"+a.cfg.HTTP[0].Address+"/v1/operator/keyring", strings.NewReader(fmt.Sprintf(`{"Key":%q}`, key)))
	if err != nil {
		return "", 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return string(answer), resp.StatusCode, err
}

// allEncryptWith waits until all members of both pools have a key, and only it.
func allEncryptWith(t *testing.T, asked *testAgent, key string, members int) {
	t.Helper()
	eventually(t, "all have the one key", func() error {
		body, status, err := keyringOverHTTP(asked, http.MethodGet, "")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("%d %s %v", status, body, err)
		}
		var pools []operatorapi.KeyReport
		if err := json.Unmarshal([]byte(body), &pools); err != nil {
			return err
		}
		for i, want := range []int{1, members} { // the WAN pool has the server only
			if len(pools) != 2 || pools[i].NumNodes != want || len(pools[i].Keys) != 1 || pools[i].Keys[key] != want || pools[i].PrimaryKeys[key] != want {
				return fmt.Errorf("the pools have %s", body)
			}
		}
		return nil
	})
}

// A key is replaced while all go on, by way of a client agent; who starts again
// has the new one, though its configuration names the old one.
func TestKeyring_IsReplacedWhileAllGoOn(t *testing.T) {
	c := newTestCluster(t)
	encrypted := func(cfg *config.Config) *config.Config {
		cfg.Encrypt = oldKey
		return cfg
	}
	server := c.start(encrypted(c.wanServer("dc1")))
	client := c.start(encrypted(c.config(0)))
	restartedCfg := encrypted(c.config(0))
	restarted := c.start(restartedCfg)
	allEncryptWith(t, client, oldKey, 3)

	refused := func(method, key, why string) {
		t.Helper()
		if body, status, err := keyringOverHTTP(client, method, key); err != nil || status != http.StatusInternalServerError || !strings.Contains(body, why) {
			t.Errorf("%s answers %d %s %v, want %s", method, status, body, err, why)
		}
	}
	refused(http.MethodPut, newKey, "3/3 nodes reported failure\n\t* agent-1: requested key is not in the keyring")
	refused(http.MethodPost, "MDEy", "key size must be 16, 24 or 32 bytes")
	for _, step := range []struct{ method, key string }{{http.MethodPost, newKey}, {http.MethodPut, newKey}, {http.MethodDelete, oldKey}} {
		if body, status, err := keyringOverHTTP(client, step.method, step.key); err != nil || status != http.StatusOK || body != "" {
			t.Fatalf("%s answers %d %q %v", step.method, status, body, err)
		}
	}
	allEncryptWith(t, client, newKey, 3)
	refused(http.MethodDelete, newKey, "removing the primary key is not allowed")

	restarted.end()
	eventually(t, "the server misses who stopped", func() error {
		for _, m := range server.pool.Members() {
			if m.Name == restartedCfg.NodeName && m.Status == gossip.StatusAlive {
				return fmt.Errorf("it is still alive to it")
			}
		}
		return nil
	})
	c.start(restartedCfg)
	allEncryptWith(t, client, newKey, 3)
}

func TestKeyring_SaysThatGossipIsNotEncrypted(t *testing.T) {
	c := newTestCluster(t)
	server := c.start(c.wanServer("dc1"))
	eventually(t, "a leader", func() error {
		body, status, err := keyringOverHTTP(server, http.MethodGet, "")
		if err == nil && strings.Contains(body, "No cluster leader") {
			return fmt.Errorf("%d %s", status, body)
		}
		return err
	})
	for method, why := range map[string]string{http.MethodGet: "Keyring is empty", http.MethodPost: "No keyring to modify", http.MethodPut: "No keyring to modify", http.MethodDelete: "No keyring to modify"} {
		want := fmt.Sprintf("4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* agent-1.dc1: %[1]s (encryption not enabled)\n\t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* agent-1: %[1]s (encryption not enabled)\n\n", why)
		body, status, err := keyringOverHTTP(server, method, newKey)
		if err != nil || status != http.StatusInternalServerError || strings.TrimSpace(body) != strings.TrimSpace(want) {
			t.Errorf("%s answers %d %q %v", method, status, body, err)
		}
	}
}
