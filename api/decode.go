package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"time"
)

// Decode reads a JSON body into v, strictly: a field that v lacks is refused. It
// reads the first value and nothing after it, as Consul does.
func Decode(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF):
		return invalid("Request decode failed: EOF")
	}
	if t := (*json.UnmarshalTypeError)(nil); errors.As(err, &t) {
		where := "the body"
		if t.Field != "" {
			where = "field " + t.Field
		}
		return invalid("Request decode failed: json: cannot unmarshal %s into %s, which is %s", t.Value, where, kindName(t.Type))
	}
	return invalid("Request decode failed: %v", err)
}

// kindName is what JSON calls a value of a type.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Bool, reflect.String:
		return "a " + t.Kind().String()
	case reflect.Pointer:
		return kindName(t.Elem())
	}
	return "a number"
}

// DecodeLoosely is what a type's UnmarshalJSON calls whose fields also go by
// their names in snake case, such as enable_tag_override. Unknown fields are
// refused. T must be without an UnmarshalJSON of its own.
func DecodeLoosely[T any](data []byte, to *T) error {
	if bytes.ContainsAny(data, `_\`) { // else no name is in snake case
		var err error
		if data, err = inCamelCase(data, reflect.TypeFor[T]()); err != nil {
			return err
		}
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}

// inCamelCase gives an object with the names that the fields of a type have in
// place of those in snake case.
func inCamelCase(data []byte, t reflect.Type) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	known := fieldNames(t)
	renamed := false
	for name, value := range fields {
		plain, ok := known[strings.ToLower(strings.ReplaceAll(name, "_", ""))]
		if !ok || !strings.Contains(name, "_") {
			continue
		}
		delete(fields, name)
		if _, both := fields[plain]; !both {
			fields[plain] = value
			renamed = true
		}
	}
	if !renamed {
		return data, nil
	}
	return json.Marshal(fields)
}

// namesByType are the answers of fieldNames, for there are few types and many requests.
var namesByType sync.Map

// fieldNames gives the names of a type's fields in JSON, by themselves in lower case.
func fieldNames(t reflect.Type) map[string]string {
	if known, ok := namesByType.Load(t); ok {
		return known.(map[string]string)
	}
	known := map[string]string{}
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			known[strings.ToLower(name)] = name
		} else if !f.Anonymous {
			known[strings.ToLower(f.Name)] = f.Name
		}
	}
	namesByType.Store(t, known)
	return known
}

// Duration is a time.Duration that JSON gives as text such as "10s", or as a
// number of nanoseconds.
type Duration time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case string:
		if v == "" {
			*d = 0
			return nil
		}
		parsed, err := time.ParseDuration(v)
		if err != nil {
			return err
		}
		*d = Duration(parsed)
	case float64:
		if v < -1<<63 || v >= 1<<63 {
			return fmt.Errorf("time: invalid duration %v", v)
		}
		*d = Duration(v)
	default:
		return fmt.Errorf("time: invalid duration %s", data)
	}
	return nil
}

// SchemaSample implements Schemed.
func (Duration) SchemaSample() any { return "10s" }
