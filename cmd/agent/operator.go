package main

import (
	"fmt"
	"strconv"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func operatorCommand() *cli.Command {
	return &cli.Command{
		Name:        "operator",
		Usage:       "Tools for those who run a cluster",
		Description: "Looks into the parts that keep a cluster together.",
		Subcommands: []*cli.Command{{
			Name:        "raft",
			Usage:       "Looks into the Raft quorum",
			Description: "Looks into the quorum of servers that keeps the catalog.",
			Subcommands: []*cli.Command{{
				Name:        "list-peers",
				Usage:       "Lists the servers of the Raft configuration",
				Description: "Lists the servers of the Raft configuration, and how far each is behind the leader.",
				Flags:       queryFlags(),
				Action:      listPeers,
			}, safeToStopCommand(), transferLeaderCommand(), removePeerCommand(), recoverCommand(), verifyCommand()},
		}, autopilotCommand(), usageCommand()},
	}
}

func listPeers(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	raft, err := client.Operator().RaftGetConfiguration(queryOptions(c))
	if err != nil {
		return failure("Error getting peers: Failed to retrieve raft configuration: %v", err)
	}
	fmt.Fprintln(c.App.Writer, peersTable(raft))
	return nil
}

// peersTable has a line for each server of a Raft configuration.
func peersTable(raft *consul.RaftConfiguration) string {
	var leader uint64
	for _, s := range raft.Servers {
		if s.Leader {
			leader = s.LastIndex
		}
	}
	rows := [][]string{{"Node", "ID", "Address", "State", "Voter", "RaftProtocol", "Commit Index", "Trails Leader By"}}
	for _, s := range raft.Servers {
		rows = append(rows, peerRow(s, leader))
	}
	return table(rows)
}

// peerRow is a server's row; leader is the leader's last index, 0 if unknown.
func peerRow(s *consul.RaftServer, leader uint64) []string {
	state, trail := "follower", "-"
	switch {
	case s.Leader:
		state = "leader"
	case leader > 0 && s.LastIndex > 0:
		behind := uint64(0)
		if leader > s.LastIndex {
			behind = leader - s.LastIndex
		}
		trail = fmt.Sprintf("%d commits", behind)
		if behind == 1 {
			trail = "1 commit"
		}
	}
	return []string{
		s.Node, s.ID, s.Address, state, strconv.FormatBool(s.Voter), s.ProtocolVersion,
		strconv.FormatUint(s.LastIndex, 10), trail,
	}
}
