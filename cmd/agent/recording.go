package main

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	consul "github.com/hashicorp/consul/api"
	"golang.org/x/sync/errgroup"
)

// stampLayout is how a recording names its own directory and those of its intervals.
const stampLayout = "2006-01-02T15-04-05Z"

// profileGrace is for how long an agent may take to send a profile whose time is over.
const profileGrace = 30 * time.Second

// recording is what `debug` writes of an agent to a directory.
type recording struct {
	client             *consul.Client
	out                io.Writer // for what the user is told
	dir                string
	duration, interval time.Duration
	targets            []string
	version            string
	self               map[string]map[string]any
}

// recordingIndex says what a recording is of.
type recordingIndex struct {
	Version      int // of this form
	AgentVersion string
	Interval     string
	Duration     string
	Targets      []string
}

func (r *recording) wants(target string) bool { return slices.Contains(r.targets, target) }

func (r *recording) write(name string, data []byte) error {
	return os.WriteFile(filepath.Join(r.dir, name), data, 0o600)
}

func (r *recording) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return r.write(name, data)
}

// static records what does not change while the rest is recorded. What can't be had
// keeps nothing else from being recorded.
func (r *recording) static() error {
	errs := []error{r.writeJSON("index.json", recordingIndex{1, r.version, r.interval.String(), r.duration.String(), r.targets})}
	if r.wants(targetHost) {
		host, err := r.client.Agent().Host()
		if err == nil {
			err = r.writeJSON("host.json", host)
		}
		errs = append(errs, err)
	}
	if r.wants(targetAgent) {
		raft, err := r.client.Operator().RaftGetConfiguration(nil)
		if err == nil { // a table, though by Consul's name
			err = r.write("listpeers.json", []byte(peersTable(raft)+"\n"))
		}
		errs = append(errs, r.writeJSON("agent.json", r.self), err)
	}
	if r.wants(targetMembers) {
		members, err := r.client.Agent().MembersOpts(consul.MembersOpts{Segment: consul.AllSegments})
		if err == nil {
			err = r.writeJSON("members.json", members)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// dynamic records what goes on, for the recording's duration or until ctx ends. What
// fails keeps nothing else from being recorded.
func (r *recording) dynamic(ctx context.Context) error {
	during, end := context.WithTimeout(ctx, r.duration)
	defer end()
	var parts []func() error
	if r.wants(targetMetrics) {
		parts = append(parts, func() error { return r.metrics(during) })
	}
	if r.wants(targetLogs) {
		parts = append(parts, func() error { return r.logs(during) })
	}
	if r.wants(targetPProf) {
		parts = append(parts,
			func() error { return r.profile(ctx, "profile", "profile.prof") },
			func() error { return r.profile(ctx, "trace", "trace.out") })
	}
	if len(parts) == 0 {
		return nil
	}
	parts = append(parts, func() error { return r.intervals(during) })
	failed := make([]error, len(parts))
	var group errgroup.Group // its own context would end the others with the first that fails
	for i, part := range parts {
		group.Go(func() error {
			failed[i] = part()
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(failed...)
}

// metrics copies the stream of metrics.
func (r *recording) metrics(ctx context.Context) error {
	stream, err := r.client.Agent().MetricsStream(ctx)
	if err == nil {
		err = r.copyTo("metrics.json", stream)
	}
	if ctx.Err() != nil {
		return nil // it ends with its context
	}
	return named("metrics", err)
}

// logs copies the log as it is written.
func (r *recording) logs(ctx context.Context) error {
	// With the context, as Monitor looks at its channel only between two lines.
	lines, err := r.client.Agent().Monitor("DEBUG", ctx.Done(), (&consul.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return named("logs", err)
	}
	file, err := os.OpenFile(filepath.Join(r.dir, "consul.log"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return named("logs", err)
	}
	for open := true; open && err == nil; {
		var line string
		select {
		case <-ctx.Done():
			return named("logs", file.Close())
		case line, open = <-lines:
			if open = open && line != ""; open {
				_, err = fmt.Fprintln(file, line)
			}
		}
	}
	if err == nil && ctx.Err() == nil {
		err = errors.New("the agent ended its log")
	}
	return named("logs", errors.Join(err, file.Close()))
}

// profile has the agent profile itself for the whole duration. What ctx ends is lost.
func (r *recording) profile(ctx context.Context, kind, name string) error {
	during, end := context.WithTimeout(ctx, r.duration+profileGrace)
	defer end()
	body, err := r.client.Debug().PProf(during, kind, max(1, int(r.duration.Seconds())))
	if err == nil {
		err = r.copyTo(name, body)
	}
	if ctx.Err() != nil {
		return nil
	}
	return named(kind, err)
}

// intervals takes profiles of the moment, the first at once.
func (r *recording) intervals(ctx context.Context) error {
	ticker := time.NewTicker(r.interval)
	defer ticker.Stop()
	at := time.Now()
	fmt.Fprintf(r.out, "==> Beginning capture interval %s (0)\n", at.UTC())
	for n := 0; ; n++ {
		if r.wants(targetPProf) {
			if err := r.moment(at); err != nil {
				return err
			}
		}
		fmt.Fprintf(r.out, "==> Capture successful %s (%d)\n", at.UTC(), n)
		select {
		case <-ctx.Done():
			return nil
		case at = <-ticker.C:
		}
	}
}

// moment takes the profiles of one interval.
func (r *recording) moment(at time.Time) error {
	stamp := at.UTC().Format(stampLayout)
	if err := os.MkdirAll(filepath.Join(r.dir, stamp), 0o700); err != nil {
		return err
	}
	heap, err := r.client.Debug().Heap()
	if err != nil {
		return named("heap", err)
	}
	goroutines, err := r.client.Debug().Goroutine()
	if err != nil {
		return named("goroutine", err)
	}
	return errors.Join(r.write(filepath.Join(stamp, "heap.prof"), heap), r.write(filepath.Join(stamp, "goroutine.prof"), goroutines))
}

// copyTo writes a stream to a file as it comes, and closes both.
func (r *recording) copyTo(name string, from io.ReadCloser) error {
	defer from.Close()
	file, err := os.OpenFile(filepath.Join(r.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	return errors.Join(err, file.Close())
}

// named says what an error was met with.
func named(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("capture %s: %w", what, err)
}

// archiveDir replaces a directory by a .tar.gz of it, whose names begin with the
// directory's.
func archiveDir(dir, name string) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*") // 0600: it may hold secrets
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	zipped := gzip.NewWriter(file)
	packed := tar.NewWriter(zipped)
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		within, err := filepath.Rel(filepath.Dir(filepath.Clean(dir)), path)
		if err != nil {
			return err
		}
		return pack(packed, filepath.ToSlash(within), path, entry)
	})
	if err = errors.Join(err, packed.Close(), zipped.Close(), file.Close()); err != nil {
		return fmt.Errorf("archive %s: %w", dir, err)
	}
	if err = os.Rename(file.Name(), name); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// pack adds one file or directory to an archive.
func pack(to *tar.Writer, name, path string, entry fs.DirEntry) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	header, err := tar.FileInfoHeader(info, "")
	if err != nil {
		return err
	}
	header.Name = name
	if err := to.WriteHeader(header); err != nil || info.IsDir() {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, file)
	return errors.Join(err, file.Close())
}
