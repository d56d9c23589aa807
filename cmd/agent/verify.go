package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/agent"
)

// Exit codes of verify.
const (
	exitDamaged    = 1
	exitUnreadable = 2
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name:      "verify",
		Usage:     "Reads a server's data directory offline and says whether it is whole",
		ArgsUsage: "<data-dir>",
		Description: "Reads the Raft log and the snapshots in the data directory of a server that is stopped, verifies every " +
			"checksum, and says what is there and what a start would make of it. Nothing is changed.\n\n" +
			"Exits with 0 if all is whole, with 1 if something is damaged or may be lost, and with 2 if the directory " +
			"cannot be read or an agent uses it.",
		Flags:  []cli.Flag{&cli.StringFlag{Name: "format", Value: "pretty", Usage: "how to print: pretty or json"}},
		Action: verify,
	}
}

func verify(c *cli.Context) error {
	if c.NArg() != 1 {
		return cli.Exit(fmt.Sprintf("verify takes one data directory, %d arguments were given", c.NArg()), exitUnreadable)
	}
	format := c.String("format")
	if format != "pretty" && format != "json" {
		return cli.Exit(fmt.Sprintf("unknown -format %q: it is pretty or json", format), exitUnreadable)
	}
	v, err := agent.VerifyRaft(c.Args().First())
	if err != nil {
		return cli.Exit(err.Error(), exitUnreadable)
	}
	if format == "json" {
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "    ")
		if err := e.Encode(v); err != nil {
			return err
		}
	} else {
		fmt.Fprint(c.App.Writer, verdict(v))
	}
	if !v.Whole {
		return cli.Exit("", exitDamaged)
	}
	return nil
}

// verdict is the report for people.
func verdict(v *agent.RaftReport) string {
	var b strings.Builder
	state := "whole"
	switch {
	case v.Damage != "":
		state = "DAMAGED: " + v.Damage
	case v.Voteless:
		state = "INCOMPLETE: acknowledged entries may be missing"
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-15s %s\n", name+":", fmt.Sprintf(format, args...))
	}
	line("Directory", "%s", v.Dir)
	line("State", "%s", state)
	for _, r := range v.Repairs {
		line("A start would", "%s", r)
	}
	line("Node ID", "%s", orNone(v.NodeID))
	line("Cluster ID", "%s", orNone(v.ClusterID))
	line("Term", "%d, vote for %s", v.Term, orNone(string(v.Vote)))
	line("Commit", "%d or later", v.Commit)
	line("Log", "entries %d to %d, the last of term %d", v.FirstIndex, v.LastIndex, v.LastTerm)
	line("Log ID", "%s", v.Log)
	line("Votes", "%s", map[bool]string{true: "not until a leader has caught it up", false: "yes"}[v.Voteless])
	line("Configuration", "at entry %d", v.ConfigIndex)
	rows := [][]string{{"Server", "Address", "Voter"}}
	for _, s := range v.Servers {
		rows = append(rows, []string{string(s.ID), s.Addr, strconv.FormatBool(s.Voter)})
	}
	b.WriteString("\n" + table(rows) + "\n")
	rows = [][]string{{"Snapshot", "Index", "Term", "Bytes", "Checksum", "State"}}
	for _, s := range v.Snapshots {
		rows = append(rows, []string{filepath.Base(s.File), fmt.Sprint(s.Index), fmt.Sprint(s.Term), fmt.Sprint(s.Bytes), s.Checksum,
			map[bool]string{true: "whole", false: "DAMAGED"}[s.Damage == ""]})
	}
	b.WriteString("\n" + table(rows) + "\n")
	rows = [][]string{{"Segment", "From", "Bytes", "Used"}}
	for _, s := range v.Segments {
		rows = append(rows, []string{filepath.Base(s.File), fmt.Sprint(s.First), fmt.Sprint(s.Bytes), fmt.Sprint(s.Used)})
	}
	b.WriteString("\n" + table(rows) + "\n")
	return b.String()
}
