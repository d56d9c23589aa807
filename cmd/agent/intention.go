package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func intentionCommand() *cli.Command {
	return &cli.Command{
		Name:  "intention",
		Usage: "Says which services may connect to which",
		Description: `Reads and writes intentions, which say which services may connect to which.

    $ muster intention create -deny web db
    $ muster intention check web db
    $ muster intention match db`,
		Subcommands: []*cli.Command{{
			Name:        "check",
			Usage:       "Tells whether a service may connect to another",
			ArgsUsage:   "SOURCE DESTINATION",
			Description: "Tells whether a service may connect to another: prints Allowed and exits with 0, or Denied and exits with 1. Where that can't be told it exits with 2.",
			Flags:       queryFlags(),
			Action:      checkIntention,
		}, {
			Name:      "create",
			Usage:     "Creates intentions",
			ArgsUsage: "SOURCE DESTINATION, or with -file FILE...",
			Description: `Creates an intention, by default one that allows, or with -file those that files of JSON describe.

    $ muster intention create web db
    $ muster intention create -deny -replace web db`,
			Flags: append(queryFlags(),
				&cli.BoolFlag{Name: "allow", Usage: "it allows connections"},
				&cli.BoolFlag{Name: "deny", Usage: "it denies connections"},
				&cli.BoolFlag{Name: "file", Usage: "the arguments are files of JSON, each with an intention"},
				&cli.StringSliceFlag{Name: "meta", Usage: "metadata of the intention, key=value; may be repeated"},
				&cli.BoolFlag{Name: "replace", Usage: "replace an intention of the same services"}),
			Action: createIntentions,
		}, {
			Name:        "delete",
			Usage:       "Deletes an intention",
			ArgsUsage:   "SOURCE DESTINATION, or ID",
			Description: "Deletes an intention, which two services or its ID name.",
			Flags:       queryFlags(),
			Action:      deleteIntention,
		}, {
			Name:        "get",
			Usage:       "Shows an intention",
			ArgsUsage:   "SOURCE DESTINATION, or ID",
			Description: "Shows an intention, which two services or its ID name.",
			Flags:       queryFlags(),
			Action:      getIntention,
		}, {
			Name:        "list",
			Usage:       "Lists all intentions",
			Description: "Lists all intentions, the most exact first.",
			Flags:       queryFlags(),
			Action:      listIntentions,
		}, {
			Name:        "match",
			Usage:       "Lists the intentions that are about a service",
			ArgsUsage:   "SERVICE",
			Description: "Lists the intentions that are about connections to a service, or from it, the most exact first.",
			Flags: append(queryFlags(),
				&cli.BoolFlag{Name: "source", Usage: "those about connections from the service"},
				&cli.BoolFlag{Name: "destination", Usage: "those about connections to the service; the default"}),
			Action: matchIntentions,
		}},
	}
}

// exitUndecided is the code of a check that told nothing, and of a list without any.
const exitUndecided = 2

func checkIntention(c *cli.Context) error {
	if c.NArg() != 2 {
		return cli.Exit("Error: command requires exactly two arguments: src and dst", exitUndecided)
	}
	client, err := newClient(c)
	if err != nil {
		return cli.Exit(err, exitUndecided)
	}
	allowed, _, err := client.Connect().IntentionCheck(&consul.IntentionCheck{
		Source: c.Args().Get(0), Destination: c.Args().Get(1), SourceType: consul.IntentionSourceConsul,
	}, queryOptions(c))
	if err != nil {
		return cli.Exit(fmt.Sprintf("Error checking the connection: %v", err), exitUndecided)
	}
	if !allowed {
		fmt.Fprintln(c.App.Writer, "Denied")
		return cli.Exit("", 1)
	}
	fmt.Fprintln(c.App.Writer, "Allowed")
	return nil
}

// givenIntentions are those that the arguments of create describe.
func givenIntentions(c *cli.Context) (list []*consul.Intention, err error) {
	if c.Bool("file") {
		for _, file := range c.Args().Slice() {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, failure("Error: %v", err)
			}
			i := new(consul.Intention)
			if err := json.Unmarshal(text, i); err != nil {
				return nil, failure("Error: %s: %v", file, err)
			}
			list = append(list, i)
		}
		return list, nil
	}
	if c.NArg() != 2 {
		return nil, failure("Error: Must specify two arguments: source and destination")
	}
	meta, err := pairs("meta", c.StringSlice("meta"))
	if err != nil {
		return nil, err
	}
	i := &consul.Intention{SourceName: c.Args().Get(0), DestinationName: c.Args().Get(1), SourceType: consul.IntentionSourceConsul, Action: consul.IntentionActionAllow, Meta: meta}
	if c.Bool("deny") {
		i.Action = consul.IntentionActionDeny
	}
	return []*consul.Intention{i}, nil
}

