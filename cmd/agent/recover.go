package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/agent"
)

func recoverCommand() *cli.Command {
	return &cli.Command{
		Name:      "recover",
		Usage:     "Brings back a cluster that lost its majority for good",
		ArgsUsage: "<data-dir>...",
		Description: "Works offline on the data directory of a surviving server that is stopped; of several it takes the one with " +
			"the most advanced log. Without -yes it says what is there, what could be lost and what it would write. With " +
			"-yes it makes that server the only voter of a new cluster that has all its data.\n\n" +
			"It refuses while a majority of the old cluster can still be had, and on damage.\n\n" +
			"Afterwards start that server with its usual configuration. All other servers of the old cluster have to be " +
			"wiped (stopped, and their data directory removed); they then join and become voters by themselves. One that " +
			"comes back unwiped is refused, since it belongs to another cluster.\n\n" +
			"Exits with 0 if it was done, or could be, with 1 if it is refused, and with 2 if a directory cannot be read, " +
			"is in use or cannot be written.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "yes", Usage: "do it"},
			&cli.StringFlag{Name: "format", Value: "pretty", Usage: "how to print: pretty or json"},
		},
		Action: recoverRaft,
	}
}

func recoverRaft(c *cli.Context) error {
	if c.NArg() == 0 {
		return cli.Exit("recover takes the data directory of a surviving server", exitUnreadable)
	}
	format := c.String("format")
	if format != "pretty" && format != "json" {
		return cli.Exit(fmt.Sprintf("unknown -format %q: it is pretty or json", format), exitUnreadable)
	}
	r, err := agent.RecoverRaft(c.Context, c.Args().Slice(), c.Bool("yes"))
	if err != nil {
		return cli.Exit(err.Error(), exitUnreadable)
	}
	if format == "json" {
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "    ")
		if err := e.Encode(r); err != nil {
			return err
		}
	} else {
		fmt.Fprint(c.App.Writer, recoveryText(r))
	}
	if r.Refusal != "" {
		return cli.Exit("Refused: "+r.Refusal, exitFailed)
	}
	return nil
}

// recoveryText is a recovery for people.
func recoveryText(r *agent.RaftRecovery) string {
	var b strings.Builder
	for _, why := range r.PassedOver {
		fmt.Fprintf(&b, "Passed over: %s\n", why)
	}
	b.WriteString(verdict(r.Report))
	rows := [][]string{{"Other server", "Address", "Voter", "Alive", "Answer"}}
	for _, p := range r.Others {
		rows = append(rows, []string{string(p.ID), p.Addr, strconv.FormatBool(p.Voter), strconv.FormatBool(p.Alive), p.Says})
	}
	if len(r.Others) > 0 {
		b.WriteString("\n" + table(rows) + "\n")
	}
	if r.Refusal != "" {
		return b.String()
	}
	b.WriteString("\n")
	fmt.Fprintf(&b, "Kept: all %d entries of the log. Those after entry %d are not known to be committed, and will be.\n", r.Report.LastIndex, r.Report.Commit)
	fmt.Fprintf(&b, "Lost: what the other servers acknowledged after entry %d, if there is such.\n", r.Report.LastIndex)
	verb := map[bool]string{true: "Written", false: "Would write"}[r.Done]
	fmt.Fprintf(&b, "%s: at entry %d of term %d, cluster %s with the only voter %s at %s.\n", verb, r.Index, r.Term, r.ClusterID, r.Report.NodeID, r.Addr)
	fmt.Fprintf(&b, "%s: a copy of %s as it was, in %s.\n", verb, r.Report.Dir, r.Backup)
	if r.Done {
		b.WriteString("Start this server. Wipe the others before they are started again.\n")
	} else {
		b.WriteString("Nothing was changed. Make sure that the other servers never come back unwiped, and repeat this with -yes.\n")
	}
	return b.String()
}
