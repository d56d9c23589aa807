package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func kvCommand() *cli.Command {
	return &cli.Command{
		Name:  "kv",
		Usage: "Reads and writes the key/value store",
		Description: `Reads, writes and deletes entries of the key/value store, and copies them to and from JSON.

    $ muster kv put app/workers 5
    $ muster kv get app/workers
    $ muster kv get -recurse app/
    $ muster kv delete app/workers`,
		Subcommands: []*cli.Command{kvDelete(), kvExport(), kvGet(), kvImport(), kvPut()},
	}
}

func kvGet() *cli.Command {
	return &cli.Command{
		Name:      "get",
		Usage:     "Prints values, or names of keys",
		ArgsUsage: "[KEY_OR_PREFIX]",
		Description: `Prints the value of a key; with -recurse those of all keys that begin with a prefix, with -keys only their names. Exits with 1 where there is no such key.

    $ muster kv get app/workers
    $ muster kv get -keys app/`,
		Flags: append(queryFlags(),
			&cli.BoolFlag{Name: "base64", Usage: "print values as base64"},
			&cli.BoolFlag{Name: "detailed", Usage: "print also indexes, flags and the session that holds the key"},
			&cli.BoolFlag{Name: "keys", Usage: "print the names of the keys that begin with the prefix, up to the separator"},
			&cli.BoolFlag{Name: "recurse", Usage: "print all entries whose key begins with the prefix"},
			&cli.StringFlag{Name: "separator", Value: "/", Usage: "with -keys: where names end; default is /"}),
		Action: getKV,
	}
}

func getKV(c *cli.Context) error {
	key := strings.TrimPrefix(c.Args().First(), "/")
	switch n := c.NArg(); {
	case n > 1:
		return failure("Too many arguments (expected 1, got %d)", n)
	case key == "" && !c.Bool("keys") && !c.Bool("recurse"):
		return failure("Error! Missing KEY argument")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	out := c.App.Writer
	switch {
	case c.Bool("keys"):
		separator := c.String("separator")
		if c.Bool("recurse") {
			separator = ""
		}
		keys, _, err := client.KV().Keys(key, separator, queryOptions(c))
		if err != nil {
			return failure("Error querying Consul agent: %v", err)
		}
		for _, k := range keys {
			fmt.Fprintln(out, k)
		}
	case c.Bool("recurse"):
		pairs, _, err := client.KV().List(key, queryOptions(c))
		if err != nil {
			return failure("Error querying Consul agent: %v", err)
		}
		for i, p := range pairs {
			switch {
			case !c.Bool("detailed"):
				fmt.Fprintf(out, "%s:%s\n", p.Key, shownValue(c, p))
				continue
			case i > 0:
				fmt.Fprintln(out)
			}
			printPair(out, p, shownValue(c, p))
		}
	default:
		p, _, err := client.KV().Get(key, queryOptions(c))
		switch {
		case err != nil:
			return failure("Error querying Consul agent: %v", err)
		case p == nil:
			return failure("Error! No key exists at: %s", key)
		case c.Bool("detailed"):
			printPair(out, p, shownValue(c, p))
		default:
			fmt.Fprintln(out, shownValue(c, p))
		}
	}
	return nil
}

func shownValue(c *cli.Context, p *consul.KVPair) string {
	if c.Bool("base64") {
		return base64.StdEncoding.EncodeToString(p.Value)
	}
	return string(p.Value)
}

func printPair(out io.Writer, p *consul.KVPair, value string) {
	session := p.Session
	if session == "" {
		session = "-"
	}
	for _, row := range [][2]any{
		{"CreateIndex", p.CreateIndex}, {"Flags", p.Flags}, {"Key", p.Key}, {"LockIndex", p.LockIndex},
		{"ModifyIndex", p.ModifyIndex}, {"Session", session},
	} {
		fmt.Fprintf(out, "%-16s %v\n", row[0], row[1])
	}
	if value == "" {
		fmt.Fprintln(out, "Value")
		return
	}
	fmt.Fprintf(out, "%-16s %s\n", "Value", value)
}

func kvPut() *cli.Command {
	return &cli.Command{
		Name:      "put",
		Usage:     "Writes a value",
		ArgsUsage: "KEY [DATA]",
		Description: `Writes the value of a key: DATA as it stands, what a file holds (@FILE), what comes from standard input (-), or nothing.

    $ muster kv put app/workers 5
    $ muster kv put app/license @license.txt
    $ muster kv put -cas -modify-index=844 app/workers 6

With -acquire and -release the entry is a lock, which the session holds.`,
		Flags: append(queryFlags(),
			&cli.BoolFlag{Name: "acquire", Usage: "write only if the session gets the lock on the key, or has it"},
			&cli.BoolFlag{Name: "base64", Usage: "take the data as base64"},
			&cli.BoolFlag{Name: "cas", Usage: "write only if the key is as it was at -modify-index, or isn't there without one"},
			&cli.Uint64Flag{Name: "flags", Usage: "number that is kept with the value, for whatever its users like"},
			&cli.Uint64Flag{Name: "modify-index", Usage: "with -cas: the ModifyIndex that the key must have"},
			&cli.BoolFlag{Name: "release", Usage: "write, and give up the lock on the key, only if the session has it"},
			&cli.StringFlag{Name: "session", Usage: "with -acquire and -release: the session's ID"}),
		Action: putKV,
	}
}

func putKV(c *cli.Context) error {
	p, err := pairToPut(c)
	if err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	kv := client.KV()
	var done bool
	var good, bad string
	switch {
	case c.Bool("cas"):
		done, _, err = kv.CAS(p, nil)
		good, bad = "Success! Data written to: "+p.Key, "Error! Did not write to "+p.Key+": CAS failed"
		if p.ModifyIndex == 0 {
			bad = "Error! Did not write to " + p.Key + ": CAS performed with index=0 and key already exists."
		}
	case c.Bool("acquire"):
		done, _, err = kv.Acquire(p, nil)
		good, bad = "Success! Lock acquired on: "+p.Key, "Error! Did not acquire lock"
	case c.Bool("release"):
		done, _, err = kv.Release(p, nil)
		good, bad = "Success! Lock released on: "+p.Key, "Error! Did not release lock"
	default:
		_, err = kv.Put(p, nil)
		done, good = true, "Success! Data written to: "+p.Key
	}
	switch {
	case err != nil:
		return failure("Error! Failed writing data: %v", err)
	case !done:
		return failure("%s", bad)
	}
	fmt.Fprintln(c.App.Writer, good)
	return nil
}

// pairToPut is the entry that a command line describes.
func pairToPut(c *cli.Context) (*consul.KVPair, error) {
	switch n := c.NArg(); {
	case n == 0 || c.Args().First() == "":
		return nil, failure("Error! Missing KEY argument")
	case n > 2:
		return nil, failure("Error! Too many arguments (expected 1 or 2, got %d)", n)
	case c.String("session") == "" && (c.Bool("acquire") || c.Bool("release")):
		return nil, failure("Error! Missing -session (required with -acquire and -release)")
	}
	data, err := dataArgument(c, c.Args().Get(1))
	if err != nil {
		return nil, err
	}
	if c.Bool("base64") {
		if data, err = base64.StdEncoding.DecodeString(string(data)); err != nil {
			return nil, failure("Error! Cannot base 64 decode data: %v", err)
		}
	}
	return &consul.KVPair{
		Key: c.Args().First(), Value: data, Flags: c.Uint64("flags"),
		ModifyIndex: c.Uint64("modify-index"), Session: c.String("session"),
	}, nil
}

// dataArgument is what an argument stands for: @ and the path of a file for what
// that holds, - for standard input, anything else for itself.
func dataArgument(c *cli.Context, arg string) ([]byte, error) {
	if path, ok := strings.CutPrefix(arg, "@"); ok {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, failure("Error! Failed to read file: %v", err)
		}
		return data, nil
	}
	if arg == "-" {
		data, err := io.ReadAll(c.App.Reader)
		if err != nil {
			return nil, failure("Error! Failed to read stdin: %v", err)
		}
		return data, nil
	}
	return []byte(arg), nil
}

