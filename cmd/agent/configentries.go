package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"

	"muster/agent/config"
	"muster/catalog"
	"muster/catalog/configentry"
)

func configCommand() *cli.Command {
	kind := &cli.StringFlag{Name: "kind", Usage: "kind of the entry, such as service-defaults"}
	name := &cli.StringFlag{Name: "name", Usage: "name of the entry"}
	cas := &cli.BoolFlag{Name: "cas", Usage: "only if the entry's ModifyIndex is -modify-index"}
	index := &cli.Uint64Flag{Name: "modify-index", Usage: "the ModifyIndex for -cas"}
	return &cli.Command{
		Name:  "config",
		Usage: "Reads and writes config entries",
		Description: `Reads, writes, lists and deletes config entries, which say how services and the mesh between them are to behave.

    $ muster config write web.hcl
    $ muster config read -kind=service-defaults -name=web
    $ muster config list -kind=service-defaults
    $ muster config delete -kind=service-defaults -name=web`,
		Subcommands: []*cli.Command{{
			Name:        "delete",
			Usage:       "Deletes a config entry",
			Description: "Deletes a config entry: that of a kind and name, or the one that a file is of.",
			Flags: append(queryFlags(), kind, name, cas, index,
				&cli.StringFlag{Name: "filename", Usage: "file that the entry was written from, in place of -kind and -name"}),
			Action: deleteEntry,
		}, {
			Name:        "list",
			Usage:       "Lists the names of config entries",
			Description: "Lists the names of the config entries of a kind.",
			Flags:       append(queryFlags(), kind, &cli.StringFlag{Name: "filter", Usage: "expression that entries must match"}),
			Action:      listEntries,
		}, {
			Name:        "read",
			Usage:       "Prints a config entry",
			Description: "Prints a config entry as JSON, which config write takes.",
			Flags:       append(queryFlags(), kind, name),
			Action:      readEntry,
		}, {
			Name:        "write",
			Usage:       "Creates a config entry, or replaces it",
			ArgsUsage:   "FILE",
			Description: "Creates a config entry, or replaces it, from a file of HCL or JSON; - is the standard input.",
			Flags:       append(queryFlags(), cas, index),
			Action:      writeEntry,
		}},
	}
}

// entryFrom reads the entry that a file is of.
func entryFrom(c *cli.Context, file string) (*catalog.ConfigEntry, error) {
	var text []byte
	var err error
	if file == "-" {
		if text, err = io.ReadAll(c.App.Reader); err != nil {
			return nil, failure("Failed to load data: Failed to read stdin: %v", err)
		}
	} else if text, err = os.ReadFile(file); err != nil {
		return nil, failure("Failed to load data: Failed to read file: %v", err)
	}
	object, err := config.Object(text)
	if err != nil {
		return nil, failure("Failed to decode config entry input: %v", err)
	}
	body, err := json.Marshal(object)
	if err != nil {
		return nil, failure("Failed to decode config entry input: %v", err)
	}
	e, err := configentry.Decode(body)
	if err != nil {
		return nil, failure("Failed to decode config entry input: %s", strings.TrimPrefix(err.Error(), "Request decoding failed: "))
	}
	return e, nil
}

func writeEntry(c *cli.Context) error {
	if c.NArg() != 1 {
		return failure("Must provide exactly one positional argument to specify the config entry to write")
	}
	read, err := entryFrom(c, c.Args().First())
	if err != nil {
		return err
	}
	entry, err := consul.DecodeConfigEntryFromJSON(read.Body)
	if err != nil {
		return failure("Failed to decode config entry input: %v", err)
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	written := false
	if c.Bool("cas") {
		written, _, err = client.ConfigEntries().CAS(entry, c.Uint64("modify-index"), nil)
	} else {
		written, _, err = client.ConfigEntries().Set(entry, nil)
	}
	switch {
	case err != nil:
		return failure("Error writing config entry %s/%s: %v", read.Kind, read.Name, err)
	case !written:
		return failure("Config entry not updated: %s/%s", read.Kind, read.Name)
	}
	fmt.Fprintf(c.App.Writer, "Config entry written: %s/%s\n", read.Kind, read.Name)
	return nil
}

// kindAndName are those that flags give.
func kindAndName(c *cli.Context) (kind, name string, err error) {
	kind, name = c.String("kind"), c.String("name")
	switch {
	case kind == "":
		return "", "", failure("Must specify the -kind parameter")
	case name == "":
		return "", "", failure("Must specify the -name parameter")
	}
	return kind, name, noArgs(c)
}

func readEntry(c *cli.Context) error {
	kind, name, err := kindAndName(c)
	if err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	entry, _, err := client.ConfigEntries().Get(kind, name, queryOptions(c))
	if err != nil {
		return failure("Error reading config entry %s/%s: %v", kind, name, err)
	}
	text, err := json.MarshalIndent(entry, "", "    ")
	if err != nil {
		return failure("Failed to encode output data: %v", err)
	}
	fmt.Fprintln(c.App.Writer, string(text))
	return nil
}

func listEntries(c *cli.Context) error {
	kind := c.String("kind")
	if kind == "" {
		return failure("Must specify the -kind parameter")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	entries, _, err := client.ConfigEntries().List(kind, queryOptions(c))
	if err != nil {
		return failure("Error listing config entries for kind %q: %v", kind, err)
	}
	for _, e := range entries {
		fmt.Fprintln(c.App.Writer, e.GetName())
	}
	return nil
}

func deleteEntry(c *cli.Context) error {
	kind, name := c.String("kind"), c.String("name")
	switch file := c.String("filename"); {
	case file != "" && (kind != "" || name != ""):
		return failure("filename can't be used with kind or name")
	case file != "":
		e, err := entryFrom(c, file)
		if err != nil {
			return err
		}
		kind, name = e.Kind, e.Name
	case kind == "":
		return failure("Must specify the -kind or -filename parameter")
	case name == "":
		return failure("Must specify the -name parameter")
	}
	index := c.Uint64("modify-index")
	switch {
	case c.Bool("cas") && index == 0:
		return failure("Must specify a -modify-index greater than 0 with -cas")
	case !c.Bool("cas") && index != 0:
		return failure("Cannot specify -modify-index without -cas")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	deleted := true
	if c.Bool("cas") {
		deleted, _, err = client.ConfigEntries().DeleteCAS(kind, name, index, nil)
	} else {
		_, err = client.ConfigEntries().Delete(kind, name, nil)
	}
	switch {
	case err != nil:
		return failure("Error deleting config entry %s/%s: %v", kind, name, err)
	case !deleted:
		return failure("Config entry not deleted: %s/%s", kind, name)
	}
	fmt.Fprintf(c.App.Writer, "Config entry deleted: %s/%s\n", kind, name)
	return nil
}
