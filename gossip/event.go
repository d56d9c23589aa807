package gossip

import (
	"fmt"

	"github.com/hashicorp/serf/serf"
)

// Event is a message that some agent sent to all.
type Event struct {
	Name    string
	Payload []byte
	// LTime is serf's logical time of the event: of two events, the one that
	// could have caused the other has the lower.
	LTime uint64
}

// Fire sends an event to all members, this agent among them. It comes to each
// that is reachable, once and in any order; name and payload take at most 512
// bytes, encoded.
func (p *Pool) Fire(name string, payload []byte) error {
	if err := p.serf.UserEvent(name, payload, false); err != nil {
		return fmt.Errorf("error broadcasting event: %w", err)
	}
	return nil
}

// hear passes an event on. It is called by the goroutine that drains the pool.
func (p *Pool) hear(e serf.UserEvent) {
	if p.config.OnEvent != nil {
		p.config.OnEvent(Event{e.Name, e.Payload, uint64(e.LTime)})
	}
}
