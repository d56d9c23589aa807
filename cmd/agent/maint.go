package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/catalog"
)

func maintCommand() *cli.Command {
	return &cli.Command{
		Name:  "maint",
		Usage: "Takes a node or a service out of use for a while",
		Description: `Puts the agent's node, or one of its services, into maintenance: a critical check keeps it out of DNS and of queries for what is passing. It lasts until it is disabled, whatever is restarted. Without -enable and -disable it shows what is in maintenance.

    $ muster maint -enable -service=web -reason="new certificate"`,
		Flags: append(clientFlags(),
			&cli.BoolFlag{Name: "disable", Usage: "end the maintenance"},
			&cli.BoolFlag{Name: "enable", Usage: "begin the maintenance"},
			&cli.StringFlag{Name: "reason", Usage: "why, for people"},
			&cli.StringFlag{Name: "service", Usage: "ID of a service of this agent; default is the whole node"}),
		Action: maintain,
	}
}

func maintain(c *cli.Context) error {
	enable, disable, service, reason := c.Bool("enable"), c.Bool("disable"), c.String("service"), c.String("reason")
	switch {
	case enable && disable:
		return failure("Only one of -enable or -disable may be provided")
	case !enable && reason != "":
		return failure("Reason may only be provided with -enable")
	case !enable && !disable && service != "":
		return failure("Service requires either -enable or -disable")
	case !enable && !disable:
		return showMaintenance(c)
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	what, state := "node", "disabled"
	if service != "" {
		what = "service"
	}
	if enable {
		state = "enabled"
	}
	switch agent := client.Agent(); {
	case enable && service != "":
		err = agent.EnableServiceMaintenance(service, reason)
	case enable:
		err = agent.EnableNodeMaintenance(reason)
	case service != "":
		err = agent.DisableServiceMaintenance(service)
	default:
		err = agent.DisableNodeMaintenance()
	}
	switch {
	case err != nil:
		return failure("Error %s %s maintenance: %v", strings.TrimSuffix(state, "ed")+"ing", what, err)
	case service != "":
		fmt.Fprintf(c.App.Writer, "Service maintenance is now %s for %q\n", state, service)
	default:
		fmt.Fprintf(c.App.Writer, "Node maintenance is now %s\n", state)
	}
	return nil
}

// showMaintenance lists what is in maintenance.
func showMaintenance(c *cli.Context) error {
	client, err := newClient(c)
	if err != nil {
		return err
	}
	node, err := client.Agent().NodeName()
	if err != nil {
		return failure("Error querying Consul agent: %v", err)
	}
	checks, err := client.Agent().Checks()
	if err != nil {
		return failure("Error getting checks: %v", err)
	}
	for _, id := range slices.Sorted(maps.Keys(checks)) {
		switch {
		case id == catalog.NodeMaintenance:
			fmt.Fprintf(c.App.Writer, "Node:\n  Name:   %s\n  Reason: %s\n\n", node, checks[id].Notes)
		case strings.HasPrefix(id, catalog.ServiceMaintenancePrefix):
			fmt.Fprintf(c.App.Writer, "Service:\n  ID:     %s\n  Reason: %s\n\n", checks[id].ServiceID, checks[id].Notes)
		}
	}
	return nil
}
