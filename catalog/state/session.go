package state

import (
	"errors"
	"fmt"
	"iter"
	"slices"

	"muster/catalog"
)

// planCreateSession makes a session on a node whose checks are all well.
func planCreateSession(r reader, c *catalog.CreateSession) plan {
	s := c.Session
	if err := keyable("session ID", s.ID, s.Node); err != nil {
		return plan{err: err}
	}
	if r.session(s.ID) != nil {
		return refuse(catalog.Conflict, "there is a session %q already", s.ID)
	}
	node := r.node(s.Node)
	if node == nil {
		return refuse(catalog.Invalid, "Missing node registration")
	}
	s.Node = node.Node
	for _, id := range s.Checks() {
		check := r.check(s.Node, id)
		switch {
		case check == nil:
			return refuse(catalog.Invalid, "Missing check '%s' registration", id)
		case check.Status == catalog.StatusCritical:
			return refuse(catalog.Invalid, "Check '%s' is in critical state", id)
		}
	}
	s.Indexes = catalog.Indexes{}
	return plan{putSession: &s, value: &s}
}

func planDestroySession(r reader, c *catalog.DestroySession) plan {
	if s := r.session(c.ID); s != nil {
		return plan{removeSession: s}
	}
	return plan{}
}

func planEndLockDelays(r reader, c *catalog.EndLockDelays) plan {
	var p plan
	ended := make(map[string]bool, len(c.Delays))
	for _, d := range c.Delays {
		if on := r.lockDelay(d.Key); on != nil && on.Index == d.Index && !ended[d.Key] {
			ended[d.Key] = true
			p.endDelays = append(p.endDelays, on)
		}
	}
	return p
}

// planLock has a session hold an entry, or hold it no more.
func planLock(r reader, old *catalog.KVPair, c *catalog.KV) plan {
	if c.Session == "" {
		return refuse(catalog.Internal, "missing session")
	}
	held := old != nil && old.Session == c.Session
	next := &catalog.KVPair{Session: c.Session, LockIndex: 1}
	if old != nil {
		next.LockIndex = old.LockIndex + 1
	}
	if c.Verb == catalog.KVLock {
		switch {
		case r.session(c.Session) == nil:
			return refuse(catalog.Internal, "invalid session %q", c.Session)
		case held:
			return planSet(old, c)
		case old != nil && old.Session != "", r.lockDelay(c.Key) != nil:
			return plan{value: false}
		}
	} else {
		if !held {
			return plan{value: false}
		}
		next.Session, next.LockIndex = "", old.LockIndex
	}
	next.Key, next.Flags, next.Value = c.Key, c.Flags, c.Value
	if len(next.Value) == 0 {
		next.Value = nil
	}
	if old != nil {
		next.CreateIndex = old.CreateIndex
	}
	return plan{value: true, putKV: []*catalog.KVPair{next}}
}

func (r reader) session(id string) *catalog.Session {
	return first[*catalog.Session](r, tableSessions, byID, id+"\x00")
}

func (r reader) sessionsOn(node string) iter.Seq[*catalog.Session] {
	return each[*catalog.Session](r, tableSessions, byNode, nameKey(node))
}

func (r reader) heldBy(session string) iter.Seq[*catalog.KVPair] {
	return each[*catalog.KVPair](r, tableKV, bySession, session+"\x00")
}

func (r reader) lockDelay(key string) *catalog.LockDelay {
	return first[*catalog.LockDelay](r, tableDelays, byID, key)
}

func (w *writer) putSession(s *catalog.Session) {
	w.stamp(&s.Indexes)
	w.insert(tableSessions, s)
	w.touch(Topic{Kind: TopicSessions})
}

// removeSession ends a session, and does with the entries that it held what its
// behaviour says; its queries go. None of them can be locked again before the lock-delay is over.
func (w *writer) removeSession(s *catalog.Session) {
	w.delete(tableSessions, s)
	w.touch(Topic{Kind: TopicSessions})
	w.endQueries(s.ID)
	for _, e := range slices.Collect(w.heldBy(s.ID)) {
		if s.Behavior == catalog.BehaviorDelete {
			w.removeKV(e)
		} else {
			released := *e
			released.Session = ""
			w.putKV(&released)
		}
		if s.LockDelay >= catalog.LeastLockDelay {
			w.insert(tableDelays, &catalog.LockDelay{Key: e.Key, Delay: s.LockDelay, Index: w.index})
			w.touch(Topic{Kind: TopicLockDelays})
		}
	}
}

// endSessions ends the sessions on a node that live by a check, which is now
// critical or gone.
func (w *writer) endSessions(node, checkID string) {
	for _, s := range slices.Collect(w.sessionsOn(node)) {
		if slices.ContainsFunc(s.Checks(), func(id string) bool { return catalog.Fold(id) == catalog.Fold(checkID) }) {
			w.removeSession(s)
		}
	}
}

// Sessions returns all sessions, sorted by ID.
func (v *View) Sessions() []*catalog.Session {
	v.Read(Topic{Kind: TopicSessions})
	return list(each[*catalog.Session](v.reader, tableSessions, byIDPrefix, ""))
}

// SessionsOn returns the sessions on a node, sorted by ID.
func (v *View) SessionsOn(node string) []*catalog.Session {
	v.Read(Topic{Kind: TopicSessions})
	return list(v.sessionsOn(node))
}

// Session returns the session with an ID, nil if there is none.
func (v *View) Session(id string) *catalog.Session {
	v.Read(Topic{Kind: TopicSessions})
	return v.session(id)
}

// LockDelays returns the lock-delays that are on, sorted by key.
func (v *View) LockDelays() []*catalog.LockDelay {
	v.Read(Topic{Kind: TopicLockDelays})
	return list(each[*catalog.LockDelay](v.reader, tableDelays, byIDPrefix, ""))
}

func (l *loader) loadSession(body []byte) error {
	s := new(catalog.Session)
	if err := catalog.Unmarshal(body, s); err != nil {
		return err
	}
	if l.node(s.Node) == nil {
		return fmt.Errorf("session %q is on a node %q that isn't there", s.ID, s.Node)
	}
	err := errors.Join(keyable("session ID", s.ID), l.known(s.CreateIndex, s.ModifyIndex), l.ascends(s.ID+"\x00"))
	if err == nil {
		l.insert(tableSessions, s)
	}
	return err
}

func (l *loader) loadLockDelay(body []byte) error {
	d := new(catalog.LockDelay)
	if err := catalog.Unmarshal(body, d); err != nil {
		return err
	}
	err := errors.Join(l.known(d.Index), l.ascends(d.Key))
	if err == nil {
		l.insert(tableDelays, d)
	}
	return err
}

// complete checks what can't be before all records are there: that whoever holds
// an entry is, and that a restore under way is whole.
func (l *loader) complete() error {
	if l.staging != nil && l.db.staging == nil {
		return errors.New("it has part of a restore, and not how far that is")
	}
	for e := range each[*catalog.KVPair](l.reader, tableKV, bySessionPrefix, "") {
		if l.session(e.Session) == nil {
			return fmt.Errorf("the key %q is held by a session %q that isn't there", e.Key, e.Session)
		}
	}
	return nil
}