func createIntentions(c *cli.Context) error {
	if c.Bool("allow") && c.Bool("deny") {
		return failure("Only one of -allow or -deny may be specified.")
	}
	list, err := givenIntentions(c)
	if err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	for _, i := range list {
		if c.Bool("replace") {
			replaced, err := replaceIntention(client, i)
			if err != nil {
				return failure("Error replacing intention with source %q and destination %q: %v", i.SourceName, i.DestinationName, err)
			}
			if replaced {
				continue
			}
		}
		//lint:ignore SA1019 as Consul's command does, for intentions with an ID
		if _, _, err := client.Connect().IntentionCreate(i, nil); err != nil {
			return failure("Error creating intention %q: %v", i, err)
		}
		fmt.Fprintf(c.App.Writer, "Created: %s\n", i)
	}
	return nil
}

// replaceIntention replaces one of the same services, and says whether there was one.
func replaceIntention(client *consul.Client, i *consul.Intention) (bool, error) {
	old, _, err := client.Connect().IntentionGetExact(i.SourceName, i.DestinationName, nil)
	if err != nil || old == nil {
		return false, err
	}
	if old.ID == "" { // it was not made by itself
		_, err = client.Connect().IntentionUpsert(i, nil)
		return true, err
	}
	i.ID = old.ID
	//lint:ignore SA1019 as Consul's command does, for intentions with an ID
	_, err = client.Connect().IntentionUpdate(i, nil)
	return true, err
}

func deleteIntention(c *cli.Context) error {
	client, err := newClient(c)
	if err != nil {
		return err
	}
	switch c.NArg() {
	case 1:
		//lint:ignore SA1019 as Consul's command does, for intentions with an ID
		_, err = client.Connect().IntentionDelete(c.Args().First(), nil)
	case 2:
		_, err = client.Connect().IntentionDeleteExact(c.Args().Get(0), c.Args().Get(1), nil)
	default:
		return failure("command requires exactly 1 or 2 arguments")
	}
	if err != nil {
		return failure("Error deleting the intention: %v", err)
	}
	fmt.Fprintln(c.App.Writer, "Intention deleted.")
	return nil
}

func getIntention(c *cli.Context) error {
	client, err := newClient(c)
	if err != nil {
		return err
	}
	var i *consul.Intention
	what := ""
	switch c.NArg() {
	case 1:
		what = fmt.Sprintf("ID %q", c.Args().First())
		//lint:ignore SA1019 as Consul's command does, for intentions with an ID
		i, _, err = client.Connect().IntentionGet(c.Args().First(), queryOptions(c))
	case 2:
		what = fmt.Sprintf("source %q and destination %q", c.Args().Get(0), c.Args().Get(1))
		i, _, err = client.Connect().IntentionGetExact(c.Args().Get(0), c.Args().Get(1), queryOptions(c))
	default:
		return failure("command requires exactly 1 or 2 arguments")
	}
	switch {
	case err != nil:
		return failure("Error reading the intention: %v", err)
	case i == nil:
		return failure("Intention not found with %s", what)
	}
	rows := [][]string{{"Source:", i.SourceName}, {"Destination:", i.DestinationName}}
	for _, row := range [][]string{{"Action:", string(i.Action)}, {"ID:", i.ID}, {"Description:", i.Description}} {
		if row[1] != "" {
			rows = append(rows, row)
		}
	}
	for _, key := range sortedNames(i.Meta) {
		rows = append(rows, []string{"Meta[" + key + "]:", i.Meta[key]})
	}
	if !i.CreatedAt.IsZero() {
		rows = append(rows, []string{"Created At:", i.CreatedAt.UTC().Format(time.RFC850)})
	}
	fmt.Fprintln(c.App.Writer, table(rows))
	if len(i.Permissions) > 0 {
		text, err := json.MarshalIndent(i.Permissions, "", "  ")
		if err != nil {
			return failure("Failed to encode output data: %v", err)
		}
		fmt.Fprintf(c.App.Writer, "Permissions:\n%s\n", text)
	}
	return nil
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func listIntentions(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	list, _, err := client.Connect().Intentions(queryOptions(c))
	if err != nil {
		return failure("Failed to retrieve the intentions list: %v", err)
	}
	if len(list) == 0 {
		return cli.Exit("There are no intentions.", exitUndecided)
	}
	rows := [][]string{{"ID", "Source", "Action", "Destination", "Precedence"}}
	for _, i := range list {
		rows = append(rows, []string{i.ID, i.SourceName, string(i.Action), i.DestinationName, strconv.Itoa(i.Precedence)})
	}
	fmt.Fprintln(c.App.Writer, table(rows))
	return nil
}

func matchIntentions(c *cli.Context) error {
	if c.NArg() != 1 {
		return failure("Error: command requires exactly one argument: src or dst")
	}
	if c.Bool("source") && c.Bool("destination") {
		return failure("Error: only one of -source or -destination may be specified")
	}
	by := consul.IntentionMatchDestination
	if c.Bool("source") {
		by = consul.IntentionMatchSource
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	name := c.Args().First()
	matches, _, err := client.Connect().IntentionMatch(&consul.IntentionMatch{By: by, Names: []string{name}}, queryOptions(c))
	if err != nil {
		return failure("Error matching the connection: %v", err)
	}
	for _, i := range matches[name] {
		fmt.Fprintln(c.App.Writer, i)
	}
	return nil
}
