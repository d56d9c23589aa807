package main

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/ryanuber/columnize"
	"github.com/urfave/cli/v2"
)

func membersCommand() *cli.Command {
	return &cli.Command{
		Name:        "members",
		Usage:       "Lists the members of a cluster",
		Description: "Lists the members of the cluster as the asked agent knows them. Ends with 2 where none matches.",
		Flags: append(clientFlags(),
			&cli.BoolFlag{Name: "detailed", Usage: "show all tags of each member"},
			&cli.StringFlag{Name: "status", Usage: "only members whose status matches this regular expression", Value: ".*"},
			&cli.StringFlag{Name: "filter", Usage: "only members that match this filter expression"},
			&cli.BoolFlag{Name: "wan", Usage: "the servers of all datacenters, as a server knows them"},
		),
		Action: members,
	}
}

func members(c *cli.Context) error {
	status, err := regexp.Compile(c.String("status"))
	if err != nil {
		return failure("Failed to compile status regexp: %v", err)
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	all, err := client.Agent().MembersOpts(consul.MembersOpts{WAN: c.Bool("wan"), Segment: consul.AllSegments, Filter: c.String("filter")})
	if err != nil {
		return failure("Error retrieving members: %v", err)
	}
	if c.Bool("wan") && len(all) == 0 {
		return cli.Exit("This agent is not in the WAN pool: only servers are, and only with a port for it (ports.serf_wan)", exitNothing)
	}
	all = slices.DeleteFunc(all, func(m *consul.AgentMember) bool { return !status.MatchString(memberStatus(m)) })
	if len(all) == 0 {
		return cli.Exit("", exitNothing)
	}
	slices.SortFunc(all, func(a, b *consul.AgentMember) int {
		return cmp.Or(strings.Compare(segment(a), segment(b)), strings.Compare(a.Name, b.Name))
	})
	columns, row := "Node|Address|Status|Type|Build|Protocol|DC|Partition|Segment", memberRow
	if c.Bool("detailed") {
		columns, row = "Node|Address|Status|Tags", detailedMemberRow
	}
	rows := [][]string{strings.Split(columns, "|")}
	for _, m := range all {
		rows = append(rows, row(m))
	}
	fmt.Fprintln(c.App.Writer, table(rows))
	return nil
}

func memberRow(m *consul.AgentMember) []string {
	kind := "unknown"
	switch m.Tags["role"] {
	case "consul":
		kind = "server"
	case "node":
		kind = "client"
	}
	build, _, _ := strings.Cut(m.Tags["build"], ":")
	return []string{m.Name, memberAddr(m), memberStatus(m), kind, build, m.Tags["vsn"], m.Tags["dc"], partition(m), segment(m)}
}

func detailedMemberRow(m *consul.AgentMember) []string {
	return []string{m.Name, memberAddr(m), memberStatus(m), keysAndValues(m.Tags, ",")}
}

func memberAddr(m *consul.AgentMember) string {
	return net.JoinHostPort(m.Addr, strconv.Itoa(int(m.Port)))
}

func memberStatus(m *consul.AgentMember) string {
	names := []string{"none", "alive", "leaving", "left", "failed"}
	if m.Status >= 0 && m.Status < len(names) {
		return names[m.Status]
	}
	return "unknown"
}

func partition(m *consul.AgentMember) string { return cmp.Or(m.Tags["ap"], "default") }

// segment is that of a client, or all of them for a server.
func segment(m *consul.AgentMember) string {
	switch {
	case m.Tags["segment"] != "":
		return m.Tags["segment"]
	case m.Tags["role"] == "consul":
		return "<all>"
	default:
		return "<default>"
	}
}

// table aligns rows in columns.
func table(rows [][]string) string {
	const separator = "\x1f" // in no name or tag
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = strings.Join(r, separator)
	}
	return columnize.Format(lines, &columnize.Config{Delim: separator})
}

// keysAndValues gives key=value of a map in the order of keys.
func keysAndValues(m map[string]string, separator string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		all = append(all, k+"="+m[k])
	}
	return strings.Join(all, separator)
}

