package main

import (
	"fmt"
	"regexp"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func eventCommand() *cli.Command {
	return &cli.Command{
		Name:      "event",
		Usage:     "Fires a user event",
		ArgsUsage: "[payload]",
		Description: `Has all agents of the datacenter told of an event, which has a name and may have a payload; or those agents only whose node, services or tags match a regular expression.

    $ muster event -name=deploy -service=web 1.2.3`,
		Flags: append(queryFlags(),
			&cli.StringFlag{Name: "name", Usage: "name of the event"},
			&cli.StringFlag{Name: "node", Usage: "regular expression for the names of nodes"},
			&cli.StringFlag{Name: "service", Usage: "regular expression for the names of services on the node"},
			&cli.StringFlag{Name: "tag", Usage: "regular expression for the tags of such a service; needs -service"}),
		Action: fireEvent,
	}
}

func fireEvent(c *cli.Context) error {
	event := &consul.UserEvent{Name: c.String("name"), NodeFilter: c.String("node"), ServiceFilter: c.String("service"), TagFilter: c.String("tag")}
	switch {
	case event.Name == "":
		return misused(c, "Event name must be specified")
	case event.TagFilter != "" && event.ServiceFilter == "":
		return failure("Cannot provide tag filter without service filter.")
	case c.NArg() > 1:
		return misused(c, "Too many command line arguments.")
	}
	for _, f := range []struct{ of, expr string }{{"node", event.NodeFilter}, {"service", event.ServiceFilter}, {"tag", event.TagFilter}} {
		if _, err := regexp.Compile(f.expr); err != nil {
			return failure("Failed to compile %s filter regexp: %v", f.of, err)
		}
	}
	if c.NArg() == 1 {
		event.Payload = []byte(c.Args().First())
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	id, _, err := client.Event().Fire(event, nil)
	if err != nil {
		return failure("Error firing event: %v", err)
	}
	fmt.Fprintf(c.App.Writer, "Event ID: %s\n", id)
	return nil
}

// misused says what is wrong with a command line, and how the command is used.
func misused(c *cli.Context, text string) error {
	return failure("%s\n\n%s", text, commandHelp(c.Command.HelpName, c.Command))
}
