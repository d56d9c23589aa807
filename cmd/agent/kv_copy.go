package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

// exportedEntry is an entry in the JSON of `kv export`; its value is in base64.
type exportedEntry struct {
	Key   string `json:"key"`
	Flags uint64 `json:"flags"`
	Value string `json:"value"`
}

func kvExport() *cli.Command {
	return &cli.Command{
		Name:      "export",
		Usage:     "Prints entries as JSON",
		ArgsUsage: "[PREFIX]",
		Description: `Prints all entries, or those whose key begins with a prefix, as JSON that import takes. Values are in base64.

    $ muster kv export app/ > app.json`,
		Flags:  queryFlags(),
		Action: exportKV,
	}
}

func exportKV(c *cli.Context) error {
	if n := c.NArg(); n > 1 {
		return failure("Too many arguments (expected 1, got %d)", n)
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	pairs, _, err := client.KV().List(strings.TrimPrefix(c.Args().First(), "/"), queryOptions(c))
	if err != nil {
		return failure("Error querying Consul agent: %v", err)
	}
	entries := make([]exportedEntry, 0, len(pairs))
	for _, p := range pairs {
		entries = append(entries, exportedEntry{p.Key, p.Flags, base64.StdEncoding.EncodeToString(p.Value)})
	}
	data, err := json.MarshalIndent(entries, "", "\t")
	if err != nil {
		return failure("Error exporting KV data: %v", err)
	}
	fmt.Fprintf(c.App.Writer, "%s\n", data)
	return nil
}

func kvImport() *cli.Command {
	return &cli.Command{
		Name:      "import",
		Usage:     "Writes the entries of an export",
		ArgsUsage: "DATA",
		Description: `Writes the entries that export printed: DATA as it stands, what a file holds (@FILE), or what comes from standard input (-). Entries with other keys stay as they are. It ends with the first entry that can't be written; those before it are.

    $ muster kv import @app.json`,
		Flags:  append(queryFlags(), &cli.StringFlag{Name: "prefix", Usage: "prefix to put before each key"}),
		Action: importKV,
	}
}

func importKV(c *cli.Context) error {
	switch n := c.NArg(); {
	case n == 0 || c.Args().First() == "":
		return failure("Error! Missing DATA argument")
	case n > 1:
		return failure("Error! Too many arguments (expected 1, got %d)", n)
	}
	data, err := dataArgument(c, c.Args().First())
	if err != nil {
		return err
	}
	var entries []exportedEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return failure("Cannot unmarshal data: %v", err)
	}
	pairs := make([]*consul.KVPair, 0, len(entries))
	for _, e := range entries {
		value, err := base64.StdEncoding.DecodeString(e.Value)
		if err != nil {
			return failure("Error base 64 decoding value for key %s: %v", e.Key, err)
		}
		key := e.Key
		if prefix := c.String("prefix"); prefix != "" {
			key = strings.TrimSuffix(prefix, "/") + "/" + key
		}
		pairs = append(pairs, &consul.KVPair{Key: key, Flags: e.Flags, Value: value})
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if _, err := client.KV().Put(p, nil); err != nil {
			return failure("Error! Failed writing data for key %s: %v", p.Key, err)
		}
		fmt.Fprintf(c.App.Writer, "Imported: %s\n", p.Key)
	}
	return nil
}
