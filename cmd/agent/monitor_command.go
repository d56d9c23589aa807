package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
)

func monitorCommand() *cli.Command {
	return &cli.Command{
		Name:        "monitor",
		Usage:       "Shows what an agent logs",
		Description: "Prints the lines of an agent's log as they come, until it is interrupted or the agent ends.",
		Flags: append(clientFlags(),
			&cli.BoolFlag{Name: "log-json", Usage: "lines as JSON"},
			&cli.StringFlag{Name: "log-level", Value: "INFO", Usage: "the least level to show: trace, debug, info, warn or error; default is info"}),
		Action: showLog,
	}
}

func showLog(c *cli.Context) error {
	client, err := newClient(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	follow := client.Agent().Monitor
	if c.Bool("log-json") {
		follow = client.Agent().MonitorJSON
	}
	lines, err := follow(c.String("log-level"), ctx.Done(), nil)
	if err != nil {
		return failure("Error starting monitor: %v", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case line, open := <-lines:
			if !open || line == "" {
				return failure("Remote side ended the monitor! This usually means that the\nremote side has exited or crashed.")
			}
			fmt.Fprintln(c.App.Writer, line)
		}
	}
}
