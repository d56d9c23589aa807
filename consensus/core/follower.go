package core

import "fmt"

// handleAppend makes this log equal to the leader's as far as the message
// reaches. A message that comes late, twice or out of order changes nothing.
func (c *Core) handleAppend(m Message) {
	configs, err := checkAppend(m)
	if err != nil {
		c.fault("append from %q refused: %w", m.From, err)
		return
	}
	if !c.hearLeader(m) || c.installing() {
		return
	}
	c.voteless.fed = c.now
	if m.Prev.Index < c.commit {
		m = c.skipCommitted(m)
	}
	if !c.log.matches(m.Prev) {
		c.refuseAppend(m)
		return
	}
	rest := m.Entries
	for len(rest) > 0 && c.log.matches(EntryID{Term: rest[0].Term, Index: rest[0].Index}) {
		rest = rest[1:]
	}
	if len(rest) > 0 {
		conflict := rest[0].Index
		if conflict <= c.commit {
			c.fault("leader %q of term %d has term %d at index %d, where this server has committed another entry",
				m.From, m.Term, rest[0].Term, conflict)
			return
		}
		if conflict <= c.log.last {
			c.log.truncate(conflict)
			c.forgetConfigsFrom(conflict)
		}
		c.log.append(rest...)
		c.adoptConfigs(configs, conflict)
	}
	matched := m.Prev.Index + uint64(len(m.Entries))
	c.commitTo(min(m.Commit, matched)) // property 12: what lies beyond is not proven
	c.heedNotice()
	c.acknowledge(m, matched)
}

// checkAppend checks what the entries of a message claim about themselves, and
// decodes the configurations among them.
func checkAppend(m Message) ([]placedConfig, error) {
	var configs []placedConfig
	prev := m.Prev
	for _, e := range m.Entries {
		if e.Index != prev.Index+1 || e.Term < prev.Term || e.Term > m.Term || e.Term == 0 {
			return nil, fmt.Errorf("entry (%d, %d) after (%d, %d) in term %d", e.Term, e.Index, prev.Term, prev.Index, m.Term)
		}
		switch e.Kind {
		case EntryNoop, EntryCommand:
		case EntryConfig:
			config, err := DecodeConfiguration(e.Data)
			if err != nil {
				return nil, fmt.Errorf("entry at index %d: %w", e.Index, err)
			}
			configs = append(configs, placedConfig{index: e.Index, config: config})
		default:
			return nil, fmt.Errorf("entry at index %d has unknown kind %d", e.Index, e.Kind)
		}
		prev = EntryID{Term: e.Term, Index: e.Index}
	}
	return configs, nil
}

// skipCommitted cuts off what this server has committed, which every later
// leader holds too. What is left starts at the commit index.
func (c *Core) skipCommitted(m Message) Message {
	skip := min(c.commit-m.Prev.Index, uint64(len(m.Entries)))
	term, _ := c.log.term(c.commit)
	if m.Prev.Index+skip == c.commit && skip > 0 {
		// Its own word for the entry at commit: a leader that holds another one
		// is refused below.
		term = m.Entries[skip-1].Term
	}
	m.Prev = EntryID{Term: term, Index: c.commit}
	m.Entries = m.Entries[skip:]
	return m
}

// refuseAppend says that this log lacks the entry Prev, and hints at the newest
// one that may be shared.
func (c *Core) refuseAppend(m Message) {
	if m.Prev.Index == c.commit && c.commit > 0 {
		c.fault("leader %q of term %d has term %d at index %d, where this server has committed another entry",
			m.From, m.Term, m.Prev.Term, m.Prev.Index)
		return
	}
	index, ok := c.log.lastWithTermAtMost(m.Prev.Index, m.Prev.Term)
	if !ok || index < c.commit {
		index = c.commit // up to here all logs are equal
	}
	term, _ := c.log.term(index)
	c.send(Message{
		Kind: MsgAppendReply, To: m.From, Round: m.Round, Reject: true,
		Prev: m.Prev, Hint: EntryID{Term: term, Index: index}, Voteless: c.voteless.on,
	})
}

// acknowledge says that this log equals the leader's up to matched, once that is
// on disk.
func (c *Core) acknowledge(m Message, matched uint64) {
	reply := Message{
		Kind: MsgAppendReply, To: m.From, Round: m.Round, Match: matched,
		Voteless: c.voteless.on, Config: c.pledge(),
	}
	if matched <= c.log.durable {
		c.send(reply)
		return
	}
	c.sendAfterWrites(reply)
}

// handleHeartbeat answers at once, whatever the disk does. It proves nothing
// about the log but that Prev is committed as far as Commit says, if this log
// holds Prev. (Missing it is no news: entries overtaken by a heartbeat. Only a
// server that lost what it acknowledged has to say so, or would never be sent it.)
func (c *Core) handleHeartbeat(m Message) {
	if !c.hearLeader(m) {
		return
	}
	switch matches := c.log.matches(m.Prev); {
	case c.installing():
	case matches:
		c.commitTo(min(m.Commit, m.Prev.Index))
	case c.voteless.on && m.Round > 0 && m.Prev.Index > c.commit && c.now.Sub(c.voteless.fed) >= c.timing().ElectionMax:
		c.refuseAppend(m) // its leader may think that nothing is missing here
	default:
		c.notice = notice{prev: m.Prev, commit: m.Commit}
	}
	if m.Round > 0 {
		c.send(Message{Kind: MsgHeartbeatReply, To: m.From, Round: m.Round, Config: c.pledge(), Full: c.disk == DiskFull})
	}
}

// notice is what a heartbeat said of the commit index that this log could not use
// because it lacked prev: the heartbeat had overtaken the append that carries it.
// It stays true for ever: a log that holds prev equals that leader's up to there.
type notice struct {
	prev   EntryID
	commit uint64
}

// heedNotice makes use of it once the append is here.
func (c *Core) heedNotice() {
	if n := c.notice; c.log.matches(n.prev) {
		c.commitTo(min(n.commit, n.prev.Index))
	}
}
