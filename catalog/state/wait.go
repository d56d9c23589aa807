package state

import "sync"

// waiters are the calls of Wait under way, in one list per topic. Entering,
// leaving and waking take time in proportion to the waiter's own topics, whatever
// the number of waiters, and a write to a topic looks at that topic's list only.
type waiters struct {
	mu    sync.Mutex
	lists map[Topic]*place // guarded by mu; the first place of each list that has one
	// prefixes counts the lists of KV prefixes by the length of the prefix, so that
	// the write of a key finds its own. Guarded by mu.
	prefixes map[int]int
}

// waiter is one call of Wait.
type waiter struct {
	woken  chan struct{} // closed when one of its topics moved
	index  uint64        // wakes for moves above it
	places []place       // guarded by waiters.mu; nil once off the lists
	one    [1]place      // room for the usual case of one topic
}

// place is a waiter's place in the list of one topic.
type place struct {
	waiter     *waiter
	topic      Topic
	prev, next *place
}

// enter puts a waiter on the lists of its topics.
func (ws *waiters) enter(topics []Topic, index uint64) *waiter {
	w := &waiter{woken: make(chan struct{}), index: index}
	if len(topics) == 1 {
		w.places = w.one[:]
	} else {
		w.places = make([]place, len(topics))
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.lists == nil {
		ws.lists = make(map[Topic]*place)
		ws.prefixes = make(map[int]int)
	}
	for i, t := range topics {
		p := &w.places[i]
		p.waiter, p.topic, p.next = w, t, ws.lists[t]
		switch {
		case p.next != nil:
			p.next.prev = p
		case t.Kind == TopicKVPrefix:
			ws.prefixes[len(t.Key)]++
		}
		ws.lists[t] = p
	}
	return w
}

// leave takes a waiter off all lists. Leaving twice is harmless.
func (ws *waiters) leave(w *waiter) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.unlink(w)
}

func (ws *waiters) unlink(w *waiter) {
	for i := range w.places {
		p := &w.places[i]
		if p.next != nil {
			p.next.prev = p.prev
		}
		switch {
		case p.prev != nil:
			p.prev.next = p.next
		case p.next != nil:
			ws.lists[p.topic] = p.next
		default:
			delete(ws.lists, p.topic)
			ws.forget(p.topic)
		}
	}
	w.places = nil
}

// wake wakes the waiters for whom one of the moves is new. The moves can be read
// already.
func (ws *waiters) wake(moves []move) {
	if len(moves) == 0 {
		return
	}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if len(ws.lists) == 0 {
		return
	}
	for _, m := range moves {
		ws.wakeList(m)
		if m.topic.Kind != TopicKV {
			continue
		}
		for length := range ws.prefixes {
			if length <= len(m.topic.Key) {
				ws.wakeList(move{Topic{TopicKVPrefix, m.topic.Key[:length]}, m.index})
			}
		}
	}
}

// wakeList wakes those on the list of one topic. The caller holds mu.
func (ws *waiters) wakeList(m move) {
	for p := ws.lists[m.topic]; p != nil; {
		w, next := p.waiter, p.next
		// A waiter that names a topic twice has two places in this list; the
		// second one goes with it.
		for next != nil && next.waiter == w {
			next = next.next
		}
		if m.index > w.index {
			ws.unlink(w)
			close(w.woken)
		}
		p = next
	}
}

// forget counts out the list of a prefix. The caller holds mu.
func (ws *waiters) forget(t Topic) {
	if t.Kind != TopicKVPrefix {
		return
	}
	if ws.prefixes[len(t.Key)]--; ws.prefixes[len(t.Key)] == 0 {
		delete(ws.prefixes, len(t.Key))
	}
}

// wakeAll wakes every waiter.
func (ws *waiters) wakeAll() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, p := range ws.lists {
		for p != nil {
			w := p.waiter
			p = p.next
			for p != nil && p.waiter == w {
				p = p.next
			}
			ws.unlink(w)
			close(w.woken)
		}
	}
}
