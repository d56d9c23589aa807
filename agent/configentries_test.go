package agent

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"muster/catalog/configentry"
)

// An entry of a leader's files is written where there is none: what somebody has
// written in its place stays.
func TestConfigEntries_OfFilesAreWrittenWhereThereAreNone(t *testing.T) {
	c := newTestCluster(t)
	cfg := c.config(1)
	for _, body := range []string{`{"Kind":"service-defaults","Name":"web","Protocol":"http"}`, `{"Kind":"mesh"}`} {
		e, err := configentry.Decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		cfg.ConfigEntries = append(cfg.ConfigEntries, e)
	}
	server := c.start(cfg)
	shows := func(server *testAgent, path, want string) {
		t.Helper()
		eventually(t, path+" has "+want, func() error {
			status, body := operateWith(t, server, http.MethodGet, path, "")
			if status != http.StatusOK || !strings.Contains(body, want) {
				return fmt.Errorf("%d %s", status, body)
			}
			return nil
		})
	}
	shows(server, "/v1/config/service-defaults/web", `"Protocol":"http"`)
	shows(server, "/v1/config/mesh", `"Kind":"mesh"`)
	if status, body := operateWith(t, server, http.MethodPut, "/v1/config", `{"Kind":"service-defaults","Name":"web","Protocol":"grpc"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if status, body := operateWith(t, server, http.MethodDelete, "/v1/config/mesh/mesh", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	server.end()
	again := c.start(cfg)
	oneCluster(t, again)
	shows(again, "/v1/config/mesh", `"Kind":"mesh"`) // the last entry: those before it were looked at
	shows(again, "/v1/config/service-defaults/web", `"Protocol":"grpc"`)
}
