package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/consensus/core"
	"muster/consensus/wal"
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

// verdict is what verify prints; with -format json, as it is.
type verdict struct {
	Dir         string
	Whole       bool
	Damage      string   `json:",omitempty"`
	DamagedFile string   `json:",omitempty"`
	Offset      int64    // in DamagedFile
	Repairs     []string // that a start would make
	NodeID      string   `json:",omitempty"`
	ClusterID   string   `json:",omitempty"`
	Term        uint64
	Vote        core.ServerID
	Commit      uint64
	FirstIndex  uint64
	LastIndex   uint64
	LastTerm    uint64
	// Voteless: a start would give this server no vote until a leader has caught
	// it up, for its log may have lost entries.
	Voteless    bool
	ConfigIndex uint64
	Servers     []verifiedServer
	Snapshots   []verifiedSnapshot
	Segments    []wal.SegmentReport
}

type verifiedServer struct {
	ID    core.ServerID
	Addr  string
	Voter bool
}

type verifiedSnapshot struct {
	File     string
	Index    uint64
	Term     uint64
	Bytes    uint64
	Checksum string
	Damage   string `json:",omitempty"`
}

func verify(c *cli.Context) error {
	if c.NArg() != 1 {
		return cli.Exit(fmt.Sprintf("verify takes one data directory, %d arguments were given", c.NArg()), exitUnreadable)
	}
	format := c.String("format")
	if format != "pretty" && format != "json" {
		return cli.Exit(fmt.Sprintf("unknown -format %q: it is pretty or json", format), exitUnreadable)
	}
	v, err := inspect(c.Args().First())
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
		fmt.Fprint(c.App.Writer, v.String())
	}
	if !v.Whole {
		return cli.Exit("", exitDamaged)
	}
	return nil
}

// inspect reads the data directory of an agent, which has the log in "raft".
func inspect(dir string) (*verdict, error) {
	release, err := wal.LockToRead(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	raft := filepath.Join(dir, "raft")
	r, err := wal.Inspect(wal.OS(), raft)
	if err != nil {
		return nil, err
	}
	v := &verdict{
		Dir: raft, Whole: r.Whole(), Repairs: r.Repairs, ClusterID: r.Config.ClusterID,
		Term: r.Restored.HardState.Term, Vote: r.Restored.HardState.Vote, Commit: r.Restored.HardState.Commit,
		FirstIndex: r.Restored.FirstIndex, LastIndex: r.Restored.LastIndex, LastTerm: r.LastTerm,
		Voteless: r.Restored.Voteless, ConfigIndex: r.ConfigIndex, Segments: r.Segments,
	}
	switch id, err := os.ReadFile(filepath.Join(dir, "node-id")); {
	case err == nil:
		v.NodeID = strings.TrimSpace(string(id))
	case !errors.Is(err, os.ErrNotExist):
		return nil, err
	}
	v.damaged(r.Damage)
	for _, s := range r.Config.Servers {
		v.Servers = append(v.Servers, verifiedServer{ID: s.ID, Addr: s.Addr, Voter: s.Suffrage == core.Voter})
	}
	for _, s := range r.Snapshots {
		out := verifiedSnapshot{File: s.File, Index: s.Meta.Index, Term: s.Meta.Term, Bytes: s.Meta.Size, Checksum: fmt.Sprintf("%016x", s.Meta.Checksum)}
		if s.Damage != nil {
			out.Damage = s.Damage.Error()
			v.damaged(s.Damage)
		}
		v.Snapshots = append(v.Snapshots, out)
	}
	return v, nil
}

// damaged notes the first damage.
func (v *verdict) damaged(err error) {
	if err == nil || v.Damage != "" {
		return
	}
	v.Damage = err.Error()
	if c, ok := errors.AsType[*wal.CorruptError](err); ok {
		v.DamagedFile, v.Offset = c.File, c.Offset
	}
}

// String is the verdict for people.
func (v *verdict) String() string {
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
