package api

import (
	"encoding/json"
	"reflect"
	"strings"
)

// schemas are the JSON Schemas (2020-12) of struct types, each made once and
// referred to by name.
type schemas map[reflect.Type]*namedSchema

type namedSchema struct {
	name   string
	schema object
}

// Schemed is a type whose JSON is not that of its fields: it says by an example
// what its JSON is like.
type Schemed interface{ SchemaSample() any }

// OneOf is a sample of JSON that has one of several forms.
type OneOf []any

// of gives the schema of a value's type.
func (s schemas) of(sample any) object {
	if samples, ok := sample.(OneOf); ok {
		forms := []object{}
		for _, one := range samples {
			forms = append(forms, s.of(one))
		}
		return object{"anyOf": forms}
	}
	return s.ofType(reflect.TypeOf(sample))
}

func (s schemas) ofType(t reflect.Type) object {
	if t == nil || t.Kind() == reflect.Interface {
		return object{}
	}
	if t.Implements(reflect.TypeFor[Schemed]()) {
		return s.of(reflect.Zero(t).Interface().(Schemed).SchemaSample())
	}
	plain := reflect.New(t).Type()
	if t != reflect.TypeFor[json.RawMessage]() && plain.Implements(reflect.TypeFor[json.Marshaler]()) && t.Kind() != reflect.Pointer {
		return object{} // whatever it makes of itself
	}
	switch t.Kind() {
	case reflect.Pointer:
		return orNull(s.ofType(t.Elem()))
	case reflect.Struct:
		return object{"$ref": "#/components/schemas/" + s.named(t).name}
	case reflect.Map:
		return object{"type": []string{"object", "null"}, "additionalProperties": s.ofType(t.Elem())}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": []string{"string", "null"}, "contentEncoding": "base64"}
		}
		return object{"type": []string{"array", "null"}, "items": s.ofType(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	}
	return object{}
}

func orNull(schema object) object {
	if len(schema) == 0 {
		return schema
	}
	return object{"anyOf": []object{schema, {"type": "null"}}}
}

// named gives a struct's schema. It is noted before its fields are looked at, as
// types refer to themselves.
func (s schemas) named(t reflect.Type) *namedSchema {
	if known := s[t]; known != nil {
		return known
	}
	name := t.Name()
	if name == "" {
		name = "Object"
	}
	name = strings.ToUpper(name[:1]) + name[1:]
	for base, taken := name, true; taken; {
		taken = false
		for _, other := range s {
			taken = taken || other.name == name
		}
		if taken {
			name += base
		}
	}
	properties := object{}
	named := &namedSchema{name, object{"type": "object", "properties": properties}}
	s[t] = named
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || f.Anonymous || tag == "-" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		properties[tag] = s.ofType(f.Type)
	}
	return named
}
