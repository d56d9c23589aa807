package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/consul-template/config"
	"github.com/hashicorp/consul-template/manager"
	consul "github.com/hashicorp/consul/api"
)

const page = `{{range services}}{{.Name}} {{end}}
{{range service "web"}}{{.Node}} {{.Address}}:{{.Port}} {{.Tags | join ","}} {{.Status}}
{{end}}{{range service "v1.web|any"}}any {{.ID}}
{{end}}{{range nodes}}node {{.Node}}
{{end}}{{range datacenters}}dc {{.}}
{{end}}`

// consul-template renders what is registered, and again as soon as it changes.
func TestConsulTemplate(t *testing.T) {
	a := startAgents(t)
	register(t, a.client, "web1", "web", 80, "v1")
	for name, agent := range a.both() {
		t.Run(name, func(t *testing.T) {
			file := render(t, agent)
			rendered := func(want string) {
				t.Helper()
				eventually(t, "the page", func() error {
					if got, err := os.ReadFile(file); err != nil || string(got) != want {
						return fmt.Errorf("got %q (%v)\nwant %q", got, err, want)
					}
					return nil
				})
			}
			rest := "any web1\nnode client\nnode server\ndc dc1\n"
			rendered("consul web \nclient 192.0.2.1:80 v1 passing\n" + rest)
			setHealth(t, a.client, "web1", consul.HealthCritical)
			rendered("consul web \n" + rest)
			setHealth(t, a.client, "web1", consul.HealthPassing)
			rendered("consul web \nclient 192.0.2.1:80 v1 passing\n" + rest)
		})
	}
}

// render runs consul-template until the test ends and gives the file it writes.
func render(t *testing.T, agent *consul.Client) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page")
	address, err := agentAddress(agent)
	if err != nil {
		t.Fatal(err)
	}
	c := config.DefaultConfig()
	c.Consul.Address = config.String(address)
	contents := page
	c.Templates = &config.TemplateConfigs{{Contents: &contents, Destination: &file}}
	c.Finalize()
	r, err := manager.NewRunner(c, false)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); r.Start() }()
	t.Cleanup(func() { r.StopImmediately(); <-done })
	return file
}

// agentAddress is where an agent serves HTTP, by its own account.
func agentAddress(c *consul.Client) (string, error) {
	self, err := c.Agent().Self()
	if err != nil {
		return "", err
	}
	addr, ok := self["Member"]["Addr"].(string)
	if !ok {
		return "", fmt.Errorf("the agent has no address: %v", self["Member"])
	}
	return addr + ":8500", nil
}
