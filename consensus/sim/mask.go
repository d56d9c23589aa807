package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"muster/consensus/core"
)

// Mask takes parts of a plan away and leaves the rest as it is. The zero value
// takes nothing. As a text, which a test's flag takes, it is a list such as
// "steps=4+7 servers=3 clients=1 until=12.5s calm salt=2".
type Mask struct {
	Steps   []int         // the steps that stay, by their place in the plan; nil: all
	Servers int           // at most so many first voters; 0: all
	Clients int           // at most so many clients; 0: all
	Alone   bool          // no spare servers
	Calm    bool          // the network neither loses nor doubles nor holds up
	Exact   bool          // all clocks run alike
	Until   core.Duration // the first phase ends here at the latest; 0: as planned
	Salt    uint64        // other dice while the run goes on; 0: those of the seed
}

// Masked is p without what m takes away.
func (p Plan) Masked(m Mask) Plan {
	if m.Steps != nil {
		var steps []Step
		for _, i := range m.Steps {
			if i < len(p.Steps) {
				steps = append(steps, p.Steps[i])
			}
		}
		p.Steps = steps
	}
	if m.Servers > 0 {
		p.Servers = min(p.Servers, m.Servers)
	}
	if m.Clients > 0 {
		p.Clients = min(p.Clients, m.Clients)
		p.Keys = min(p.Keys, p.Clients)
	}
	if m.Alone {
		p.Spares = 0
	}
	if m.Calm {
		p.Loss, p.Double, p.DelayTail = 0, 0, 0
	}
	if m.Exact {
		p.SkewPPM = 0
	}
	if m.Until > 0 {
		p.Faults = min(p.Faults, m.Until)
	}
	p.Seed += m.Salt << 32
	return p
}

// String gives the text of m.
func (m Mask) String() string {
	var parts []string
	add := func(when bool, format string, args ...any) {
		if when {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(m.Steps != nil, "steps=%s", strings.Trim(strings.ReplaceAll(fmt.Sprint(m.Steps), " ", "+"), "[]"))
	add(m.Servers > 0, "servers=%d", m.Servers)
	add(m.Clients > 0, "clients=%d", m.Clients)
	add(m.Alone, "alone")
	add(m.Calm, "calm")
	add(m.Exact, "exact")
	add(m.Until > 0, "until=%v", time.Duration(m.Until))
	add(m.Salt > 0, "salt=%d", m.Salt)
	return strings.Join(parts, " ")
}

// ParseMask reads what String has written.
func ParseMask(text string) (m Mask, err error) {
	for _, part := range strings.Fields(text) {
		name, value, _ := strings.Cut(part, "=")
		var bad error
		switch name {
		case "steps":
			m.Steps, bad = parseSteps(value)
		case "servers":
			m.Servers, bad = strconv.Atoi(value)
		case "clients":
			m.Clients, bad = strconv.Atoi(value)
		case "alone":
			m.Alone = true
		case "calm":
			m.Calm = true
		case "exact":
			m.Exact = true
		case "until":
			var d time.Duration
			d, bad = time.ParseDuration(value)
			m.Until = core.Duration(d)
		case "salt":
			m.Salt, bad = strconv.ParseUint(value, 10, 31)
		default:
			bad = errors.New("no such part of a plan")
		}
		if bad != nil {
			return m, fmt.Errorf("mask: %q: %w", part, bad)
		}
	}
	return m, nil
}

func parseSteps(list string) ([]int, error) {
	steps := []int{}
	for n := range strings.SplitSeq(list, "+") {
		if n == "" {
			continue
		}
		i, err := strconv.Atoi(n)
		if err != nil || i < 0 {
			return nil, fmt.Errorf("%q is no step's number", n)
		}
		steps = append(steps, i)
	}
	return steps, nil
}
