package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/hashicorp/consul/api/watch"
	"github.com/urfave/cli/v2"
)

func watchCommand() *cli.Command {
	return &cli.Command{
		Name:      "watch",
		Usage:     "Runs a command whenever something changes",
		ArgsUsage: "[child...]",
		Description: `Watches a key, services, nodes, checks or events, and runs a command with the news as JSON on its standard input and their index in CONSUL_INDEX: once for what is so already, then for each change. It ends when the command fails. Without a command it prints what is so and ends.

    $ muster watch -type=service -service=web ./reload.sh`,
		Flags: append(append(queryFlags(), childFlags()...),
			&cli.StringFlag{Name: "filter", Usage: "filter expression; for services, nodes, service and checks"},
			&cli.StringFlag{Name: "key", Usage: "with -type=key: the key"},
			&cli.StringFlag{Name: "name", Usage: "with -type=event: the name of the events; default all"},
			&cli.StringFlag{Name: "passingonly", Usage: "with -type=service: true to see only those whose checks all pass"},
			&cli.StringFlag{Name: "prefix", Usage: "with -type=keyprefix: what the keys begin with"},
			&cli.StringFlag{Name: "service", Usage: "the service; needed with -type=service, possible with checks"},
			&cli.StringFlag{Name: "state", Usage: "with -type=checks: only those in this state"},
			&cli.StringSliceFlag{Name: "tag", Usage: "with -type=service: only with this tag; may be repeated"},
			&cli.StringFlag{Name: "type", Usage: "what to watch: key, keyprefix, services, nodes, service, checks or event"}),
		Action: watchChanges,
	}
}

func watchChanges(c *cli.Context) error {
	plan, err := watchPlan(c)
	if err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	if _, err := client.Agent().NodeName(); err != nil {
		return failure("Error querying Consul agent: %v", err)
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var failed, unanswered error
	if c.NArg() == 0 { // who asks once is told of an error; a command waits until it is over
		ask := plan.Watcher
		plan.Watcher = func(p *watch.Plan) (watch.BlockingParamVal, any, error) {
			index, news, err := ask(p)
			if err != nil {
				unanswered = err
				p.Stop()
			}
			return index, news, err
		}
	}
	plan.Handler = func(index uint64, news any) {
		if c.NArg() == 0 {
			failed = printNews(c, news)
			plan.Stop()
		} else if failed = handNews(ctx, c, index, news); failed != nil {
			plan.Stop()
		}
	}
	defer context.AfterFunc(ctx, plan.Stop)()
	if err := plan.RunWithClientAndHclog(client, nil); err != nil {
		return failure("Error querying Consul agent: %v", err)
	}
	if unanswered != nil && ctx.Err() == nil {
		return failure("Error querying Consul agent: %v", unanswered)
	}
	if failed != nil && ctx.Err() == nil {
		return failure("Error executing handler: %v", failed)
	}
	return nil
}

// watchPlan reads the flags that say what to watch.
func watchPlan(c *cli.Context) (*watch.Plan, error) {
	if c.String("type") == "" {
		return nil, misused(c, "Watch type must be specified")
	}
	params := map[string]any{"type": c.String("type")}
	for _, name := range []string{"filter", "key", "name", "prefix", "service", "state"} {
		if v := c.String(name); v != "" {
			params[name] = v
		}
	}
	if tags := c.StringSlice("tag"); len(tags) > 0 {
		params["tag"] = tags
	}
	if c.Bool("stale") {
		params["stale"] = true
	}
	if v := c.String("passingonly"); v != "" {
		only, err := strconv.ParseBool(v)
		if err != nil {
			return nil, failure("Failed to parse passingonly flag: %v", err)
		}
		params["passingonly"] = only
	}
	plan, err := watch.Parse(params)
	if err != nil {
		return nil, failure("%v", err)
	}
	return plan, nil
}

func printNews(c *cli.Context, news any) error {
	data, err := json.MarshalIndent(news, "", "    ")
	if err == nil {
		_, err = fmt.Fprintf(c.App.Writer, "%s\n", data)
	}
	return err
}

// handNews runs the command, and waits for it.
func handNews(ctx context.Context, c *cli.Context, index uint64, news any) error {
	var in bytes.Buffer
	if err := json.NewEncoder(&in).Encode(news); err != nil {
		return err
	}
	child := childCommand(ctx, c, c.Args().Slice())
	child.Stdin = &in
	child.Env = append(child.Environ(), "CONSUL_INDEX="+strconv.FormatUint(index, 10))
	return child.Run()
}
