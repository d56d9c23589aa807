package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func catalogCommand() *cli.Command {
	return &cli.Command{
		Name:  "catalog",
		Usage: "Reads the catalog",
		Description: `Reads the catalog: what all agents have registered.

    $ muster catalog nodes
    $ muster catalog services`,
		Subcommands: []*cli.Command{catalogDatacenters(), catalogNodes(), catalogServices()},
	}
}

func catalogDatacenters() *cli.Command {
	return &cli.Command{
		Name:        "datacenters",
		Usage:       "Lists all known datacenters",
		Description: "Lists all datacenters that the asked agent knows.",
		Flags:       queryFlags(),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			client, err := newClient(c)
			if err != nil {
				return err
			}
			all, err := client.Catalog().Datacenters()
			if err != nil {
				return failure("Error listing datacenters: %v", err)
			}
			for _, dc := range all {
				fmt.Fprintln(c.App.Writer, dc)
			}
			return nil
		},
	}
}

func catalogNodes() *cli.Command {
	return &cli.Command{
		Name:  "nodes",
		Usage: "Lists all nodes in a datacenter",
		Description: `Lists the nodes in the catalog.

    $ muster catalog nodes -detailed
    $ muster catalog nodes -service=web
    $ muster catalog nodes -node-meta=rack=a1`,
		Flags: append(queryFlags(),
			&cli.BoolFlag{Name: "detailed", Usage: "whole IDs, tagged addresses and metadata too"},
			&cli.StringFlag{Name: "service", Usage: "only nodes that have this service"},
			&cli.StringFlag{Name: "near", Usage: "sort by estimated round-trip time from this node; _agent is the asked agent's"},
			&cli.StringSliceFlag{Name: "node-meta", Usage: "only nodes with this metadata, key=value; may be repeated"},
			&cli.StringFlag{Name: "filter", Usage: "only nodes that match this filter expression"}),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			nodes, err := listNodes(c)
			if err != nil {
				return err
			}
			if len(nodes) == 0 {
				fmt.Fprintln(c.App.ErrWriter, "No nodes match the given query - try expanding your search.")
				return nil
			}
			fmt.Fprintln(c.App.Writer, nodeTable(nodes, c.Bool("detailed")))
			return nil
		},
	}
}

func listNodes(c *cli.Context) ([]*consul.Node, error) {
	meta, err := pairs("node-meta", c.StringSlice("node-meta"))
	if err != nil {
		return nil, err
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	opts := queryOptions(c)
	opts.NodeMeta = meta
	service := c.String("service")
	if service == "" {
		nodes, _, err := client.Catalog().Nodes(opts)
		if err != nil {
			return nil, failure("Error listing nodes: %v", err)
		}
		return nodes, nil
	}
	instances, _, err := client.Catalog().Service(service, "", opts)
	if err != nil {
		return nil, failure("Error listing nodes: %v", err)
	}
	var nodes []*consul.Node
	seen := map[string]bool{}
	for _, i := range instances {
		if !seen[i.Node] {
			seen[i.Node] = true
			nodes = append(nodes, &consul.Node{
				ID: i.ID, Node: i.Node, Address: i.Address, Datacenter: i.Datacenter,
				TaggedAddresses: i.TaggedAddresses, Meta: i.NodeMeta,
			})
		}
	}
	return nodes, nil
}

func nodeTable(nodes []*consul.Node, detailed bool) string {
	rows := [][]string{{"Node", "ID", "Address", "DC"}}
	if detailed {
		rows[0] = append(rows[0], "TaggedAddresses", "Meta")
	}
	for _, n := range nodes {
		row := []string{n.Node, n.ID, n.Address, n.Datacenter}
		if detailed {
			row = append(row, keysAndValues(n.TaggedAddresses, ", "), keysAndValues(n.Meta, ", "))
		} else {
			row[1], _, _ = strings.Cut(n.ID, "-")
		}
		rows = append(rows, row)
	}
	return table(rows)
}

func catalogServices() *cli.Command {
	return &cli.Command{
		Name:  "services",
		Usage: "Lists all services in a datacenter",
		Description: `Lists the services in the catalog.

    $ muster catalog services -tags
    $ muster catalog services -node=web-1`,
		Flags: append(queryFlags(),
			&cli.StringFlag{Name: "node", Usage: "only services of this node, by name or ID"},
			&cli.BoolFlag{Name: "tags", Usage: "show the tags of each service"},
			&cli.StringSliceFlag{Name: "node-meta", Usage: "only services of nodes with this metadata, key=value; may be repeated"},
			&cli.StringFlag{Name: "filter", Usage: "only services that match this filter expression"}),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			services, err := listServices(c)
			if err != nil {
				return err
			}
			if len(services) == 0 {
				fmt.Fprintln(c.App.ErrWriter, "No services match the given query - try expanding your search.")
				return nil
			}
			var rows [][]string
			for _, name := range slices.Sorted(maps.Keys(services)) {
				row := []string{name}
				if c.Bool("tags") {
					tags := slices.Clone(services[name])
					slices.Sort(tags)
					row = append(row, strings.Join(slices.Compact(tags), ","))
				}
				rows = append(rows, row)
			}
			fmt.Fprintln(c.App.Writer, table(rows))
			return nil
		},
	}
}

// listServices gives the tags of each service.
func listServices(c *cli.Context) (map[string][]string, error) {
	meta, err := pairs("node-meta", c.StringSlice("node-meta"))
	if err != nil {
		return nil, err
	}
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	opts := queryOptions(c)
	opts.NodeMeta = meta
	node := c.String("node")
	if node == "" {
		services, _, err := client.Catalog().Services(opts)
		if err != nil {
			return nil, failure("Error listing services: %v", err)
		}
		return services, nil
	}
	found, _, err := client.Catalog().Node(node, opts)
	if err != nil {
		return nil, failure("Error listing services: %v", err)
	}
	services := map[string][]string{}
	if found != nil {
		for _, s := range found.Services {
			services[s.Service] = append(services[s.Service], s.Tags...)
		}
	}
	return services, nil
}
