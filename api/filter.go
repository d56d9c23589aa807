package api

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/hashicorp/go-bexpr"
	"github.com/hashicorp/go-bexpr/grammar"

	"muster/catalog"
)

// maxExpressions bounds the parser's steps, which grow fast with nested
// parentheses. It is enough for some hundred comparisons, and used up in less
// than 50 ms.
const maxExpressions = 100_000

// compileFilter makes a filter of an expression over elements like sample, nil
// of an empty one. It refuses selectors that no element could have, so that
// their fault doesn't depend on what is stored.
func compileFilter(expression string, sample any) (*bexpr.Evaluator, error) {
	if expression == "" {
		return nil, nil
	}
	ast, err := grammar.Parse("", []byte(expression), grammar.MaxExpressions(maxExpressions))
	if err == nil {
		err = checkSelectors(ast.(grammar.Expression), reflect.TypeOf(sample), nil)
	}
	var eval *bexpr.Evaluator
	if err == nil {
		if spelled, changed := lookThrough(ast.(grammar.Expression), reflect.TypeOf(sample)); changed {
			expression = spelled
		}
		eval, err = bexpr.CreateEvaluator(expression, bexpr.WithMaxExpressions(maxExpressions))
	}
	if err != nil {
		return nil, filterError("Failed to create boolean expression evaluator: %v", err)
	}
	return eval, nil
}

// filterError is Consul's answer to a bad filter: its clients expect a 500.
func filterError(format string, args ...any) error {
	return catalog.Errorf(catalog.Internal, format, args...)
}

// checkSelectors walks an expression; bound are the names that any and all give.
func checkSelectors(e grammar.Expression, t reflect.Type, bound []string) error {
	switch e := e.(type) {
	case *grammar.UnaryExpression:
		return checkSelectors(e.Operand, t, bound)
	case *grammar.BinaryExpression:
		if err := checkSelectors(e.Left, t, bound); err != nil {
			return err
		}
		return checkSelectors(e.Right, t, bound)
	case *grammar.MatchExpression:
		return checkSelector(e.Selector, t, bound)
	case *grammar.CollectionExpression:
		if len(bound) > 0 {
			return fmt.Errorf("any and all can't be nested")
		}
		b := e.NameBinding
		if err := checkSelector(e.Selector, t, bound); err != nil {
			return err
		}
		return checkSelectors(e.Inner, t, []string{b.Default, b.Index, b.Value})
	}
	return fmt.Errorf("unknown expression %T", e)
}

// badSelector is a selector that no element could have.
type badSelector string

func (s badSelector) Error() string { return fmt.Sprintf("Selector %q is not valid", string(s)) }

func checkSelector(s grammar.Selector, t reflect.Type, bound []string) error {
	for i, part := range s.Path {
		for _, name := range bound {
			if i == 0 && part == name {
				return nil
			}
		}
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Struct:
			f, ok := t.FieldByName(part)
			if !ok || !f.IsExported() {
				return badSelector(strings.Join(s.Path[:i+1], "."))
			}
			t = f.Type
		case reflect.Map, reflect.Slice:
			t = t.Elem()
		case reflect.Interface:
			return nil
		default:
			return badSelector(strings.Join(s.Path[:i+1], "."))
		}
	}
	return nil
}

// applyFilter gives the elements of a list or a map that match.
func applyFilter(eval *bexpr.Evaluator, answer any) (any, error) {
	if f, ok := answer.(Filterable); ok {
		return f.Filtered(func(element any) (bool, error) { return match(eval, element) })
	}
	in := reflect.ValueOf(answer)
	switch in.Kind() {
	case reflect.Slice:
		out := reflect.MakeSlice(in.Type(), 0, 0)
		for i := range in.Len() {
			ok, err := match(eval, in.Index(i).Interface())
			if err != nil {
				return nil, err
			}
			if ok {
				out = reflect.Append(out, in.Index(i))
			}
		}
		return out.Interface(), nil
	case reflect.Map:
		out := reflect.MakeMap(in.Type())
		for _, key := range in.MapKeys() {
			ok, err := match(eval, in.MapIndex(key).Interface())
			if err != nil {
				return nil, err
			}
			if ok {
				out.SetMapIndex(key, in.MapIndex(key))
			}
		}
		return out.Interface(), nil
	}
	return answer, nil
}

func match(eval *bexpr.Evaluator, element any) (bool, error) {
	ok, err := eval.Evaluate(element)
	if err != nil {
		return false, filterError("Failed to filter: %v", err)
	}
	return ok, nil
}

// Filterable is an answer that is filtered by a part of it.
type Filterable interface {
	Filtered(match func(element any) (bool, error)) (any, error)
}
