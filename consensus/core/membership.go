package core

import (
	"fmt"
	"slices"
	"strings"
)

// placedConfig is a Configuration and the log index it stands at.
type placedConfig struct {
	index  uint64
	config Configuration
}

// restoreConfigs gathers the configurations of a snapshot and of the log after it.
func restoreConfigs(r Restored) ([]placedConfig, error) {
	var configs []placedConfig
	if r.Snapshot.Index > 0 {
		if err := r.Snapshot.Config.Validate(); err != nil {
			return nil, fmt.Errorf("configuration of the snapshot at index %d: %w", r.Snapshot.Index, err)
		}
		configs = append(configs, placedConfig{index: r.Snapshot.ConfigIndex, config: r.Snapshot.Config})
	}
	for _, e := range r.Configs {
		if len(configs) > 0 && e.Index <= configs[len(configs)-1].index {
			continue
		}
		config, err := DecodeConfiguration(e.Data)
		if err != nil {
			return nil, fmt.Errorf("entry at index %d: %w", e.Index, err)
		}
		configs = append(configs, placedConfig{index: e.Index, config: config})
	}
	return configs, nil
}

// config is the configuration that counts: the newest in the log, committed or
// not. It is empty on a server that has none yet.
func (c *Core) config() Configuration {
	if n := len(c.configs); n > 0 {
		return c.configs[n-1].config
	}
	return Configuration{}
}

func (c *Core) configIndex() uint64 {
	if n := len(c.configs); n > 0 {
		return c.configs[n-1].index
	}
	return 0
}

// adoptConfigs takes up the configurations among the entries from index on.
func (c *Core) adoptConfigs(configs []placedConfig, from uint64) {
	for _, p := range configs {
		if p.index >= from {
			c.configs = append(c.configs, p)
		}
	}
}

// forgetConfigsFrom goes with a truncation: the configuration before it counts
// again.
func (c *Core) forgetConfigsFrom(index uint64) {
	for n := len(c.configs); n > 0 && c.configs[n-1].index >= index; n-- {
		c.configs = c.configs[:n-1]
	}
}

// forgetConfigsBefore goes with a compaction; the newest at or below index stays.
func (c *Core) forgetConfigsBefore(index uint64) {
	for len(c.configs) > 1 && c.configs[1].index <= index {
		c.configs = c.configs[1:]
	}
}

// ConfigAt gives the configuration in force at index, and the index it stands
// at: what belongs into a snapshot taken there. It reports false where that is
// older than the log.
func (c *Core) ConfigAt(index uint64) (Configuration, uint64, bool) {
	for i := len(c.configs) - 1; i >= 0; i-- {
		if p := c.configs[i]; p.index <= index {
			return p.config, p.index, true
		}
	}
	return Configuration{}, 0, false
}

// Change asks for one step of membership; its Outcome comes by token. A change
// that is already so succeeds without a new entry.
func (c *Core) Change(now Instant, token uint64, ch Change) {
	c.advance(now)
	id, err := c.change(ch)
	if err != nil {
		err = fmt.Errorf("%s: %w", ch, err)
	}
	c.out.Outcomes = append(c.out.Outcomes, Outcome{Token: token, ID: id, Err: err})
}

func (c *Core) change(ch Change) (EntryID, error) {
	switch {
	case c.lead == nil:
		return EntryID{}, ErrNotLeader
	case c.lead.transfer != nil:
		return EntryID{}, ErrTransferring
	case c.commit < c.lead.first:
		// Without this guard two leaders could change the same configuration in
		// ways whose majorities do not overlap (the bug in the dissertation's
		// first publication).
		return EntryID{}, fmt.Errorf("%w: nothing of term %d is committed yet", ErrChangePending, c.hard.Term)
	case c.configIndex() > c.commit:
		return EntryID{}, fmt.Errorf("%w: the one at index %d", ErrChangePending, c.configIndex())
	}
	next, changed, err := c.config().apply(ch)
	if err != nil {
		return EntryID{}, err
	}
	if !changed {
		term, _ := c.log.term(c.configIndex())
		return EntryID{Term: term, Index: c.configIndex()}, nil
	}
	if err := next.Validate(); err != nil {
		return EntryID{}, fmt.Errorf("%w: %w", ErrInvalidChange, err)
	}
	if ch.Kind == PromoteVoter && !c.caughtUp(ch.ID) {
		return EntryID{}, ErrNotCaughtUp
	}
	if ch.Kind == PromoteVoter {
		i, _ := next.search(ch.ID)
		next.Servers[i].Log = c.lead.find(ch.ID).log
	}
	if absent := c.absentFrom(next); next.Voters() != c.config().Voters() && 2*len(absent) >= next.Voters() {
		return EntryID{}, fmt.Errorf("%w: of %d voters, not %s", ErrNoQuorumAfter, next.Voters(), strings.Join(absent, ", "))
	}
	id := c.appendOwn(EntryConfig, EncodeConfiguration(next))
	c.configs = append(c.configs, placedConfig{index: id.Index, config: next})
	c.lead.voidPledges()
	heartbeat, _ := c.span()
	c.lead.nextHeartbeat = min(c.lead.nextHeartbeat, c.now.Add(heartbeat))
	c.startRound()
	c.syncProgress()
	c.releaseReads() // a smaller majority may have answered already,
	c.maybeCommit()  // or stored what waits
	return id, nil
}

