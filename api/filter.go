package api

//lint:file-ignore ST1005 these are texts of Consul's

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
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
// of an empty one. It refuses what no element could have or be compared with, so
// that a fault doesn't depend on what is stored.
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
		return checkMatch(e, t, bound)
	case *grammar.CollectionExpression:
		if len(bound) > 0 {
			return fmt.Errorf("any and all can't be nested")
		}
		b := e.NameBinding
		if _, err := checkSelector(e.Selector, t, bound); err != nil {
			return err
		}
		return checkSelectors(e.Inner, t, []string{b.Default, b.Index, b.Value})
	}
	return fmt.Errorf("unknown expression %T", e)
}

// badSelector is a selector that no element could have.
type badSelector string

func (s badSelector) Error() string { return fmt.Sprintf("Selector %q is not valid", string(s)) }

// checkSelector gives the type of what a selector leads to, nil where that is only known
// of each element.
func checkSelector(s grammar.Selector, t reflect.Type, bound []string) (reflect.Type, error) {
	for i, part := range s.Path {
		if i == 0 && slices.Contains(bound, part) {
			return nil, nil
		}
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice { // any element's
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Struct:
			f, ok := t.FieldByName(part)
			if !ok || !f.IsExported() || f.Tag.Get("bexpr") == "-" {
				return nil, badSelector(strings.Join(s.Path[:i+1], "."))
			}
			t = f.Type
		case reflect.Map:
			t = t.Elem()
		case reflect.Interface:
			return nil, nil
		default:
			return nil, badSelector(strings.Join(s.Path[:i+1], "."))
		}
	}
	if t = pointedTo(t); t.Kind() == reflect.Interface {
		return nil, nil
	}
	return t, nil
}

func pointedTo(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// checkMatch checks that what an expression compares can be compared so.
func checkMatch(e *grammar.MatchExpression, t reflect.Type, bound []string) error {
	leaf, err := checkSelector(e.Selector, t, bound)
	if err != nil || leaf == nil {
		return err
	}
	selector, kind := strings.Join(e.Selector.Path, "."), leaf.Kind()
	if !fits(e.Operator, kind) {
		return fmt.Errorf("Invalid match operator %q for selector %q", e.Operator, selector)
	}
	switch e.Operator {
	case grammar.MatchEqual, grammar.MatchNotEqual:
		if err := coerce(e.Value.Raw, kind); err != nil {
			return fmt.Errorf("Failed to coerce value %q for selector %q: %v", e.Value.Raw, selector, err)
		}
	case grammar.MatchMatches, grammar.MatchNotMatches:
		if _, err := regexp.Compile(e.Value.Raw); err != nil {
			return fmt.Errorf("Failed to compile regular expression %q: %v", e.Value.Raw, err)
		}
	}
	return nil
}

// fits says whether an operator is for values of a kind. Consul's are, but for
// its refusal of text that is empty or holds another.
func fits(op grammar.MatchOperator, kind reflect.Kind) bool {
	holds := kind == reflect.Map || kind == reflect.Slice
	switch op {
	case grammar.MatchEqual, grammar.MatchNotEqual:
		return !holds && kind != reflect.Struct
	case grammar.MatchIsEmpty, grammar.MatchIsNotEmpty, grammar.MatchIn, grammar.MatchNotIn, grammar.MatchContains, grammar.MatchNotContains:
		return holds || kind == reflect.String
	}
	return true
}

// coerce says why a text is no value of a kind.
func coerce(text string, kind reflect.Kind) (err error) {
	switch kind {
	case reflect.Bool:
		_, err = strconv.ParseBool(text)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		_, err = strconv.ParseInt(text, 0, 64)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		_, err = strconv.ParseUint(text, 0, 64)
	case reflect.Float32, reflect.Float64:
		_, err = strconv.ParseFloat(text, 64)
	}
	return err
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
