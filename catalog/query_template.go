package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

// Expand gives the query that a template is for a name, which begins with the
// template's own. In each text of Service it replaces
//
//	${name.full}      the name
//	${name.prefix}    what the template is called
//	${name.suffix}    what follows that in the name
//	${match(N)}       what the Nth group of the regular expression matched, 0 being
//	                  the whole; "" where nothing did
//	${agent.segment}  ""
//
// and $$ by $. A query that is no template is its own expansion.
func (q *PreparedQuery) Expand(name string) (*PreparedQuery, error) {
	if !q.IsTemplate() {
		return q, nil
	}
	if q.Template.Type != QueryPrefixMatch {
		return nil, Errorf(Invalid, "Bad Template.Type '%s'", clip(q.Template.Type))
	}
	e := expander{q: q, name: name}
	if q.Template.Regexp != "" {
		re, err := compileQuery(q.Template.Regexp)
		if err != nil {
			return nil, Errorf(Invalid, "Bad Regexp: %v", err)
		}
		e.match = re.FindStringSubmatch(name)
	}
	out := *q
	s := &out.Service
	s.Service = e.text("Service", s.Service)
	s.Near = e.text("Near", s.Near)
	s.Tags = e.list("Tags", s.Tags)
	s.IgnoreCheckIDs = e.list("IgnoreCheckIDs", s.IgnoreCheckIDs)
	s.NodeMeta = e.values("NodeMeta", s.NodeMeta)
	s.ServiceMeta = e.values("ServiceMeta", s.ServiceMeta)
	s.Failover.Datacenters = e.list("Failover.Datacenters", s.Failover.Datacenters)
	s.Failover.Targets = slices.Clone(s.Failover.Targets)
	for i := range s.Failover.Targets {
		t, field := &s.Failover.Targets[i], fmt.Sprintf("Failover.Targets[%d].", i)
		t.Peer, t.Datacenter = e.text(field+"Peer", t.Peer), e.text(field+"Datacenter", t.Datacenter)
	}
	if q.Template.RemoveEmptyTags {
		s.Tags = slices.DeleteFunc(s.Tags, func(tag string) bool { return tag == "" })
	}
	return &out, e.err
}

// expander expands the texts of one query. The first error stays.
type expander struct {
	q     *PreparedQuery
	name  string
	match []string
	err   error
}

func (e *expander) list(field string, texts []string) []string {
	texts = slices.Clone(texts)
	for i, t := range texts {
		texts[i] = e.text(fmt.Sprintf("%s[%d]", field, i), t)
	}
	return texts
}

func (e *expander) values(field string, texts map[string]string) map[string]string {
	out := maps.Clone(texts)
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		out[key] = e.text(fmt.Sprintf("%s[%s]", field, key), texts[key])
	}
	return out
}

func (e *expander) text(field, text string) string {
	var b strings.Builder
	for at := 0; at < len(text); {
		dollar := strings.IndexByte(text[at:], '$')
		if dollar < 0 {
			b.WriteString(text[at:])
			break
		}
		b.WriteString(text[at : at+dollar])
		at += dollar
		switch {
		case strings.HasPrefix(text[at:], "${"):
			expression, _, closed := strings.Cut(text[at+2:], "}")
			value, err := e.value(strings.TrimSpace(expression))
			switch {
			case !closed:
				err = Errorf(Invalid, "Bad format '%s' in Service.%s: parse error at 1:%d: expected \"}\" but found end of string", clip(text), field, len(text)+1)
			case err != nil:
				err = Errorf(Invalid, "Bad evaluation for '%s' in Service.%s: 1:%d: %v", clip(text), field, at+3, err)
			}
			if err != nil {
				e.err = cmp.Or(e.err, err)
				return ""
			}
			b.WriteString(value)
			at += len("${}") + len(expression)
		case strings.HasPrefix(text[at:], "$$"):
			b.WriteByte('$')
			at += 2
		default:
			b.WriteByte('$')
			at++
		}
	}
	return b.String()
}

// value evaluates what stands between the braces.
func (e *expander) value(expression string) (string, error) {
	switch expression {
	case "name.full":
		return e.name, nil
	case "name.prefix":
		return e.q.Name, nil
	case "name.suffix":
		return e.name[min(len(e.q.Name), len(e.name)):], nil
	case "agent.segment":
		return "", nil
	}
	function, arguments, isCall := strings.Cut(expression, "(")
	switch {
	case !isCall:
		return "", fmt.Errorf("unknown variable accessed: %s", clip(expression))
	case function != "match":
		return "", fmt.Errorf("unknown function called: %s", clip(function))
	}
	number, after, closed := strings.Cut(arguments, ")")
	group, err := strconv.ParseUint(strings.TrimSpace(number), 10, 16)
	switch {
	case err != nil || !closed || after != "":
		return "", fmt.Errorf("%s: match takes the number of a group, such as match(1)", clip(expression))
	case group < uint64(len(e.match)):
		return e.match[group], nil
	}
	return "", nil
}

// compileQuery compiles a template's regular expression, within bounds.
func compileQuery(expression string) (*regexp.Regexp, error) {
	if len(expression) > maxQueryRegexp {
		return nil, fmt.Errorf("it is %d bytes; at most %d are allowed", len(expression), maxQueryRegexp)
	}
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(program.Inst); n > maxQueryProgram {
		return nil, fmt.Errorf("its repetitions make it %d steps long; at most %d are allowed", n, maxQueryProgram)
	}
	return regexp.Compile(expression)
}