// String names what a change is about, for errors.
func (ch Change) String() string {
	if ch.Kind == SetTiming {
		return "change of timing"
	}
	return fmt.Sprintf("change of server %q", ch.ID)
}

// apply gives the Configuration after one change, and whether it differs.
func (c Configuration) apply(ch Change) (Configuration, bool, error) {
	i, known := c.search(ch.ID)
	next := Configuration{ClusterID: c.ClusterID, Servers: slices.Clone(c.Servers), Timing: c.Timing}
	if ch.Kind == SetTiming {
		next.Timing = ch.Timing.orDefault()
		return next, next.Timing != c.Timing, nil
	}
	if ch.Kind == AddLearner && !known {
		next.Servers = slices.Insert(next.Servers, i, Server{ID: ch.ID, Addr: ch.Addr, Suffrage: Learner})
		return next, true, nil
	}
	if !known {
		return Configuration{}, false, ErrUnknownServer
	}
	was := c.Servers[i]
	lastVoter := was.Suffrage == Voter && c.Voters() == 1
	switch ch.Kind {
	case AddLearner:
		if was.Suffrage == Voter {
			return Configuration{}, false, fmt.Errorf("%w: it is a voter already", ErrInvalidChange)
		}
		next.Servers[i].Addr = ch.Addr
	case UpdateAddr:
		next.Servers[i].Addr = ch.Addr
	case PromoteVoter:
		next.Servers[i].Suffrage = Voter
	case DemoteVoter:
		if lastVoter {
			return Configuration{}, false, ErrLastVoter
		}
		next.Servers[i].Suffrage, next.Servers[i].Log = Learner, 0
	case RemoveServer:
		if lastVoter {
			return Configuration{}, false, ErrLastVoter
		}
		next.Servers = slices.Delete(next.Servers, i, i+1)
		return next, true, nil
	default:
		return Configuration{}, false, fmt.Errorf("%w: unknown kind %d", ErrInvalidChange, ch.Kind)
	}
	return next, next.Servers[i] != was, nil
}

// absentFrom names the voters of next that don't follow this leader now with the
// log that their vote belongs to. If those that do are no majority, it could not
// have next committed. Where a disk is lost it never could, and nobody else either.
func (c *Core) absentFrom(next Configuration) (absent []string) {
	for _, s := range next.Servers {
		if s.Suffrage != Voter || s.ID == c.cfg.ID {
			continue
		}
		pr := c.lead.find(s.ID)
		switch {
		case pr.other != 0:
			absent = append(absent, fmt.Sprintf("%q (it has another log than its vote belongs to: demote it first)", s.ID))
		case pr.round == 0 || c.now.Sub(pr.contact) >= c.timing().ElectionMax:
			absent = append(absent, fmt.Sprintf("%q (silent)", s.ID))
		}
	}
	return absent
}

// caughtUp says whether a learner keeps up well enough to count in majorities. It
// has the newest configuration, too: a voter that lost its log would otherwise be
// promoted before it knows that it was demoted, and a leader that comes after
// might need the vote of a server that takes itself for disowned.
func (c *Core) caughtUp(id ServerID) bool {
	pr := c.lead.find(id)
	return pr != nil && pr.state == Replicate && pr.match >= c.configIndex() &&
		c.now.Sub(pr.contact) < c.timing().ElectionMax &&
		(pr.match == c.log.last || pr.catchUp.done(pr.match, c.now, c.timing().ElectionMax))
}

// syncProgress gives each other member of the configuration a progress, and
// takes it from those that are none any more. What a new member is asked from
// now on carries the newest round, so that its answers can be told from those of
// an earlier membership.
func (c *Core) syncProgress() {
	members := make([]*progress, 0, len(c.config().Servers))
	for _, s := range c.config().Servers {
		if s.ID == c.cfg.ID {
			continue
		}
		pr := c.lead.find(s.ID)
		if pr == nil {
			pr = &progress{
				id: s.ID, next: c.log.last + 1, since: c.lead.rounds.last, contact: c.now, heard: c.now, moved: c.now,
				catchUp: catchUp{target: c.log.last, started: c.now},
			}
		}
		members = append(members, pr)
	}
	c.lead.progress = members
}

// leaveIfRemoved ends the leadership of a server that the committed configuration
// does not count any more: it tells the others what is committed, has the most
// advanced of them stand at once, and steps down (dissertation §4.2.2).
func (c *Core) leaveIfRemoved() {
	if c.config().IsVoter(c.cfg.ID) || c.commit < c.configIndex() {
		return
	}
	for _, pr := range c.lead.progress {
		c.feed(pr)
	}
	if successor := c.bestSuccessor(); successor != nil {
		c.sendReminded(successor, Message{Kind: MsgTimeoutNow})
	}
	c.becomeFollower(c.hard.Term, "")
}
