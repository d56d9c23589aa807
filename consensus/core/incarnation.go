package core

// A vote, an acknowledgement and a promise are worth something because they are
// on a disk. When that disk is lost, what its server says under the same ID is
// the word of somebody who has forgotten: it could elect a second leader of a
// term, or one that lacks committed entries. So each log has an Incarnation, each
// message carries that of its sender's log, and the Configuration says which log
// each voter's vote belongs to. Whoever counts, counts only that log's word; the
// server itself need not know that it has lost anything. To every other server
// the voter is as good as down, so majorities still overlap.
//
// The way back is two changes of membership: the leader hears the other log
// (Progress.OtherLog) and its driver asks for DemoteVoter; the learner catches
// up, and PromoteVoter gives the vote to the log that did.

// votesIn says whether this server, with the log that it has, is a voter of
// config.
func (c *Core) votesIn(config Configuration) bool {
	own, _ := config.Find(c.cfg.ID)
	return own.holds(c.incarnation)
}

// disowned says whether this server's vote belongs to a log that it has not got.
func (c *Core) disowned() bool {
	return c.config().IsVoter(c.cfg.ID) && !c.votesIn(c.config())
}

// speaksAsVoter says whether a message comes with the log to which the vote of
// its sender belongs.
func (c *Core) speaksAsVoter(m Message) bool {
	sender, _ := c.config().Find(m.From)
	return sender.holds(m.Log)
}

// knowsLog says whether a reply is about the log that pr is about. A voter's
// other log is reported and otherwise ignored. A learner's starts anew.
func (c *Core) knowsLog(pr *progress, m Message) bool {
	if sender, _ := c.config().Find(m.From); sender.Suffrage == Voter && !sender.holds(m.Log) {
		pr.other = m.Log
		return false
	}
	pr.other = 0
	if pr.log != 0 && pr.log != m.Log {
		pr.match, pr.pledged = 0, 0
		pr.catchUp = catchUp{target: c.log.last, started: c.now}
		pr.probe(c.log.last + 1)
	}
	pr.log = m.Log
	return true
}

// otherLogs counts the voters that answer with another log than theirs.
func (l *leadership) otherLogs() (n int) {
	for _, pr := range l.progress {
		if pr.other != 0 {
			n++
		}
	}
	return n
}

// OtherLogs counts the voters that answer their leader with another log than
// their vote belongs to (Progress.OtherLog).
func (s *Status) OtherLogs() (n int) {
	for _, p := range s.Progress {
		if p.OtherLog != 0 {
			n++
		}
	}
	return n
}
