package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func autopilotCommand() *cli.Command {
	return &cli.Command{
		Name:        "autopilot",
		Usage:       "Looks into the health of the servers, and says what becomes of dead ones",
		Description: "Looks into what the leader knows of the health of the servers, and sets how it judges them.",
		Subcommands: []*cli.Command{{
			Name:        "get-config",
			Usage:       "Shows how the leader judges servers",
			Description: "Shows how the leader judges servers, and what it does about dead ones.",
			Flags:       queryFlags(),
			Action:      getAutopilot,
		}, {
			Name:        "set-config",
			Usage:       "Changes how the leader judges servers",
			Description: "Changes how the leader judges servers, and what it does about dead ones. What no flag names stays as it is.",
			Flags: append(datacenterFlags(),
				&cli.BoolFlag{Name: "cleanup-dead-servers", Usage: "whether dead servers are removed where the rest can then bear more failures"},
				&cli.DurationFlag{Name: "last-contact-threshold", Usage: "how long a healthy server may leave the leader without an answer"},
				&cli.Uint64Flag{Name: "max-trailing-logs", Usage: "how many entries a healthy server may be behind"},
				&cli.UintFlag{Name: "min-quorum", Usage: "how many voters stay, dead or not"},
				&cli.DurationFlag{Name: "server-stabilization-time", Usage: "how long a new server must have been healthy before it gets a vote"},
				&cli.StringFlag{Name: "redundancy-zone-tag", Usage: "kept for Consul Enterprise's sake; nothing acts on it"},
				&cli.BoolFlag{Name: "disable-upgrade-migration", Usage: "kept for Consul Enterprise's sake; nothing acts on it"},
				&cli.StringFlag{Name: "upgrade-version-tag", Usage: "kept for Consul Enterprise's sake; nothing acts on it"},
			),
			Action: setAutopilot,
		}, {
			Name:        "state",
			Usage:       "Shows each server's health, and how many may fail",
			Description: "Shows what the leader knows of each server, and how many more may fail.",
			Flags:       append(queryFlags(), &cli.StringFlag{Name: "format", Value: "pretty", Usage: "pretty or json; default is pretty"}),
			Action:      autopilotState,
		}},
	}
}

func getAutopilot(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	config, err := client.Operator().AutopilotGetConfiguration(queryOptions(c))
	if err != nil {
		return failure("Error querying Autopilot configuration: %v", err)
	}
	for _, line := range []struct {
		name  string
		value any
	}{
		{"CleanupDeadServers", config.CleanupDeadServers},
		{"LastContactThreshold", config.LastContactThreshold},
		{"MaxTrailingLogs", config.MaxTrailingLogs},
		{"MinQuorum", config.MinQuorum},
		{"ServerStabilizationTime", config.ServerStabilizationTime},
		{"RedundancyZoneTag", fmt.Sprintf("%q", config.RedundancyZoneTag)},
		{"DisableUpgradeMigration", config.DisableUpgradeMigration},
		{"UpgradeVersionTag", fmt.Sprintf("%q", config.UpgradeVersionTag)},
	} {
		fmt.Fprintf(c.App.Writer, "%s = %v\n", line.name, line.value)
	}
	return nil
}

func setAutopilot(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	config, err := client.Operator().AutopilotGetConfiguration(nil)
	if err != nil {
		return failure("Error querying Autopilot configuration: %v", err)
	}
	given(c, "cleanup-dead-servers", c.Bool, &config.CleanupDeadServers)
	given(c, "last-contact-threshold", readable(c), &config.LastContactThreshold)
	given(c, "max-trailing-logs", c.Uint64, &config.MaxTrailingLogs)
	given(c, "min-quorum", c.Uint, &config.MinQuorum)
	given(c, "server-stabilization-time", readable(c), &config.ServerStabilizationTime)
	given(c, "redundancy-zone-tag", c.String, &config.RedundancyZoneTag)
	given(c, "disable-upgrade-migration", c.Bool, &config.DisableUpgradeMigration)
	given(c, "upgrade-version-tag", c.String, &config.UpgradeVersionTag)
	switch done, err := client.Operator().AutopilotCASConfiguration(config, nil); {
	case err != nil:
		return failure("Error setting Autopilot configuration: %v", err)
	case !done:
		return failure("Configuration could not be atomically updated, please try again")
	}
	fmt.Fprintln(c.App.Writer, "Configuration updated!")
	return nil
}

// given sets a value to that of a flag, if the flag was given.
func given[T any](c *cli.Context, name string, value func(string) T, to *T) {
	if c.IsSet(name) {
		*to = value(name)
	}
}

// readable reads a flag as the official client wants durations.
func readable(c *cli.Context) func(string) *consul.ReadableDuration {
	return func(name string) *consul.ReadableDuration {
		return consul.NewReadableDuration(c.Duration(name))
	}
}

func autopilotState(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	format := c.String("format")
	if format != "pretty" && format != "json" {
		return failure("Unknown format: %s", format)
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	state, err := client.Operator().AutopilotState(queryOptions(c))
	if err != nil {
		return failure("Error querying Autopilot state: %v", err)
	}
	if format == "pretty" {
		fmt.Fprint(c.App.Writer, describeState(state))
		return nil
	}
	text, err := json.MarshalIndent(state, "", "    ")
	if err != nil {
		return failure("Failed to encode output data: %v", err)
	}
	fmt.Fprintln(c.App.Writer, string(text))
	return nil
}

// describeState prints a state as Consul does.
func describeState(state *consul.AutopilotState) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("Healthy:                      %v", state.Healthy)
	line("Failure Tolerance:            %d", state.FailureTolerance)
	line("Optimistic Failure Tolerance: %d", state.OptimisticFailureTolerance)
	line("Leader:                       %s", state.Leader)
	line("Voters:")
	for _, id := range state.Voters {
		line("   %s", id)
	}
	line("Servers:")
	for _, id := range slices.Sorted(maps.Keys(state.Servers)) {
		s := state.Servers[id]
		line("   %s", id)
		line("      Name:            %s", s.Name)
		line("      Address:         %s", s.Address)
		line("      Version:         %s", s.Version)
		line("      Status:          %s", s.Status)
		line("      Node Type:       %s", s.NodeType)
		line("      Node Status:     %s", s.NodeStatus)
		line("      Healthy:         %v", s.Healthy)
		line("      Last Contact:    %s", s.LastContact)
		line("      Last Term:       %d", s.LastTerm)
		line("      Last Index:      %d", s.LastIndex)
		if len(s.Meta) > 0 {
			line("      Meta")
			for _, k := range slices.Sorted(maps.Keys(s.Meta)) {
				line("         %q: %q", k, s.Meta[k])
			}
		}
	}
	line("")
	return b.String()
}
