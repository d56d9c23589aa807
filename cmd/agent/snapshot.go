package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"

	"muster/agent/config"
	"muster/catalog/archive"
)

func snapshotCommand() *cli.Command {
	return &cli.Command{
		Name:        "snapshot",
		Usage:       "Saves, restores and inspects backups of the catalog",
		Description: "Saves, restores and inspects backups of the whole catalog: nodes, services, checks, keys and values, sessions.",
		Subcommands: []*cli.Command{{
			Name:      "inspect",
			Usage:     "Shows what a backup holds",
			ArgsUsage: "FILE",
			Description: "Verifies a backup, which needs no agent, and shows what it holds and what takes how much of it. " +
				"Exits with 1 if the file is damaged or no backup of Muster's.",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "format", Value: "pretty", Usage: "how to print: pretty or json"},
				&cli.BoolFlag{Name: "kvdetails", Usage: "show also what the keys below each prefix take"},
				&cli.IntFlag{Name: "kvdepth", Value: 2, Usage: "with -kvdetails: how many parts of a key, separated by slashes, make a prefix; default is 2"},
				&cli.StringFlag{Name: "kvfilter", Usage: "with -kvdetails: only keys that begin with this"},
			},
			Action: inspectSnapshot,
		}, {
			Name:      "restore",
			Usage:     "Replaces the catalog by a backup",
			ArgsUsage: "FILE",
			Description: "Verifies a backup, and replaces the whole catalog by it: on all servers at one index, or not at all. What was in the " +
				"catalog before is lost. Agents that are running put their own services back within a minute or so; nodes that " +
				"are not members of the cluster are removed about as soon.",
			Flags:  queryFlags(),
			Action: restoreSnapshot,
		}, {
			Name:      "save",
			Usage:     "Saves a backup of the catalog",
			ArgsUsage: "FILE",
			Description: "Saves the whole catalog as it is at one moment, and verifies what it has saved. FILE is replaced only then.\n\n" +
				"With -stale any server answers, from what it knows by now: so a backup can be had while there is no leader.",
			Flags: append(queryFlags(),
				&cli.StringFlag{Name: "append-filename", Usage: "what to add to FILE's name before its ending, separated by commas: version, dc"}),
			Action: saveSnapshot,
		}},
	}
}

// oneFile gives the argument of a command that takes a file.
func oneFile(c *cli.Context) (string, error) {
	switch n := c.NArg(); n {
	case 0:
		return "", failure("Missing FILE argument")
	case 1:
		return c.Args().First(), nil
	default:
		return "", failure("Too many arguments (expected 1, got %d)", n)
	}
}

func saveSnapshot(c *cli.Context) error {
	path, err := oneFile(c)
	if err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	if path, err = appendFilename(client, path, c.String("append-filename")); err != nil {
		return err
	}
	body, _, err := client.Snapshot().Save(queryOptions(c))
	if err != nil {
		return failure("Error saving snapshot: %v", err)
	}
	defer body.Close()
	report, err := saveVerified(path, body)
	if err != nil {
		return failure("Error saving snapshot: %v", err)
	}
	fmt.Fprintf(c.App.Writer, "Saved and verified snapshot to index %d\n", report.Meta.Index)
	return nil
}

// appendFilename adds to a file's name what was asked for.
func appendFilename(client *consul.Client, path, what string) (string, error) {
	if what == "" {
		return path, nil
	}
	ending := filepath.Ext(path)
	path = strings.TrimSuffix(path, ending)
	for part := range strings.SplitSeq(what, ",") {
		switch part {
		case "version":
			path += "-" + config.CompatVersion
		case "dc":
			self, err := client.Agent().Self()
			if err != nil {
				return "", failure("Error asking the agent for its datacenter: %v", err)
			}
			dc, ok := self["Config"]["Datacenter"].(string)
			if !ok {
				return "", failure("Error asking the agent for its datacenter: it names none")
			}
			path += "-" + dc
		default:
			return "", failure("-append-filename can add version and dc, not %q", part)
		}
	}
	return path + ending, nil
}

