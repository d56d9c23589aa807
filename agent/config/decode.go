package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// decoder fills Go values from a file's tree. It notes every fault with its line
// and path, and goes on.
type decoder struct {
	d    *draft
	file string
}

func (c decoder) fault(path string, n *node, format string, args ...any) {
	c.d.faultAt(origin{c.file, n.line}, "%s %s", path, fmt.Sprintf(format, args...))
}

// decode fills to from n. Struct fields are found by their names, without regard
// to case and to underscores in keys; null leaves a value as it is.
func (c decoder) decode(path string, n *node, to reflect.Value) {
	if n.value == nil {
		return
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		v, err := Key{Type: Duration}.value(n)
		if err != nil {
			c.fault(path, n, "%v", err)
			return
		}
		to.Set(reflect.ValueOf(v))
		return
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		c.decode(path, n, to.Elem())
	case reflect.Struct:
		c.object(path, n, to)
	case reflect.Slice:
		c.list(path, n, to)
	case reflect.Map:
		c.mapping(path, n, to)
	case reflect.Interface:
		to.Set(reflect.ValueOf(n.plain()))
	default:
		c.scalar(path, n, to)
	}
}

func (c decoder) scalar(path string, n *node, to reflect.Value) {
	k := Key{Type: map[reflect.Kind]Type{reflect.Bool: Bool, reflect.Int: Int, reflect.String: String}[to.Kind()]}
	v, err := k.value(n)
	if err != nil {
		c.fault(path, n, "%v", err)
		return
	}
	to.Set(reflect.ValueOf(v).Convert(to.Type()))
}

func (c decoder) object(path string, n *node, to reflect.Value) {
	blocks, ok := n.blocks()
	if !ok || len(blocks) > 1 {
		c.fault(path, n, "must be one object, not %s", n.kind())
		return
	}
	for _, b := range blocks {
		count := map[string]int{} // of a key that comes several times, as blocks may
		for _, f := range b.fields {
			inner := path + "." + f.key
			into := fieldNamed(to, f.key)
			switch {
			case !into.IsValid():
				c.d.faultAt(origin{c.file, f.value.line}, "invalid config key %s", inner)
			case into.Kind() == reflect.Slice && count[f.key] > 0:
				c.decode(fmt.Sprintf("%s[%d]", inner, count[f.key]), f.value, into)
			default:
				c.decode(inner, f.value, into)
			}
			count[f.key]++
		}
	}
}

// fieldNamed finds the field for a key, in embedded structs too.
func fieldNamed(v reflect.Value, key string) reflect.Value {
	name := strings.ReplaceAll(key, "_", "")
	return v.FieldByNameFunc(func(field string) bool {
		f, _ := v.Type().FieldByName(field)
		return f.IsExported() && !f.Anonymous && strings.EqualFold(field, name)
	})
}

// list adds to a slice; what is no list is an element.
func (c decoder) list(path string, n *node, to reflect.Value) {
	elements, isList := n.value.([]*node)
	if !isList {
		elements = []*node{n}
	}
	to.Set(slicesGrow(to, len(elements)))
	for i, e := range elements {
		inner := path
		if isList {
			inner = fmt.Sprintf("%s[%d]", path, i)
		}
		element := reflect.New(to.Type().Elem()).Elem()
		c.decode(inner, e, element)
		to.Set(reflect.Append(to, element))
	}
}

// slicesGrow gives a slice, never nil, with room for n more.
func slicesGrow(v reflect.Value, n int) reflect.Value {
	grown := reflect.MakeSlice(v.Type(), v.Len(), v.Len()+n)
	reflect.Copy(grown, v)
	return grown
}

func (c decoder) mapping(path string, n *node, to reflect.Value) {
	blocks, ok := n.blocks()
	if !ok {
		c.fault(path, n, "must be an object, not %s", n.kind())
		return
	}
	if to.IsNil() {
		to.Set(reflect.MakeMap(to.Type()))
	}
	for _, b := range blocks {
		for _, f := range b.fields {
			element := reflect.New(to.Type().Elem()).Elem()
			c.decode(path+"."+f.key, f.value, element)
			to.SetMapIndex(reflect.ValueOf(f.key), element)
		}
	}
}

// elements gives the objects that a block key holds, one or a list of them, each
// with its path.
func (c decoder) elements(path string, n *node) (paths []string, nodes []*node) {
	list, isList := n.value.([]*node)
	if !isList {
		return []string{path}, []*node{n}
	}
	for i := range list {
		paths = append(paths, fmt.Sprintf("%s[%d]", path, i))
	}
	return paths, slices.Clone(list)
}