func joinCommand() *cli.Command {
	return &cli.Command{
		Name:        "join",
		Usage:       "Tells an agent to join a cluster",
		ArgsUsage:   "address ...",
		Description: "Tells a running agent to join a cluster by at least one of its members, given as host or host:port.",
		Flags: append(clientFlags(),
			&cli.BoolFlag{Name: "wan", Usage: "join a server to one of another datacenter"}),
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return cli.Exit("At least one address to join must be specified.\n\n"+c.Command.CustomHelpTemplate, exitFailed)
			}
			client, err := newClient(c)
			if err != nil {
				return err
			}
			joined := 0
			for _, addr := range c.Args().Slice() {
				if err := client.Agent().Join(addr, c.Bool("wan")); err != nil {
					fmt.Fprintf(c.App.ErrWriter, "Error joining address '%s': %s\n", addr, err)
				} else {
					joined++
				}
			}
			if joined == 0 {
				return cli.Exit("Failed to join any nodes.", exitFailed)
			}
			fmt.Fprintf(c.App.Writer, "Successfully joined cluster by contacting %d nodes.\n", joined)
			return nil
		},
	}
}

func leaveCommand() *cli.Command {
	return &cli.Command{
		Name:        "leave",
		Usage:       "Takes an agent out of the cluster, and ends it",
		Description: "Tells an agent to leave the cluster and end. Others see it as left, not as failed; a server is no voter any more.",
		Flags:       clientFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() > 0 {
				return failure("Error found unexpected args: %v", c.Args().Slice())
			}
			client, err := newClient(c)
			if err != nil {
				return err
			}
			if err := client.Agent().Leave(); err != nil {
				return failure("Error leaving: %v", err)
			}
			fmt.Fprintln(c.App.Writer, "Graceful leave complete")
			return nil
		},
	}
}

func forceLeaveCommand() *cli.Command {
	return &cli.Command{
		Name:      "force-leave",
		Usage:     "Declares a failed member to have left",
		ArgsUsage: "name",
		Description: `Declares a member that failed, and will not come back, to have left the cluster. Without it, the others go on trying to reach it for some days.

A member that is alive after all comes back by itself.`,
		Flags: append(clientFlags(),
			&cli.BoolFlag{Name: "prune", Usage: "forget the member altogether"},
			&cli.BoolFlag{Name: "wan", Usage: "in the pool of the servers of all datacenters only"}),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return cli.Exit("A single node name must be specified to force leave.\n\n"+c.Command.CustomHelpTemplate, exitFailed)
			}
			client, err := newClient(c)
			if err != nil {
				return err
			}
			opts := consul.ForceLeaveOpts{Prune: c.Bool("prune"), WAN: c.Bool("wan")}
			if err := client.Agent().ForceLeaveOpts(c.Args().First(), opts); err != nil {
				return failure("Error force leaving: %v", err)
			}
			return nil
		},
	}
}

func reloadCommand() *cli.Command {
	return &cli.Command{
		Name:        "reload",
		Usage:       "Tells an agent to read its configuration again",
		Description: "Tells an agent to read its configuration files again, as SIGHUP does. Services and checks come and go with the files; all else needs a restart.",
		Flags:       clientFlags(),
		Action: func(c *cli.Context) error {
			client, err := newClient(c)
			if err != nil {
				return err
			}
			if err := client.Agent().Reload(); err != nil {
				return failure("Error reloading: %v", err)
			}
			fmt.Fprintln(c.App.Writer, "Configuration reload triggered")
			return nil
		},
	}
}

func infoCommand() *cli.Command {
	return &cli.Command{
		Name:        "info",
		Usage:       "Prints what an agent knows of itself",
		Description: "Prints figures of a running agent for people who look for a fault: its role, Raft state, gossip and runtime.",
		Flags:       clientFlags(),
		Action: func(c *cli.Context) error {
			client, err := newClient(c)
			if err != nil {
				return err
			}
			self, err := client.Agent().Self()
			if err != nil {
				return failure("Error querying agent: %v", err)
			}
			stats := self["Stats"]
			for _, section := range slices.Sorted(maps.Keys(stats)) {
				fmt.Fprintf(c.App.Writer, "%s:\n", section)
				values, _ := stats[section].(map[string]any)
				for _, k := range slices.Sorted(maps.Keys(values)) {
					fmt.Fprintf(c.App.Writer, "\t%s = %v\n", k, values[k])
				}
			}
			return nil
		},
	}
}
