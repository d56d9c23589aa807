package kvapi

import (
	"fmt"
	"strconv"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

// put makes the command that sets an entry.
func put(r *api.Request) (catalog.Command, error) {
	cmd := &catalog.KV{Verb: catalog.KVSet, Key: key(r), Value: r.Body}
	if cmd.Key == "" {
		return nil, errNoKey
	}
	if err := oneOf(r, "cas", "acquire", "release"); err != nil {
		return nil, err
	}
	var err error
	if r.Has("flags") {
		if cmd.Flags, err = number(r, "flags"); err != nil {
			return nil, err
		}
	}
	switch {
	case r.Has("cas"):
		cmd.Verb = catalog.KVCAS
		cmd.Index, err = number(r, "cas")
	case r.Has("acquire"):
		cmd.Verb, cmd.Session = catalog.KVLock, r.Query.Get("acquire")
	case r.Has("release"):
		cmd.Verb, cmd.Session = catalog.KVUnlock, r.Query.Get("release")
	}
	return cmd, err
}

// remove makes the command that deletes an entry or a tree.
func remove(r *api.Request) (catalog.Command, error) {
	if err := oneOf(r, "recurse", "cas"); err != nil {
		return nil, err
	}
	cmd := &catalog.KV{Verb: catalog.KVDelete, Key: key(r)}
	switch {
	case r.Has("recurse"):
		cmd.Verb = catalog.KVDeleteTree
		if !r.Authz.AllowedAll(acl.Key, acl.Write) {
			// Which keys there are only the state knows that applies this.
			return nil, catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission 'key:write' for all keys that begin with %q", cmd.Key)
		}
		return cmd, nil
	case cmd.Key == "":
		return nil, errNoKey
	case r.Has("cas"):
		var err error
		cmd.Verb = catalog.KVDeleteCAS
		cmd.Index, err = number(r, "cas")
		return cmd, err
	}
	return cmd, nil
}

// oneOf refuses a request with more than one of some parameters.
func oneOf(r *api.Request, params ...string) error {
	given := 0
	for _, p := range params {
		if r.Has(p) {
			given++
		}
	}
	if given > 1 {
		return catalog.Errorf(catalog.Invalid, "Conflicting flags: %s\n", r.Query.Encode())
	}
	return nil
}

// number reads a parameter that is a number of 64 bits.
func number(r *api.Request, param string) (uint64, error) {
	n, err := strconv.ParseUint(r.Query.Get(param), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", catalog.Errorf(catalog.Invalid, "Invalid value for ?%s", param), err)
	}
	return n, nil
}
