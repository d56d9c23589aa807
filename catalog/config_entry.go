package catalog

import (
	"bytes"
	"encoding/json"
)

// ConfigEntry says how a service, or the mesh, is to behave
// (https://developer.hashicorp.com/consul/docs/fundamentals/config-entry). Kind and
// name identify it, without regard to case.
type ConfigEntry struct {
	Kind string
	Name string
	// Body is a JSON object of all that the entry says, Kind and Name among it.
	// configentry.Decode makes it.
	Body []byte
	Indexes
}

// Same reports whether two entries say the same, whatever their indexes.
func (e *ConfigEntry) Same(o *ConfigEntry) bool {
	return e.Kind == o.Kind && e.Name == o.Name && bytes.Equal(e.Body, o.Body)
}

// MarshalJSON implements json.Marshaler: Body with the indexes.
func (e *ConfigEntry) MarshalJSON() ([]byte, error) {
	indexes, err := json.Marshal(e.Indexes)
	if err != nil {
		return nil, err
	}
	whole := bytes.TrimSuffix(bytes.TrimSpace(e.Body), []byte("}"))
	return append(append(bytes.Clone(whole), ','), indexes[1:]...), nil
}

// SchemaSample says for the description of the API what its JSON is like: an object
// whose keys its kind decides.
func (*ConfigEntry) SchemaSample() any { return map[string]any{} }

// ConfigVerb is what a SetConfig does. Numbers are part of the log format.
type ConfigVerb uint8

// The verbs.
const (
	ConfigSet       ConfigVerb = 1
	ConfigCAS       ConfigVerb = 2 // set, where the entry's ModifyIndex is Index; 0: where there is no entry
	ConfigDelete    ConfigVerb = 3
	ConfigDeleteCAS ConfigVerb = 4 // delete, where the entry's ModifyIndex is Index
)

// SetConfig changes a config entry. Its result's Value is a bool: whether the
// condition that the verb has was met; true for verbs that have none.
type SetConfig struct {
	Verb  ConfigVerb
	Kind  string
	Name  string
	Body  []byte `codec:",omitempty"`
	Index uint64 `codec:",omitempty"`
}

// Op implements Command.
func (*SetConfig) Op() Op { return OpSetConfig }
