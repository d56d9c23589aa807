package configentry

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// conformer brings decoded JSON to the names and types that a Go type has: keys in
// snake case, durations as text, numbers in quotes, and what HCL makes of blocks,
// lists of one object for an object.
type conformer struct {
	unknown []string // keys that the type doesn't have
	err     error    // the first value that doesn't fit
	types   map[reflect.Type]map[string]reflect.StructField
	values  int // seen so far
}

// maxValues bounds the values of an entry, but for those within free-form parts: what
// takes three bytes in JSON may take some hundred as a struct.
const maxValues = 1 << 16

// known gives the fields of a struct by their plain names.
func (c *conformer) known(t reflect.Type) map[string]reflect.StructField {
	if c.types[t] == nil {
		fields := map[string]reflect.StructField{}
		for _, f := range reflect.VisibleFields(t) {
			if !f.Anonymous {
				fields[plain(f.Name)] = f
			}
		}
		c.types[t] = fields
	}
	return c.types[t]
}

var (
	spanType     = reflect.TypeFor[time.Duration]()
	durationType = reflect.TypeFor[Duration]()
)

// plain is a key without regard to case and underscores.
func plain(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

func (c *conformer) conform(v any, like any) any { return c.value(v, reflect.TypeOf(like), "") }

func (c *conformer) value(v any, t reflect.Type, path string) any {
	if c.values++; c.values > maxValues {
		c.fail(fmt.Errorf("more than %d values", maxValues))
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil || t.Kind() == reflect.Interface {
		return v
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0]
		}
		object, ok := v.(map[string]any)
		if !ok {
			return c.misfit(path, "a map", v)
		}
		if t.Kind() == reflect.Map {
			return c.entries(object, t, path)
		}
		return c.fields(object, t, path)
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for i := range list {
			list[i] = c.value(list[i], t.Elem(), fmt.Sprintf("%s[%d]", path, i))
		}
		return list
	}
	return c.scalar(v, t, path)
}

func (c *conformer) entries(object map[string]any, t reflect.Type, path string) any {
	for _, key := range slices.Sorted(maps.Keys(object)) {
		object[key] = c.value(object[key], t.Elem(), fmt.Sprintf("%s[%s]", path, key))
	}
	return object
}

func (c *conformer) fields(object map[string]any, t reflect.Type, path string) any {
	known := c.known(t)
	conformed := make(map[string]any, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		v, at := object[key], key
		if path != "" {
			at = path + "." + key
		}
		f, ok := known[plain(key)]
		if _, again := conformed[f.Name]; !ok || again {
			c.unknown = append(c.unknown, unknownKey(at))
			continue
		}
		conformed[f.Name] = c.value(v, f.Type, at)
	}
	return conformed
}

func unknownKey(at string) string {
	fault := fmt.Sprintf("invalid config key %q", at)
	if at == "Namespace" || strings.HasSuffix(at, ".Namespace") {
		fault += ", namespaces are a consul enterprise feature"
	}
	return fault
}

// scalar brings text, numbers and truth values to the one that the type is.
func (c *conformer) scalar(v any, t reflect.Type, path string) any {
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	_, isBool := v.(bool)
	switch {
	case t == spanType || t == durationType:
		if isText && text != "" {
			d, err := time.ParseDuration(text)
			if err != nil {
				c.fail(fmt.Errorf("1 error(s) decoding:\n\n* error decoding '%s': %v", path, err))
			}
			return int64(d)
		}
		if isText {
			return 0
		}
	case t.Kind() == reflect.String:
		if isNumber {
			return number.String()
		}
		if !isText {
			return c.misfit(path, "a string", v)
		}
	case t.Kind() == reflect.Bool:
		if b, err := strconv.ParseBool(text); isText && err == nil {
			return b
		}
		if !isBool {
			return c.misfit(path, "a bool", v)
		}
	case isText:
		if _, err := strconv.ParseFloat(text, 64); err != nil || !json.Valid([]byte(text)) {
			return c.misfit(path, "a number", v)
		}
		return json.Number(text)
	case !isNumber:
		return c.misfit(path, "a number", v)
	}
	return v
}

func (c *conformer) misfit(path, want string, v any) any {
	c.fail(fmt.Errorf("1 error(s) decoding:\n\n* '%s' expected %s, got %s", path, want, nameOf(v)))
	return nil
}

func (c *conformer) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// nameOf is what Consul calls a value of JSON.
func nameOf(v any) string {
	switch v.(type) {
	case []any:
		return "'slice'"
	case map[string]any:
		return "'map'"
	case string:
		return "'string'"
	case bool:
		return "'bool'"
	case nil:
		return "'nil'"
	}
	return "'float64'"
}

// Duration is a time.Duration that JSON has as text; 0 is left out with omitzero.
type Duration time.Duration

// MarshalJSON implements json.Marshaler.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON implements json.Unmarshaler. It takes nanoseconds, too.
func (d *Duration) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '"' {
		return json.Unmarshal(data, (*time.Duration)(d))
	}
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(text)
	*d = Duration(parsed)
	return err
}
