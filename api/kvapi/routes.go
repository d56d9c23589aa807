package kvapi

import (
	"net/http"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

// Routes gives the rows.
func Routes() []api.Route {
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/kv/{key}", Kind: api.Read,
			Doc: "Reads an entry, or with recurse all whose key begins with the path.",
			Params: []api.Param{
				{Name: "recurse", Doc: "all entries whose key begins with the path"},
				{Name: "keys", Doc: "the keys that begin with the path, alone"},
				{Name: "separator", Doc: "with keys: cut each key behind the next separator, and list it once"},
				{Name: "raw", Doc: "the value as it is"},
			},
			Answer: entriesOrKeys{}, Plain: true,
			View: read, Visible: visible, Render: render,
		},
		{
			Method: http.MethodPut, Path: "/v1/kv/{key}", Kind: api.Write,
			Doc: "Sets an entry to the request's body.",
			Params: []api.Param{
				{Name: "flags", Doc: "a number of the user's own, of 64 bits"},
				{Name: "cas", Doc: "only if the entry's ModifyIndex is this, or with 0 if there is none"},
				{Name: "acquire", Doc: "lock the entry for this session, if no other holds it"},
				{Name: "release", Doc: "unlock the entry, if this session holds it"},
			},
			ACL:     api.Rule{Resource: acl.Key, Access: acl.Write, Name: key},
			Command: put, Limit: api.ValueLimit, Answer: true, Render: done,
		},
		{
			Method: http.MethodDelete, Path: "/v1/kv/{key}", Kind: api.Write,
			Doc: "Deletes an entry, or with recurse all whose key begins with the path.",
			Params: []api.Param{
				{Name: "recurse", Doc: "all entries whose key begins with the path"},
				{Name: "cas", Doc: "only if the entry's ModifyIndex is this"},
			},
			ACL:     api.Rule{Resource: acl.Key, Access: acl.Write, Name: key},
			Command: remove, Answer: true, Render: done,
		},
	}
}

func key(r *api.Request) string { return r.Var("key") }

// done renders what a KV command says: whether its condition was met.
func done(_ *api.Request, answer any) any { return answer }

// entriesOrKeys stands for the answers of a read in the description of the API.
type entriesOrKeys struct{}

// SchemaSample implements api.Schemed: a list of entries, or with keys of keys.
func (entriesOrKeys) SchemaSample() any { return api.OneOf{[]catalog.KVPair{}, []string{}} }
