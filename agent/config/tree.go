package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/parser"
	"github.com/hashicorp/hcl/hcl/token"
)

// node is a value in a configuration file, whatever its format, and the line it
// stands on.
type node struct {
	line int
	// value is nil, a bool, int64, float64, string, []*node or *object.
	value any
}

// object is a block of fields in the order of the file. A key may come twice,
// as blocks in HCL do.
type object struct {
	fields []field
}

type field struct {
	key   string
	value *node
}

// plain gives the value as maps and slices. Of a key that comes twice all values
// are kept, as a slice, where they are blocks; else the last one.
func (n *node) plain() any {
	switch v := n.value.(type) {
	case []*node:
		list := make([]any, len(v))
		for i, e := range v {
			list[i] = e.plain()
		}
		return list
	case *object:
		m := make(map[string]any, len(v.fields))
		for _, f := range v.fields {
			value := f.value.plain()
			if _, isBlock := f.value.value.(*object); isBlock && m[f.key] != nil {
				before, isList := m[f.key].([]any)
				if !isList {
					before = []any{m[f.key]}
				}
				value = append(before, value)
			}
			m[f.key] = value
		}
		return m
	default:
		return v
	}
}

// kind names a value's type in error messages.
func (n *node) kind() string {
	switch n.value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case int64:
		return "a whole number"
	case float64:
		return "a number"
	case string:
		return "a string"
	case []*node:
		return "a list"
	default:
		return "an object"
	}
}

// maxDepth bounds how deep objects and lists may nest.
const maxDepth = 64

// syntaxError is a fault in a file's syntax and the line it is on.
type syntaxError struct {
	line int
	err  error
}

func (e *syntaxError) Error() string { return e.err.Error() }

// parse reads a file of the given format. Text that is not said to be JSON is
// HCL, unless it begins as a JSON object does. Nothing at all is an empty object.
func parse(text []byte, format string) (*node, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) // some editors' byte order mark
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(trimmed) == 0:
		return &node{line: 1, value: &object{}}, nil
	case format == "json" || trimmed[0] == '{':
		return parseJSON(text)
	default:
		return parseHCL(text)
	}
}

func parseHCL(text []byte) (root *node, err error) {
	// The HCL 1 library panics on some malformed literals.
	defer func() {
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("malformed HCL: %v", r)
		}
	}()
	file, err := parser.Parse(text)
	if err != nil {
		var at *parser.PosError
		if errors.As(err, &at) {
			return nil, &syntaxError{line: at.Pos.Line, err: at.Err}
		}
		return nil, err
	}
	if line, ok := danglingKey(text); ok {
		return nil, &syntaxError{line: line, err: errors.New("a key without a value")}
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return nil, errors.New("a configuration is a list of keys and values")
	}
	return hclObject(list, 1, 0)
}

// danglingKey finds a last line that ends after its =, which the library drops
// without a word.
func danglingKey(text []byte) (line int, ok bool) {
	trimmed := bytes.TrimSpace(text)
	last := trimmed[bytes.LastIndexByte(trimmed, '\n')+1:]
	comment := bytes.ContainsRune(last, '#') || bytes.Contains(last, []byte("//"))
	return 1 + bytes.Count(trimmed, []byte("\n")), bytes.HasSuffix(last, []byte("=")) && !comment
}

func hclObject(list *ast.ObjectList, line, depth int) (*node, error) {
	if depth > maxDepth {
		return nil, &syntaxError{line, errors.New("nested too deep")}
	}
	o := &object{}
	for _, item := range list.Items {
		if len(item.Keys) == 0 {
			return nil, &syntaxError{item.Pos().Line, errors.New("a value without a key")}
		}
		value, err := hclValue(item.Val, depth+1)
		if err != nil {
			return nil, err
		}
		// `a "b" { … }` is a { b { … } }.
		for i := len(item.Keys) - 1; i > 0; i-- {
			value = &node{item.Keys[i].Pos().Line, &object{[]field{{hclKey(item.Keys[i]), value}}}}
		}
		value.line = item.Keys[0].Pos().Line
		o.fields = append(o.fields, field{hclKey(item.Keys[0]), value})
	}
	return &node{line, o}, nil
}

