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
// their names in snake case, such as enable_tag_override, and so do those of the structs
// within that have no UnmarshalJSON. Unknown fields are refused. T must be without an
// UnmarshalJSON of its own.
func DecodeLoosely[T any](data []byte, to *T) error {
	if bytes.ContainsAny(data, `_\`) { // else no name is in snake case
		data = inCamelCase(data, reflect.TypeFor[T]())
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(to)
}

// inCamelCase gives an object, or a list of them, with the names that the fields of a type
// have in place of those in snake case, also in objects within. What else it is stays as
// it is, for who reads it to refuse.
func inCamelCase(data []byte, t reflect.Type) []byte {
	var renamed any
	if t.Kind() == reflect.Slice {
		renamed = renamedItems(data, t.Elem())
	} else {
		renamed = renamedFields(data, fieldsOf(t))
	}
	if renamed != nil {
		if out, err := json.Marshal(renamed); err == nil {
			return out
		}
	}
	return data
}

// renamedItems gives the objects of a list, nil if there is nothing to rename.
func renamedItems(data []byte, of reflect.Type) any {
	var list []json.RawMessage
	if json.Unmarshal(data, &list) != nil || len(list) == 0 {
		return nil
	}
	for i := range list {
		list[i] = inCamelCase(list[i], of)
	}
	return list
}

// renamedFields gives the fields of an object, nil if there is nothing to rename.
func renamedFields(data []byte, known map[string]looseField) any {
	var fields map[string]json.RawMessage
	if json.Unmarshal(data, &fields) != nil {
		return nil
	}
	renamed := false
	for name, value := range fields {
		f, ok := known[strings.ToLower(strings.ReplaceAll(name, "_", ""))]
		if !ok {
			continue
		}
		if f.objects != nil && bytes.ContainsAny(value, `_\`) {
			value = inCamelCase(value, f.objects)
			fields[name], renamed = value, true
		}
		if strings.Contains(name, "_") {
			delete(fields, name)
			if _, both := fields[f.name]; !both {
				fields[f.name] = value
			}
			renamed = true
		}
	}
	if !renamed {
		return nil
	}
	return fields
}

// looseField is a field of a type: its name in JSON, and the type of the object or the
// list of objects that it holds, whose fields go by loose names too. That is nil for
// others, and for what reads itself.
type looseField struct {
	name    string
	objects reflect.Type
}

// fieldsByType are the answers of fieldsOf, for there are few types and many requests.
var fieldsByType sync.Map

// fieldsOf gives a type's fields in JSON, by their names in lower case.
func fieldsOf(t reflect.Type) map[string]looseField {
	if known, ok := fieldsByType.Load(t); ok {
		return known.(map[string]looseField)
	}
	known := map[string]looseField{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" && f.Anonymous {
			continue
		}
		if name == "" {
			name = f.Name
		}
		known[strings.ToLower(name)] = looseField{name, objectsIn(f.Type)}
	}
	fieldsByType.Store(t, known)
	return known
}

// objectsIn is the struct, or the list of structs, that a field of a type holds.
func objectsIn(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	of := t
	if t.Kind() == reflect.Slice {
		of = t.Elem()
	}
	if of.Kind() != reflect.Struct || reflect.PointerTo(of).Implements(reflect.TypeFor[json.Unmarshaler]()) {
		return nil
	}
	return t
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
