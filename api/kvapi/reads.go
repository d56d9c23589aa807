package kvapi

import (
	"net/http"
	"slices"
	"strings"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

var errNoKey = catalog.Errorf(catalog.Invalid, "Missing key name")

// read finds the entries that a caller asks for.
func read(v *state.View, r *api.Request) (any, error) {
	if r.Has("recurse") || r.Has("keys") {
		return v.KVBelow(key(r)), nil
	}
	if key(r) == "" {
		return nil, errNoKey
	}
	if err := acl.Check(r.Authz, acl.Key, key(r), acl.Read); err != nil {
		return nil, err
	}
	if e := v.KV(key(r)); e != nil {
		return []*catalog.KVPair{e}, nil
	}
	return []*catalog.KVPair{}, nil
}

// visible leaves out the entries that a caller may not read.
func visible(az acl.Authorizer, answer any) (any, bool) {
	if az.AllowedAll(acl.Key, acl.Read) {
		return answer, false
	}
	all := answer.([]*catalog.KVPair)
	kept := slices.DeleteFunc(slices.Clone(all), func(e *catalog.KVPair) bool { return !az.Allowed(acl.Key, e.Key, acl.Read) })
	return kept, len(kept) < len(all)
}

// render makes of entries what their caller wants. Who follows a stream is told by
// an empty list that there is nothing.
func render(r *api.Request, answer any) any {
	entries := answer.([]*catalog.KVPair)
	switch {
	// All keys of an empty store are a list: Consul has it so, too.
	case len(entries) == 0 && !r.Streams && !(r.Has("keys") && key(r) == ""):
		return &api.Answer{Status: http.StatusNotFound}
	case r.Has("keys"):
		return keys(entries, key(r), r.Query.Get("separator"))
	case r.Has("raw") && !r.Has("recurse") && !r.Streams:
		return &api.Answer{
			// What anyone may have put there must not run as a page of this agent's.
			Header: map[string]string{"Content-Security-Policy": "sandbox"},
			Body:   api.Raw{ContentType: "text/plain", Data: entries[0].Value},
		}
	}
	return entries
}

// keys lists keys, each cut behind the first separator after the prefix.
func keys(entries []*catalog.KVPair, prefix, separator string) []string {
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		k := e.Key
		if separator != "" {
			if i := strings.Index(k[len(prefix):], separator); i >= 0 {
				k = k[:len(prefix)+i+len(separator)]
			}
		}
		// Entries come sorted: what is cut to the same key stands together.
		if n := len(list); n == 0 || list[n-1] != k {
			list = append(list, k)
		}
	}
	return list
}
