package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

// Bounds of what `debug` takes, Consul's.
const (
	leastRecording = 10 * time.Second
	leastInterval  = 5 * time.Second
)

// What `debug` records, in the order in which Consul names it.
const (
	targetMetrics = "metrics"
	targetLogs    = "logs"
	targetPProf   = "pprof"
	targetHost    = "host"
	targetAgent   = "agent"
	targetMembers = "members"
)

var debugTargets = []string{targetMetrics, targetLogs, targetPProf, targetHost, targetAgent, targetMembers}

func debugCommand() *cli.Command {
	return &cli.Command{
		Name:  "debug",
		Usage: "Records what an agent does, for whoever looks into a problem",
		Description: `Records for a while what an agent does, and what it runs on, into an archive: its configuration, the host, members, metrics, log, and profiles of the process, which it has only with enable_debug. When it is interrupted it saves what it has by then.

    $ muster debug
    $ muster debug -interval=20s -duration=1m
    $ muster debug -capture=metrics -capture=agent
    $ muster debug -output=/tmp/recording -archive=false

The files have the names and the form of Consul's. Secrets are left out of the configuration; the log and the profiles may still hold what others shall not see: look before you pass the archive on.`,
		Flags: append(clientFlags(),
			&cli.BoolFlag{Name: "archive", Value: true, Usage: "make a .tar.gz of the files; with false the directory stays; default is true"},
			&cli.StringSliceFlag{Name: "capture", Usage: "what to record: " + strings.Join(debugTargets, ", ") + "; may be repeated; default is all"},
			&cli.DurationFlag{Name: "duration", Value: 5 * time.Minute, Usage: "how long to record; default is 5m, at least 10s"},
			&cli.DurationFlag{Name: "interval", Value: 30 * time.Second, Usage: "pause between two profiles; default is 30s, at least 5s"},
			&cli.StringFlag{Name: "output", Usage: "path of the archive without .tar.gz, or of the directory; default is muster-debug and the time, here"}),
		Action: recordAgent,
	}
}

func recordAgent(c *cli.Context) error {
	if c.NArg() > 0 {
		return failure("==> debug: Too many arguments provided, expected 0")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	rec, err := newRecording(c, client)
	if err != nil {
		return failure("==> Capture validation failed: %v", err)
	}
	saved := rec.dir
	if c.Bool("archive") {
		saved += ".tar.gz"
	}
	fmt.Fprintf(rec.out, `==> Starting debugger and capturing static information...
     Agent Version: '%s'
          Interval: '%s'
          Duration: '%s'
            Output: '%s'
           Capture: '%s'
`, rec.version, rec.interval, rec.duration, saved, strings.Join(rec.targets, ", "))
	err = errors.Join(rec.static(), rec.dynamic(ctx))
	if c.Bool("archive") {
		if archiveErr := archiveDir(rec.dir, saved); archiveErr != nil {
			return failure("==> Archive creation failed: %v", errors.Join(archiveErr, err))
		}
	}
	fmt.Fprintf(rec.out, "    Saved debug archive: %s\n", saved)
	switch {
	case ctx.Err() != nil:
		return failure("==> Error encountered during collection: stopping collection due to shutdown signal")
	case err != nil:
		return failure("==> Error encountered during collection: %v", err)
	}
	return nil
}

// newRecording reads the flags and asks the agent whether they can be met. Where it
// serves no profiles it says so, and goes on without them.
func newRecording(c *cli.Context, client *consul.Client) (*recording, error) {
	rec := &recording{
		client: client, out: c.App.Writer, dir: c.String("output"),
		duration: c.Duration("duration"), interval: c.Duration("interval"), targets: c.StringSlice("capture"),
	}
	if rec.dir == "" {
		rec.dir = "muster-debug-" + time.Now().UTC().Format(stampLayout)
	}
	if len(rec.targets) == 0 {
		rec.targets = slices.Clone(debugTargets)
	}
	for _, t := range rec.targets {
		if !slices.Contains(debugTargets, t) {
			return nil, fmt.Errorf("target not found: %s; there are %s", t, strings.Join(debugTargets, ", "))
		}
	}
	switch {
	case rec.duration < leastRecording:
		return nil, fmt.Errorf("duration must be longer than %s", leastRecording)
	case rec.interval < leastInterval:
		return nil, fmt.Errorf("interval must be longer than %s", leastInterval)
	case rec.duration < rec.interval:
		return nil, fmt.Errorf("duration (%s) must be longer than interval (%s)", rec.duration, rec.interval)
	}
	if _, err := os.Lstat(rec.dir); err == nil {
		return nil, fmt.Errorf("output directory already exists: %s", rec.dir)
	}
	self, err := client.Agent().Self()
	if err != nil {
		return nil, fmt.Errorf("error querying target agent: %w. verify connectivity and agent address", err)
	}
	rec.self = self
	rec.version, _ = self["Config"]["Version"].(string)
	if profiles, _ := self["DebugConfig"]["EnableDebug"].(bool); !profiles && slices.Contains(rec.targets, targetPProf) {
		rec.targets = slices.DeleteFunc(rec.targets, func(t string) bool { return t == targetPProf })
		fmt.Fprintln(c.App.ErrWriter, "[WARN] Unable to capture pprof. Set enable_debug to true on target agent to enable profiling.")
	}
	return rec, os.MkdirAll(filepath.Clean(rec.dir), 0o700)
}