func hclKey(k *ast.ObjectKey) string {
	if s, ok := k.Token.Value().(string); ok {
		return s
	}
	return k.Token.Text
}

func hclValue(n ast.Node, depth int) (*node, error) {
	line := n.Pos().Line
	if depth > maxDepth {
		return nil, &syntaxError{line, errors.New("nested too deep")}
	}
	switch n := n.(type) {
	case *ast.ObjectType:
		return hclObject(n.List, line, depth)
	case *ast.ListType:
		list := make([]*node, 0, len(n.List))
		for _, e := range n.List {
			v, err := hclValue(e, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return &node{line, list}, nil
	case *ast.LiteralType:
		if n.Token.Type == token.IDENT {
			return nil, &syntaxError{line, fmt.Errorf("%s is no value; is it to be %q?", n.Token.Text, n.Token.Text)}
		}
		return &node{line, n.Token.Value()}, nil
	default:
		return nil, &syntaxError{line, fmt.Errorf("unexpected %T", n)}
	}
}

// jsonReader builds a tree from JSON tokens, to have the line of each key.
type jsonReader struct {
	dec  *json.Decoder
	text []byte
	// line is that of offset, both of the last token that was asked for.
	line   int
	offset int64
}

func parseJSON(text []byte) (*node, error) {
	r := &jsonReader{dec: json.NewDecoder(bytes.NewReader(text)), text: text, line: 1}
	r.dec.UseNumber()
	root, err := r.value(0)
	if err == nil {
		if _, more := r.dec.Token(); more == nil {
			err = errors.New("more text after the end of the object")
		} else if !errors.Is(more, io.EOF) {
			err = more
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, &syntaxError{r.at(), err}
	}
	if _, ok := root.value.(*object); !ok {
		return nil, &syntaxError{root.line, fmt.Errorf("a configuration is an object, not %s", root.kind())}
	}
	return root, nil
}

// at is the line of the last token.
func (r *jsonReader) at() int {
	if now := r.dec.InputOffset(); now > r.offset {
		r.line += bytes.Count(r.text[r.offset:now], []byte("\n"))
		r.offset = now
	}
	return r.line
}

func (r *jsonReader) value(depth int) (*node, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deep")
	}
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	n := &node{line: r.at()}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			n.value, err = r.list(depth)
		} else {
			n.value, err = r.object(depth)
		}
		return n, err
	case json.Number:
		n.value, err = number(t)
		return n, err
	default:
		n.value = t
		return n, nil
	}
}

func (r *jsonReader) list(depth int) ([]*node, error) {
	list := []*node{}
	for r.dec.More() {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := r.dec.Token()
	return list, err
}

func (r *jsonReader) object(depth int) (*object, error) {
	o := &object{}
	for r.dec.More() {
		t, err := r.dec.Token()
		if err != nil {
			return nil, err
		}
		key, ok := t.(string)
		if !ok {
			return nil, fmt.Errorf("a key must be a string, not %v", t)
		}
		line := r.at()
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		v.line = line
		o.fields = append(o.fields, field{key, v})
	}
	_, err := r.dec.Token()
	return o, err
}

// number reads a whole number as int64, else a float64.
func number(n json.Number) (any, error) {
	if !strings.ContainsAny(n.String(), ".eE") {
		if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
			return i, nil
		}
	}
	return n.Float64()
}

// Object reads one object, HCL or JSON, as maps and slices.
func Object(text []byte) (map[string]any, error) {
	root, err := parse(text, "")
	if err != nil {
		return nil, err
	}
	return root.plain().(map[string]any), nil
}
