package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"muster/catalog"
)

// planSetConfig changes a config entry.
func planSetConfig(r reader, c *catalog.SetConfig) plan {
	if err := keyable("kind of a config entry", c.Kind, c.Name); err != nil {
		return plan{err: err}
	}
	if err := keyable("name of a config entry", c.Name); err != nil {
		return plan{err: err}
	}
	old := r.configEntry(c.Kind, c.Name)
	index := uint64(0)
	if old != nil {
		index = old.ModifyIndex
	}
	switch c.Verb {
	case catalog.ConfigSet, catalog.ConfigCAS:
		e := &catalog.ConfigEntry{Kind: c.Kind, Name: c.Name, Body: c.Body}
		switch {
		case !isObject(c.Body):
			return refuse(catalog.Invalid, "the body of config entry %s/%s is not a JSON object", c.Kind, c.Name)
		case old != nil && old.Same(e):
			return plan{value: true} // whatever the index, as in Consul
		case c.Verb == catalog.ConfigCAS && index != c.Index:
			return plan{value: false}
		}
		if old != nil {
			e.CreateIndex = old.CreateIndex
		}
		return plan{value: true, putConfig: e}
	case catalog.ConfigDelete, catalog.ConfigDeleteCAS:
		switch {
		case old == nil:
			return plan{value: true}
		case c.Verb == catalog.ConfigDeleteCAS && index != c.Index:
			return plan{value: false}
		}
		return plan{value: true, removeConfig: old}
	}
	return refuse(catalog.Invalid, "unknown verb %d for a config entry", c.Verb)
}

// isObject says whether JSON is an object with something in it, which others can be
// added to.
func isObject(body []byte) bool {
	var object map[string]json.RawMessage
	return json.Unmarshal(body, &object) == nil && len(object) > 0
}

func (r reader) configEntry(kind, name string) *catalog.ConfigEntry {
	return first[*catalog.ConfigEntry](r, tableConfigs, byID, nameKey(kind, name))
}

func (w *writer) putConfig(e *catalog.ConfigEntry) {
	w.stamp(&e.Indexes)
	w.insert(tableConfigs, e)
	w.touchConfig(e)
}

func (w *writer) removeConfig(e *catalog.ConfigEntry) {
	w.delete(tableConfigs, e)
	w.touchConfig(e)
}

func (w *writer) touchConfig(e *catalog.ConfigEntry) {
	w.touch(Topic{Kind: TopicConfigs})
	w.touch(topicOf(TopicConfigKind, e.Kind))
	w.moves = append(w.moves, move{configTopic(e.Kind, e.Name), w.index})
}

// configTopic is the topic of one entry.
func configTopic(kind, name string) Topic {
	return topicOf(TopicConfigEntry, kind+"/"+name)
}

// configIndex is the index of an entry, by the key of its topic: of its last write.
// That of one that isn't there is its kind's, which its deletion moved too.
func (v *View) configIndex(key string) uint64 {
	kind, name, _ := strings.Cut(key, "/")
	if e := v.configEntry(kind, name); e != nil {
		return e.ModifyIndex
	}
	return v.indexOf(Topic{TopicConfigKind, kind})
}

// ConfigEntry returns the config entry of a kind and name, nil if there is none.
func (v *View) ConfigEntry(kind, name string) *catalog.ConfigEntry {
	v.Read(configTopic(kind, name))
	return v.configEntry(kind, name)
}

// ConfigEntries returns the config entries of a kind, or all for "", sorted by kind
// and name.
func (v *View) ConfigEntries(kind string) []*catalog.ConfigEntry {
	if kind == "" {
		v.Read(Topic{Kind: TopicConfigs})
		return list(each[*catalog.ConfigEntry](v.reader, tableConfigs, byIDPrefix, ""))
	}
	v.Read(topicOf(TopicConfigKind, kind))
	return list(each[*catalog.ConfigEntry](v.reader, tableConfigs, byIDPrefix, nameKey(kind)))
}

func (l *loader) loadConfig(body []byte) error {
	e := new(catalog.ConfigEntry)
	if err := catalog.Unmarshal(body, e); err != nil {
		return err
	}
	err := errors.Join(keyable("kind of a config entry", e.Kind), keyable("name of a config entry", e.Name),
		l.known(e.CreateIndex, e.ModifyIndex), l.ascends(nameKey(e.Kind, e.Name)))
	if err == nil && !isObject(e.Body) {
		err = fmt.Errorf("the body of config entry %s/%s is not a JSON object", e.Kind, e.Name)
	}
	if err == nil {
		l.insert(tableConfigs, e)
	}
	return err
}
