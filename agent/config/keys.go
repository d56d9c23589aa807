package config

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Status says what becomes of a key.
type Status int

// The classes of keys.
const (
	// Here is a key that Muster acts on.
	Here Status = iota
	// Later is taken with a warning that names it, and not acted on.
	Later
	// Never is taken only where its value asks for nothing; else it is an error.
	Never
)

// String gives the class as docs/compatibility.md names it.
func (s Status) String() string { return [...]string{"here", "not yet", "won't"}[s] }

// Type is the type of a key's value.
type Type string

// The types of values.
const (
	Bool     Type = "boolean"
	Int      Type = "whole number"
	Number   Type = "number"
	String   Type = "string"
	Duration Type = "duration"
	List     Type = "list of strings"
	Map      Type = "map of strings"
	Block    Type = "block" // its own rules apply inside
)

// Key is one row of the table: a configuration key, and its flag if it has one.
type Key struct {
	// Path is the key with those of the blocks around it, such as "ports.http".
	Path string
	Type Type
	// Flag is the name of the flag that sets it, "" if there is none.
	Flag string
	// Doc says what it does; where it isn't acted on, what that means.
	Doc    string
	Status Status

	// set puts a value of the row's type into a draft; a Block has add instead.
	set func(d *draft, v any) error
	add func(d *draft, path string, n *node, file string)
}

// Keys lists every key that is known, by area.
func Keys() []Key {
	var all []Key
	for _, area := range [][]Key{actedOn(), notYet(), wont()} {
		all = append(all, area...)
	}
	return all
}

// Flags lists the keys that have a flag.
func Flags() []Key {
	var flags []Key
	for _, k := range Keys() {
		if k.Flag != "" {
			flags = append(flags, k)
		}
	}
	return flags
}

// table finds rows, and the blocks above them, by lower-case path.
type table struct {
	rows   map[string]Key
	blocks map[string]bool
}

func newTable(keys []Key) table {
	t := table{rows: map[string]Key{}, blocks: map[string]bool{}}
	for _, k := range keys {
		t.rows[k.Path] = k
		for i, c := range k.Path {
			if c == '.' {
				t.blocks[k.Path[:i]] = true
			}
		}
	}
	return t
}

// key makes the row of a key that is acted on. Its type is that of the field it
// sets: a later value replaces an earlier scalar, and adds to a list or map.
func key[T any](path, flag, doc string, of func(*draft) *T) Key {
	k := Key{Path: path, Flag: flag, Doc: doc, Type: typeOf[T]()}
	k.set = func(d *draft, v any) error {
		switch to := any(of(d)).(type) {
		case *[]string:
			*to = append(*to, v.([]string)...)
		case *map[string]string:
			if *to == nil {
				*to = map[string]string{}
			}
			for name, value := range v.(map[string]string) {
				(*to)[name] = value
			}
		case *Secret:
			*to = Secret(v.(string))
		case *uint64:
			n := v.(int)
			if n < 0 {
				return fmt.Errorf("cannot be %d; it must not be negative", n)
			}
			*to = uint64(n)
		case *uint32:
			n := v.(int)
			if n < 0 || n > math.MaxInt32 {
				return fmt.Errorf("cannot be %d; it must be from 0 to %d", n, math.MaxInt32)
			}
			*to = uint32(n)
		case *T:
			*to = v.(T)
		}
		return nil
	}
	return k
}

func typeOf[T any]() Type {
	switch any(*new(T)).(type) {
	case bool:
		return Bool
	case int, uint64, uint32:
		return Int
	case float64:
		return Number
	case time.Duration:
		return Duration
	case []string:
		return List
	case map[string]string:
		return Map
	default:
		return String
	}
}

// rows makes the rows of keys that nothing is done with, one a line: path, type
// if it isn't a string, and after @ the flag.
func rows(status Status, doc, lines string) []Key {
	types := map[string]Type{"bool": Bool, "int": Int, "number": Number, "duration": Duration, "list": List, "map": Map, "block": Block}
	var keys []Key
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		k := Key{Path: words[0], Type: String, Doc: doc, Status: status}
		for _, w := range words[1:] {
			if flag, ok := strings.CutPrefix(w, "@"); ok {
				k.Flag = flag
			} else {
				k.Type = types[w]
			}
		}
		keys = append(keys, k)
	}
	return keys
}
