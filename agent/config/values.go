package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// value gives what a file says as the row's type: bool, int, float64, string,
// time.Duration, []string, map[string]string, or for a Block the *node.
func (k Key) value(n *node) (any, error) {
	switch k.Type {
	case Bool:
		if v, ok := n.value.(bool); ok {
			return v, nil
		}
	case Int:
		switch v := n.value.(type) {
		case int64:
			return toInt(v)
		case float64: // JSON and HCL may write 8500 as 8.5e3
			if v == float64(int64(v)) {
				return toInt(int64(v))
			}
		}
	case Number:
		switch v := n.value.(type) {
		case int64:
			return float64(v), nil
		case float64:
			return v, nil
		}
	case String:
		if v, ok := n.value.(string); ok {
			return v, nil
		}
	case Duration:
		if v, ok := n.value.(string); ok {
			return duration(v)
		}
		return nil, fmt.Errorf("must be a duration in quotes, such as \"30s\", not %s", n.kind())
	case List:
		if v, ok := n.texts(); ok {
			return v, nil
		}
	case Map:
		return n.textMap()
	case Block:
		return n, nil
	}
	return nil, fmt.Errorf("must be a %s, not %s", k.Type, n.kind())
}

func toInt(v int64) (int, error) {
	if int64(int(v)) != v {
		return 0, fmt.Errorf("is out of range: %d", v)
	}
	return int(v), nil
}

func duration(text string) (time.Duration, error) {
	v, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("has an invalid duration: %q is to be a number with a unit, such as 30s", text)
	}
	return v, nil
}

// texts gives a list of strings; a single string is a list of one.
func (n *node) texts() ([]string, bool) {
	switch v := n.value.(type) {
	case string:
		return []string{v}, true
	case []*node:
		list := []string{}
		for _, e := range v {
			s, ok := e.value.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}

func (n *node) textMap() (map[string]string, error) {
	blocks, ok := n.blocks()
	if !ok {
		return nil, fmt.Errorf("must be an object of strings, not %s", n.kind())
	}
	m := map[string]string{}
	for _, b := range blocks {
		for _, f := range b.fields {
			s, ok := f.value.value.(string)
			if !ok {
				return nil, fmt.Errorf("must hold strings: %q is %s", f.key, f.value.kind())
			}
			m[f.key] = s
		}
	}
	return m, nil
}

// fromText gives the value of a flag as the row's type.
func (k Key) fromText(text string) (any, error) {
	switch k.Type {
	case Bool:
		v, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("must be true or false, not %q", text)
		}
		return v, nil
	case Int:
		v, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("must be a whole number, not %q", text)
		}
		return v, nil
	case Duration:
		return duration(text)
	case List:
		return []string{text}, nil
	case Map:
		key, value, _ := strings.Cut(text, ":")
		if key == "" {
			return nil, errors.New("must have the form key:value")
		}
		return map[string]string{key: value}, nil
	default:
		return text, nil
	}
}
