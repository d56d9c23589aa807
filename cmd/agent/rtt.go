package main

import (
	"fmt"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"
	"github.com/urfave/cli/v2"
)

func rttCommand() *cli.Command {
	return &cli.Command{
		Name:      "rtt",
		Usage:     "Estimates the round trip time between nodes",
		ArgsUsage: "node1 [node2]",
		Description: `Estimates the round trip time between two nodes, or between one and the agent's own, by their network coordinates. With -wan, between two servers of whatever datacenters, named as members -wan names them.

    $ muster rtt n1 n2
    $ muster rtt -wan n1.dc1 n2.dc2`,
		Flags:  append(clientFlags(), &cli.BoolFlag{Name: "wan", Usage: "go by the coordinates that servers have among all datacenters"}),
		Action: estimateRTT,
	}
}

func estimateRTT(c *cli.Context) error {
	if n := c.NArg(); n < 1 || n > 2 {
		return misused(c, "One or two node names must be specified")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	names := []string{c.Args().First(), c.Args().Get(1)}
	if names[1] == "" {
		if names[1], err = ownName(client, c.Bool("wan")); err != nil {
			return failure("Unable to look up agent info: %v", err)
		}
	}
	at, which := lanCoordinate, "LAN"
	if c.Bool("wan") {
		at, which = wanCoordinate, "WAN"
	}
	var coords [2]*coordinate.Coordinate
	for i, name := range names {
		switch coords[i], err = at(client, name); {
		case err != nil:
			return err
		case coords[i] == nil:
			return failure("Could not find a coordinate for node %q", name)
		}
	}
	fmt.Fprintf(c.App.Writer, "Estimated %s <-> %s rtt: %.3f ms (using %s coordinates)\n",
		names[0], names[1], coords[0].DistanceTo(coords[1]).Seconds()*1000, which)
	return nil
}

// ownName is the name of the agent that is asked, in the LAN or in the WAN.
func ownName(client *consul.Client, wan bool) (string, error) {
	self, err := client.Agent().Self()
	if err != nil {
		return "", err
	}
	name, ok := self["Config"]["NodeName"].(string)
	dc, known := self["Config"]["Datacenter"].(string)
	switch {
	case !ok || !known:
		return "", fmt.Errorf("the agent does not name its node and datacenter")
	case wan:
		name += "." + dc
	}
	return name, nil
}

// lanCoordinate gives a node's coordinate, nil if it has none.
func lanCoordinate(client *consul.Client, name string) (*coordinate.Coordinate, error) {
	all, _, err := client.Coordinate().Nodes(nil)
	if err != nil {
		return nil, failure("Error getting coordinates: %v", err)
	}
	for _, e := range all {
		if e.Node == name {
			return e.Coord, nil
		}
	}
	return nil, nil
}

// wanCoordinate gives that of a server, named with its datacenter.
func wanCoordinate(client *consul.Client, name string) (*coordinate.Coordinate, error) {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return nil, failure("Node names must be specified as <node name>.<datacenter> with -wan")
	}
	all, err := client.Coordinate().Datacenters()
	if err != nil {
		return nil, failure("Error getting coordinates: %v", err)
	}
	for _, dc := range all {
		for _, e := range dc.Coordinates {
			if dc.Datacenter == name[dot+1:] && (e.Node == name || e.Node == name[:dot]) {
				return e.Coord, nil
			}
		}
	}
	return nil, nil
}