func kvDelete() *cli.Command {
	return &cli.Command{
		Name:      "delete",
		Usage:     "Deletes keys",
		ArgsUsage: "KEY_OR_PREFIX",
		Description: `Deletes a key; with -recurse all keys that begin with a prefix. That a key isn't there is no error.

    $ muster kv delete app/workers
    $ muster kv delete -recurse app/`,
		Flags: append(queryFlags(),
			&cli.BoolFlag{Name: "cas", Usage: "delete only if the key is as it was at -modify-index"},
			&cli.Uint64Flag{Name: "modify-index", Usage: "with -cas: the ModifyIndex that the key must have"},
			&cli.BoolFlag{Name: "recurse", Usage: "delete all keys that begin with the prefix; without one, all"}),
		Action: deleteKV,
	}
}

func deleteKV(c *cli.Context) error {
	key := strings.TrimPrefix(c.Args().First(), "/")
	cas, index, recurse := c.Bool("cas"), c.Uint64("modify-index"), c.Bool("recurse")
	switch n := c.NArg(); {
	case n > 1:
		return failure("Too many arguments (expected 1, got %d)", n)
	case key == "" && !recurse:
		return failure("Error! Missing KEY argument")
	case !cas && index != 0:
		return failure("Cannot specify -modify-index without -cas!")
	case cas && index == 0:
		return failure("Cannot delete a key that does not exist. Provide a -modify-index greater than than 0.")
	case cas && recurse:
		return failure("Cannot specify both -cas and -recurse!")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	kv, done, what := client.KV(), true, "key: "
	switch {
	case recurse:
		what = "keys with prefix: "
		_, err = kv.DeleteTree(key, nil)
	case cas:
		done, _, err = kv.DeleteCAS(&consul.KVPair{Key: key, ModifyIndex: index}, nil)
	default:
		_, err = kv.Delete(key, nil)
	}
	switch {
	case err != nil:
		return failure("Error! Failed deleting %s%s: %v", what, key, err)
	case !done:
		return failure("Error! Did not delete key %s: CAS failed", key)
	}
	fmt.Fprintf(c.App.Writer, "Success! Deleted %s%s\n", what, key)
	return nil
}
