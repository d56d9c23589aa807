package main

import (
	"fmt"
	"os"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

// apiFlags is the category of the flags that say which agent to ask, and how.
const apiFlags = "HTTP API Options"

// clientFlags are the flags of a command that asks an agent.
func clientFlags() []cli.Flag {
	text := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Name: name, Usage: usage, Category: apiFlags}
	}
	return []cli.Flag{
		text("http-addr", "address and port of the agent's HTTP API; default is CONSUL_HTTP_ADDR, else 127.0.0.1:8500"),
		text("token", "ACL token of the request; default is CONSUL_HTTP_TOKEN"),
		text("token-file", "file that holds the ACL token; default is CONSUL_HTTP_TOKEN_FILE"),
		text("ca-file", "CA certificate for an https address; default is CONSUL_CACERT"),
		text("ca-path", "directory of CA certificates; default is CONSUL_CAPATH"),
		text("client-cert", "client certificate; default is CONSUL_CLIENT_CERT"),
		text("client-key", "key of the client certificate; default is CONSUL_CLIENT_KEY"),
		text("tls-server-name", "name to expect in the server's certificate; default is CONSUL_TLS_SERVER_NAME"),
	}
}

// datacenterFlags are those of a command that may ask the servers of any datacenter.
func datacenterFlags() []cli.Flag {
	return append(clientFlags(),
		&cli.StringFlag{Name: "datacenter", Usage: "datacenter to ask; default is the agent's own", Category: apiFlags})
}

// queryFlags are those of a command that reads the catalog.
func queryFlags() []cli.Flag {
	return append(datacenterFlags(),
		&cli.BoolFlag{Name: "stale", Usage: "let any server answer, from what it knows by now", Category: apiFlags},
	)
}

// newClient makes a client from flags and environment.
func newClient(c *cli.Context) (*consul.Client, error) {
	cfg := consul.DefaultConfig()
	if os.Getenv(consul.HTTPAddrEnvName) == "" {
		cfg.Address = "127.0.0.1:8500" // agents listen there; the client's "localhost" may be ::1
	}
	for name, to := range map[string]*string{
		"http-addr": &cfg.Address, "token": &cfg.Token, "token-file": &cfg.TokenFile,
		"ca-file": &cfg.TLSConfig.CAFile, "ca-path": &cfg.TLSConfig.CAPath,
		"client-cert": &cfg.TLSConfig.CertFile, "client-key": &cfg.TLSConfig.KeyFile,
		"tls-server-name": &cfg.TLSConfig.Address, "datacenter": &cfg.Datacenter,
	} {
		if v := c.String(name); v != "" {
			*to = v
		}
	}
	client, err := consul.NewClient(cfg)
	if err != nil {
		return nil, failure("Error connecting to Consul agent: %v", err)
	}
	return client, nil
}

func queryOptions(c *cli.Context) *consul.QueryOptions {
	return &consul.QueryOptions{AllowStale: c.Bool("stale"), Filter: c.String("filter"), Near: c.String("near")}
}

// pairs reads repeated key=value flags.
func pairs(flag string, values []string) (map[string]string, error) {
	m := map[string]string{}
	for _, v := range values {
		key, value, ok := strings.Cut(v, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("-%s %q must have the form key=value", flag, v)
		}
		m[key] = value
	}
	return m, nil
}
