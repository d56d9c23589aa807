package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func keyringCommand() *cli.Command {
	return &cli.Command{
		Name:  "keyring",
		Usage: "Manages the keys that gossip is encrypted with",
		Description: `Lists the gossip keys that the members have, or replaces them while all go on: give all a new key, have them encrypt with it, then remove the old one. What is changed is changed in the WAN pool and in the LAN pool of this datacenter. Ends with 1 where a member failed or did not answer.

    $ muster keyring -install=$KEY
    $ muster keyring -use=$KEY
    $ muster keyring -remove=$OLD`,
		Flags: append(clientFlags(),
			&cli.BoolFlag{Name: "list", Usage: "list the keys that members have"},
			&cli.BoolFlag{Name: "list-primary", Usage: "list the keys that members encrypt with"},
			&cli.StringFlag{Name: "install", Usage: "give all members a further key"},
			&cli.StringFlag{Name: "use", Usage: "have all members encrypt with a key that they have"},
			&cli.StringFlag{Name: "remove", Usage: "have all members forget a key that they don't encrypt with"},
			&cli.IntFlag{Name: "relay-factor", Usage: "have each member answer by way of this many others as well, at most 5"},
			&cli.BoolFlag{Name: "local-only", Usage: "list the keys of the LAN pool only"}),
		Action: keyring,
	}
}

// keyActions are the flags that say what to do, one of which is given.
var keyActions = []string{"list", "list-primary", "install", "use", "remove"}

func keyring(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	given := slices.DeleteFunc(slices.Clone(keyActions), func(name string) bool { return !c.IsSet(name) })
	relays, localOnly := c.Int("relay-factor"), c.Bool("local-only")
	switch {
	case len(given) == 0:
		return cli.Exit(commandHelp(c.Command.HelpName, c.Command), exitFailed)
	case len(given) > 1:
		return failure("Only a single action is allowed")
	case relays < 0 || relays > 5:
		return failure("Error parsing relay factor: Relay factor must be in range: [0, 5]")
	case localOnly && !c.Bool("list") && !c.Bool("list-primary"):
		return failure("Error validating local-only: local-only can only be set for list requests")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	if err := workKeyring(c, client.Operator(), given[0], uint8(relays)); err != nil {
		return failure("error: %v", err)
	}
	return nil
}

func workKeyring(c *cli.Context, operator *consul.Operator, action string, relays uint8) error {
	say := func(text string) { fmt.Fprintf(c.App.Writer, "==> %s...\n", text) }
	write := &consul.WriteOptions{RelayFactor: relays}
	switch action {
	case "install":
		say("Installing new gossip encryption key")
		return operator.KeyringInstall(c.String(action), write)
	case "use":
		say("Changing primary gossip encryption key")
		return operator.KeyringUse(c.String(action), write)
	case "remove":
		say("Removing gossip encryption key")
		return operator.KeyringRemove(c.String(action), write)
	}
	keysOf := func(r *consul.KeyringResponse) map[string]int { return r.Keys }
	if action == "list-primary" {
		keysOf = func(r *consul.KeyringResponse) map[string]int { return r.PrimaryKeys }
		say("Gathering installed primary encryption keys")
	} else {
		say("Gathering installed encryption keys")
	}
	reports, err := operator.KeyringList(&consul.QueryOptions{RelayFactor: relays, LocalOnly: c.Bool("local-only")})
	if err != nil {
		return err
	}
	for _, r := range reports {
		printKeys(c.App.Writer, r, keysOf(r))
	}
	if len(reports) == 0 {
		return errors.New("the agent knows of no gossip pool")
	}
	return nil
}

// printKeys prints how many members of a pool have each key.
func printKeys(w io.Writer, r *consul.KeyringResponse, keys map[string]int) {
	pool := r.Datacenter + " (LAN)"
	if r.WAN {
		pool = "WAN"
	}
	fmt.Fprintf(w, "\n%s:\n", pool)
	for _, name := range slices.Sorted(maps.Keys(r.Messages)) {
		fmt.Fprintf(w, "  %s: %s\n", name, r.Messages[name])
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		fmt.Fprintf(w, "  %s [%d/%d]\n", key, keys[key], r.NumNodes)
	}
}
