package api

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/go-bexpr/grammar"
)

// Consul's filters look through lists: Checks.Status == critical holds where
// any check's does, and so does Checks.Status != critical where any check's
// doesn't. The filter library asks for it in so many words, as in
// any Checks as each { each.Status == critical }.

// lookThrough spells an expression so that its selectors look through lists,
// and says whether any had to. An expression with an any or all of its own
// stays as it is.
func lookThrough(e grammar.Expression, t reflect.Type) (spelled string, changed bool) {
	switch e := e.(type) {
	case *grammar.UnaryExpression:
		operand, changed := lookThrough(e.Operand, t)
		return "not (" + operand + ")", changed
	case *grammar.BinaryExpression:
		left, inLeft := lookThrough(e.Left, t)
		right, inRight := lookThrough(e.Right, t)
		if left == "" || right == "" {
			return "", false
		}
		word := "and"
		if e.Operator == grammar.BinaryOpOr {
			word = "or"
		}
		return fmt.Sprintf("(%s) %s (%s)", left, word, right), inLeft || inRight
	case *grammar.MatchExpression:
		at := listBefore(e.Selector.Path, t)
		if at == 0 {
			return spellPresent(e, t)
		}
		inner := spellMatch(e, append([]string{"each"}, e.Selector.Path[at:]...))
		return fmt.Sprintf("any %s as each { %s }", spellSelector(e.Selector.Path[:at]), inner), true
	}
	return "", false
}

// spellPresent spells an expression so that it holds of what a map hasn't got what
// Consul's holds: TaggedAddresses.lan.Port == 80 fails where there is no lan. The library
// knows that of a key at a selector's end only.
func spellPresent(e *grammar.MatchExpression, t reflect.Type) (spelled string, changed bool) {
	path := e.Selector.Path
	plain := spellMatch(e, path)
	at := keyWithin(path, t)
	if at == 0 || plain == "" {
		return plain, false
	}
	key, in := quote(path[at]), spellSelector(path[:at])
	if e.Operator.NotPresentDisposition() {
		return fmt.Sprintf("%s not in %s or %s", key, in, plain), true
	}
	return fmt.Sprintf("%s in %s and %s", key, in, plain), true
}

// keyWithin gives which part of a selector is a map's key with more behind it, 0 for none.
func keyWithin(path []string, t reflect.Type) int {
	for i, part := range path[:len(path)-1] {
		t = pointedTo(t)
		switch t.Kind() {
		case reflect.Map:
			return i
		case reflect.Struct:
			f, ok := t.FieldByName(part)
			if !ok {
				return 0
			}
			t = f.Type
		default:
			return 0
		}
	}
	return 0
}

// listBefore gives how much of a selector leads to a list whose elements the
// rest selects from, 0 where there is none.
func listBefore(path []string, t reflect.Type) int {
	for i, part := range path {
		t = pointedTo(t)
		switch t.Kind() {
		case reflect.Slice:
			return i
		case reflect.Map:
			t = t.Elem()
		case reflect.Struct:
			f, ok := t.FieldByName(part)
			if !ok {
				return 0
			}
			t = f.Type
		default:
			return 0
		}
	}
	return 0
}

func spellMatch(e *grammar.MatchExpression, path []string) string {
	selector, value := spellSelector(path), ""
	if e.Value != nil {
		value = quote(e.Value.Raw)
	}
	switch e.Operator {
	case grammar.MatchEqual:
		return selector + " == " + value
	case grammar.MatchNotEqual:
		return selector + " != " + value
	case grammar.MatchIn, grammar.MatchContains:
		return value + " in " + selector
	case grammar.MatchNotIn, grammar.MatchNotContains:
		return value + " not in " + selector
	case grammar.MatchIsEmpty:
		return selector + " is empty"
	case grammar.MatchIsNotEmpty:
		return selector + " is not empty"
	case grammar.MatchMatches:
		return selector + " matches " + value
	case grammar.MatchNotMatches:
		return selector + " not matches " + value
	}
	return ""
}

func spellSelector(path []string) string {
	var b strings.Builder
	b.WriteString(path[0])
	for _, part := range path[1:] {
		b.WriteString("[" + quote(part) + "]")
	}
	return b.String()
}

// quote spells a string in the quotes that it doesn't hold.
func quote(s string) string {
	if strings.Contains(s, "`") {
		return `"` + s + `"`
	}
	return "`" + s + "`"
}