// saveVerified writes an archive beside its place, verifies what then is on the
// disk, and puts it there.
func saveVerified(path string, from io.Reader) (_ *archive.Report, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.unverified") // its mode is 0600
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	defer f.Close()
	if _, err := io.Copy(f, from); err != nil {
		return nil, fmt.Errorf("write %s: %w", f.Name(), err)
	}
	if err := f.Sync(); err != nil {
		return nil, fmt.Errorf("write %s: %w", f.Name(), err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	report, err := archive.Inspect(f, nil)
	if err != nil {
		return nil, fmt.Errorf("what the agent sent is no whole snapshot: %w", err)
	}
	return report, os.Rename(f.Name(), path)
}

func restoreSnapshot(c *cli.Context) error {
	path, err := oneFile(c)
	if err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return failure("Error opening snapshot file: %v", err)
	}
	defer f.Close()
	if _, err := archive.Inspect(f, nil); err != nil {
		return failure("Error restoring snapshot: %v", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return failure("Error restoring snapshot: %v", err)
	}
	if err := client.Snapshot().Restore(nil, f); err != nil {
		return failure("Error restoring snapshot: %v", err)
	}
	fmt.Fprintln(c.App.Writer, "Restored snapshot")
	return nil
}

func inspectSnapshot(c *cli.Context) error {
	path, err := oneFile(c)
	if err != nil {
		return err
	}
	format := c.String("format")
	if format != "pretty" && format != "json" {
		return failure("unknown -format %q: it is pretty or json", format)
	}
	var details *archive.KVDetails
	switch {
	case c.Bool("kvdetails") && c.Int("kvdepth") < 1:
		return failure("-kvdepth must be at least 1")
	case c.Bool("kvdetails"):
		details = &archive.KVDetails{Depth: c.Int("kvdepth"), Filter: c.String("kvfilter")}
	case c.IsSet("kvdepth") || c.IsSet("kvfilter"):
		return failure("-kvdepth and -kvfilter go with -kvdetails")
	}
	f, err := os.Open(path)
	if err != nil {
		return failure("Error opening snapshot file: %v", err)
	}
	defer f.Close()
	report, err := archive.Inspect(f, details)
	if err != nil {
		return failure("Error reading snapshot: %v", err)
	}
	if format == "json" {
		e := json.NewEncoder(c.App.Writer)
		e.SetIndent("", "   ")
		return e.Encode(inspection{report.Meta, report.Stats, report.KV, total(report.Stats), total(report.KV)})
	}
	fmt.Fprint(c.App.Writer, inspectionText(report))
	return nil
}

// inspection is what -format=json prints.
type inspection struct {
	Meta        archive.Meta
	Stats       []archive.Stat
	StatsKV     []archive.Stat
	TotalSize   int64
	TotalSizeKV int64
}

func total(stats []archive.Stat) (sum int64) {
	for _, s := range stats {
		sum += s.Sum
	}
	return sum
}

// inspectionText is a report for people.
func inspectionText(r *archive.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, " ID           %s\n Size         %d\n Index        %d\n Term         %d\n Version      %d\n",
		r.Meta.ID, r.Meta.Size, r.Meta.Index, r.Meta.Term, r.Meta.Version)
	statsText(&b, "Type", r.Stats)
	if r.KV != nil {
		statsText(&b, "Key Name", r.KV)
	}
	return b.String()
}

func statsText(b *strings.Builder, name string, stats []archive.Stat) {
	width := len("Key Name")
	for _, s := range stats {
		width = max(width, len(s.Name))
	}
	row := func(name, count, size string) {
		b.WriteString(strings.TrimRight(fmt.Sprintf(" %-*s      %-8s  %s", width, name, count, size), " ") + "\n")
	}
	b.WriteString("\n")
	row(name, "Count", "Size")
	row("----", "----", "----")
	for _, s := range stats {
		row(s.Name, strconv.Itoa(s.Count), byteSize(s.Sum))
	}
	row("----", "----", "----")
	row("Total", "", byteSize(total(stats)))
}

// byteSize is a number of bytes as Consul's tools print it.
func byteSize(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	size, unit := float64(n), 0
	for size >= 1024 && unit < len(units)-1 {
		size, unit = size/1024, unit+1
	}
	return strings.TrimSuffix(strconv.FormatFloat(size, 'f', 1, 64), ".0") + units[unit]
}
