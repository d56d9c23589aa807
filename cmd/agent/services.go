package main

import (
	"fmt"
	"net"
	"reflect"
	"strconv"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"

	"muster/agent/checks"
	"muster/agent/config"
	"muster/catalog"
)

func servicesCommand() *cli.Command {
	return &cli.Command{
		Name:  "services",
		Usage: "Registers, deregisters and exports services",
		Description: `Registers services with an agent, removes them, and lets other clusters use them.

    $ muster services register web.hcl
    $ muster services deregister -id=web`,
		Subcommands: []*cli.Command{servicesRegister(), servicesDeregister(), servicesExport(), servicesExported()},
	}
}

func servicesRegister() *cli.Command {
	return &cli.Command{
		Name:      "register",
		Usage:     "Registers services with an agent",
		ArgsUsage: "[FILE...]",
		Description: `Registers services with an agent: those of the given configuration files, HCL or JSON, or one that flags describe. The agent keeps it until it is deregistered.

    $ muster services register web.json
    $ muster services register -name=web -port=8080 -tag=v1`,
		Flags: append(queryFlags(),
			&cli.StringFlag{Name: "id", Usage: "ID of the service; default is its name"},
			&cli.StringFlag{Name: "name", Usage: "name of the service"},
			&cli.StringFlag{Name: "kind", Usage: "kind of the service, such as connect-proxy"},
			&cli.StringFlag{Name: "address", Usage: "address of the service; default is that of its node"},
			&cli.IntFlag{Name: "port", Usage: "port of the service"},
			&cli.StringFlag{Name: "socket", Usage: "path of the service's Unix socket, instead of address and port"},
			&cli.StringSliceFlag{Name: "tag", Usage: "tag of the service; may be repeated"},
			&cli.StringSliceFlag{Name: "meta", Usage: "metadata of the service, key=value; may be repeated"},
			&cli.StringSliceFlag{Name: "tagged-address", Usage: "named address of the service, name=host:port; may be repeated"}),
		Action: registerServices,
	}
}

func registerServices(c *cli.Context) error {
	var bodies []map[string]any
	switch name := c.String("name"); {
	case name == "" && c.NArg() == 0:
		return failure("Service registration requires at least one argument or flags.")
	case name != "" && c.NArg() > 0:
		return failure("Service registration requires arguments or -id, not both.")
	case name != "":
		svc, err := serviceFromFlags(c)
		if err != nil {
			return err
		}
		bodies = append(bodies, registration(svc, nil, ""))
	default:
		found, err := config.Definitions(inputs(c.Args().Slice(), ""))
		if err != nil {
			return failure("Error: %v", err)
		}
		for _, d := range found.Services {
			bodies = append(bodies, registration(d.Service, d.Checks, d.Token))
		}
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	for _, body := range bodies {
		// The client's own registration lacks fields that files have.
		if _, err := client.Raw().Write("/v1/agent/service/register", body, nil, &consul.WriteOptions{}); err != nil {
			return failure("Error registering service %q: %v", body["Name"], err)
		}
		fmt.Fprintf(c.App.Writer, "Registered service: %s\n", body["Name"])
	}
	return nil
}

func serviceFromFlags(c *cli.Context) (catalog.Service, error) {
	svc := catalog.Service{
		ID: c.String("id"), Service: c.String("name"), Kind: c.String("kind"), Address: c.String("address"),
		Port: c.Int("port"), SocketPath: c.String("socket"), Tags: c.StringSlice("tag"),
	}
	var err error
	if svc.Meta, err = pairs("meta", c.StringSlice("meta")); err != nil {
		return svc, err
	}
	named, err := pairs("tagged-address", c.StringSlice("tagged-address"))
	if err != nil {
		return svc, err
	}
	for name, addr := range named {
		a, err := serviceAddress(addr)
		if err != nil {
			return svc, fmt.Errorf("-tagged-address %s: %w", name, err)
		}
		if svc.TaggedAddresses == nil {
			svc.TaggedAddresses = map[string]catalog.ServiceAddress{}
		}
		svc.TaggedAddresses[name] = a
	}
	return svc, nil
}

// serviceAddress reads host:port, or host alone.
func serviceAddress(text string) (catalog.ServiceAddress, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return catalog.ServiceAddress{Address: text}, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return catalog.ServiceAddress{}, fmt.Errorf("%q is no port", port)
	}
	return catalog.ServiceAddress{Address: host, Port: int(n)}, nil
}

// registration is the body of a request to register a service: all that is not
// left at its zero value.
func registration(svc catalog.Service, defs []checks.Definition, token string) map[string]any {
	body := nonZero(svc)
	delete(body, "Service")
	body["Name"] = svc.Service
	if token != "" {
		body["Token"] = token
	}
	var list []map[string]any
	for _, d := range defs {
		list = append(list, nonZero(d))
	}
	if list != nil {
		body["Checks"] = list
	}
	return body
}

// nonZero gives the fields of a struct that are not zero, by their JSON names.
func nonZero(v any) map[string]any {
	fields := map[string]any{}
	value := reflect.ValueOf(v)
	for i := range value.NumField() {
		if f := value.Type().Field(i); !f.Anonymous && !value.Field(i).IsZero() {
			fields[f.Name] = value.Field(i).Interface()
		}
	}
	return fields
}

func servicesDeregister() *cli.Command {
	return &cli.Command{
		Name:        "deregister",
		Usage:       "Deregisters services from an agent",
		ArgsUsage:   "[FILE...]",
		Description: "Removes services from the agent they were registered with: those of the given configuration files, or the one with the given ID.",
		Flags:       append(queryFlags(), &cli.StringFlag{Name: "id", Usage: "ID of the service"}),
		Action: func(c *cli.Context) error {
			ids, err := idsToDeregister(c)
			if err != nil {
				return err
			}
			client, err := newClient(c)
			if err != nil {
				return err
			}
			for _, id := range ids {
				if err := client.Agent().ServiceDeregister(id); err != nil {
					return failure("Error deregistering service %q: %v", id, err)
				}
				fmt.Fprintf(c.App.Writer, "Deregistered service: %s\n", id)
			}
			return nil
		},
	}
}

func idsToDeregister(c *cli.Context) ([]string, error) {
	id := c.String("id")
	switch {
	case id == "" && c.NArg() == 0:
		return nil, failure("Service deregistration requires at least one argument or -id.")
	case id != "" && c.NArg() > 0:
		return nil, failure("Service deregistration requires arguments or -id, not both.")
	case id != "":
		return []string{id}, nil
	}
	found, err := config.Definitions(inputs(c.Args().Slice(), ""))
	if err != nil {
		return nil, failure("Error: %v", err)
	}
	var ids []string
	for _, d := range found.Services {
		svc := d.Service
		svc.Normalize() // the ID defaults to the name
		ids = append(ids, svc.ID)
	}
	return ids, nil
}
