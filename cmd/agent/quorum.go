package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
)

func safeToStopCommand() *cli.Command {
	return &cli.Command{
		Name:  "safe-to-stop",
		Usage: "Says whether the cluster can go on while a server is stopped",
		Description: "Asks the leader whether the other servers can go on committing while one is stopped: whether a majority of the " +
			"voters would be left that answer, have caught up and have room on their disks. Without -id and -node it is about the " +
			"agent that is asked.\n\nExits with 0 if it is safe, with 1 if it is not or nobody can tell.",
		Flags: append(clientFlags(),
			&cli.StringFlag{Name: "id", Usage: "ID of the server"},
			&cli.StringFlag{Name: "node", Usage: "node name of the server"},
		),
		Action: safeToStop,
	}
}

// stopSafe is an element of the answer of /v1/operator/raft/stop-safe.
type stopSafe struct {
	ID     string
	Node   string
	Safe   bool
	Reason string
}

func safeToStop(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	id, node := c.String("id"), c.String("node")
	if id != "" && node != "" {
		return failure("Error: cannot give both an id and a node name")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	if id == "" && node == "" {
		self, err := client.Agent().Self()
		if err != nil {
			return failure("Error asking the agent for its ID: %v", err)
		}
		if id, _ = self["Config"]["NodeID"].(string); id == "" {
			return failure("Error: the agent doesn't tell its ID; give -id or -node")
		}
	}
	var servers []stopSafe
	if _, err := client.Raw().Query("/v1/operator/raft/stop-safe", &servers, queryOptions(c)); err != nil {
		return failure("Error asking whether it is safe: %v", err)
	}
	i := slices.IndexFunc(servers, func(s stopSafe) bool { return s.ID == id || s.Node == node })
	switch {
	case i < 0:
		return failure("Error: no server %q in the Raft configuration", cmp.Or(id, node))
	case !servers[i].Safe:
		return failure("Not safe to stop %s: %s", servers[i].Node, servers[i].Reason)
	}
	fmt.Fprintf(c.App.Writer, "Safe to stop %s: %s\n", servers[i].Node, servers[i].Reason)
	return nil
}

func transferLeaderCommand() *cli.Command {
	return &cli.Command{
		Name:        "transfer-leader",
		Usage:       "Hands leadership to another server",
		Description: "Has the leader hand leadership to another voter, by default to the one that has caught up best.",
		Flags:       append(queryFlags(), &cli.StringFlag{Name: "id", Usage: "ID of the server that is to lead"}),
		Action: func(c *cli.Context) error {
			if err := noArgs(c); err != nil {
				return err
			}
			client, err := newClient(c)
			if err != nil {
				return err
			}
			result, err := client.Operator().RaftLeaderTransfer(c.String("id"), queryOptions(c))
			if err != nil {
				return failure("Error transfering leadership: Failed to transfer leadership %v", err)
			}
			fmt.Fprintf(c.App.Writer, "Success: %v\n", result.Success)
			return nil
		},
	}
}

func removePeerCommand() *cli.Command {
	return &cli.Command{
		Name:  "remove-peer",
		Usage: "Takes a server out of the Raft configuration",
		Description: "Takes a server that is gone for good out of the Raft configuration. It is refused where too few sound servers would " +
			"remain. A server that is alive is added again: have it leave instead.",
		Flags: append(datacenterFlags(),
			&cli.StringFlag{Name: "id", Usage: "ID of the server"},
			&cli.StringFlag{Name: "address", Usage: "cluster address of the server, IP:port"},
		),
		Action: removePeer,
	}
}

func removePeer(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	id, address := c.String("id"), c.String("address")
	switch {
	case id == "" && address == "":
		return failure("Error removing peer: an address or id is required for the peer to remove")
	case id != "" && address != "":
		return failure("Error removing peer: cannot give both an address and id")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	if id != "" {
		err = client.Operator().RaftRemovePeerByID(id, nil)
	} else {
		err = client.Operator().RaftRemovePeerByAddress(address, nil)
	}
	switch {
	case err != nil:
		return failure("Error removing peer: %v", err)
	case id != "":
		fmt.Fprintf(c.App.Writer, "Removed peer with id %q\n", id)
	default:
		fmt.Fprintf(c.App.Writer, "Removed peer with address %q\n", address)
	}
	return nil
}
