package core

// An election, in the order it happens: the election timeout of a follower ends,
// it asks whether it could win (pre-vote, which changes nobody's term), stands
// as candidate in the next term, gathers votes, becomes leader or steps back.

// resetElectionTimer draws a new random timeout from now on (S14).
func (c *Core) resetElectionTimer() {
	t := c.timing()
	timeout := t.ElectionMin + Duration(c.cfg.Rand(uint64(t.ElectionMax-t.ElectionMin)))
	if c.disk == DiskFull {
		timeout += t.ElectionMax // those with room go first
	}
	c.electionDeadline = max(c.now.Add(timeout), c.loyalUntil)
	c.waited = false
}

// hurryIfAlone ends the election timeout of a server that has nobody to wait for.
func (c *Core) hurryIfAlone() {
	if c.config().Voters() == 1 && c.votesIn(c.config()) && c.electable() {
		c.electionDeadline, c.waited = c.now, true
	}
}

// electable says whether this server may stand: a voter that has all it ever
// acknowledged, is not just replacing its log by a snapshot, and has a disk that
// answers.
func (c *Core) electable() bool {
	return c.mayBeNeeded() && !c.voteless.on && !c.installing() && c.disk != DiskHung
}

// mayBeNeeded says whether this server is a voter in the newest configuration or
// in one that still may turn out to be the committed one. A server whose removal
// is not committed may be the only one that holds it, and then nobody else can
// be elected (dissertation §4.2.2); it does not count its own vote.
func (c *Core) mayBeNeeded() bool {
	for i := len(c.configs) - 1; i >= 0; i-- {
		if c.votesIn(c.configs[i].config) {
			return true
		}
		if c.configs[i].index <= c.commit {
			return false
		}
	}
	return false
}

func (c *Core) electionTimeout() {
	c.setLeader("")
	if !c.electable() {
		c.role = Follower
		c.resetElectionTimer()
		return
	}
	c.preCampaign()
}

func (c *Core) preCampaign() {
	c.role = PreCandidate
	c.ballots = make(map[ServerID]bool)
	c.resetElectionTimer()
	c.poll(Message{Kind: MsgPreVote, Term: c.hard.Term + 1})
	c.countBallot(c.cfg.ID, true)
}

// campaign enters the next term as its candidate. The requests leave once term
// and own vote are durable, and only then the own vote counts (Written).
func (c *Core) campaign(kind CampaignKind) {
	c.setLeader("")
	c.role = Candidate
	c.hard.Term++
	c.hard.Vote = c.cfg.ID
	c.ballots = make(map[ServerID]bool)
	c.resetElectionTimer()
	c.poll(Message{Kind: MsgVote, Campaign: kind})
}

// poll asks every other voter.
func (c *Core) poll(m Message) {
	m.Prev = c.log.lastID()
	for _, s := range c.config().Servers {
		if s.Suffrage == Voter && s.ID != c.cfg.ID {
			m.To = s.ID
			c.send(m)
		}
	}
}

// countBallot notes one server's answer (a second one of the same server changes
// nothing) and draws the consequence once a majority has said yes or no.
func (c *Core) countBallot(from ServerID, granted bool) {
	if _, known := c.ballots[from]; known {
		return
	}
	c.ballots[from] = granted
	yes, no := 0, 0
	for _, s := range c.config().Servers {
		if g, voted := c.ballots[s.ID]; voted && s.Suffrage == Voter {
			if g {
				yes++
			} else {
				no++
			}
		}
	}
	voters := c.config().Voters()
	switch need := voters/2 + 1; {
	case yes >= need && c.role == PreCandidate:
		c.campaign(CampaignTimeout)
	case yes >= need:
		c.becomeLeader()
	case voters-no < need:
		c.becomeFollower(c.hard.Term, "")
	}
}

// loyal says whether a leader was heard so recently that this server refuses to
// vote for another. A leader is loyal to itself while a quorum hears it.
func (c *Core) loyal() bool {
	if c.lead != nil {
		return c.now.Sub(c.quorumContact()) < c.timing().ElectionMin
	}
	return c.now < c.loyalUntil
}

// upToDate says whether a log that ends with last may lead this server's
// (dissertation §3.6.1).
func (c *Core) upToDate(last EntryID) bool {
	own := c.log.lastID()
	return last.Term > own.Term || (last.Term == own.Term && last.Index >= own.Index)
}

// handlePreVote says whether this server would vote for the sender. It changes
// nothing here, not even the election timer.
//
// A server that is a learner in its own configuration answers too, here and in
// handleVote: it may have been promoted without knowing it yet, and the
// candidate, who counts, knows better.
func (c *Core) handlePreVote(m Message) {
	grant := m.Term > c.hard.Term && !c.loyal() && !c.voteless.on && !c.disowned() && c.upToDate(m.Prev)
	reply := Message{Kind: MsgPreVoteReply, To: m.From, Reject: !grant}
	if grant {
		reply.Term = m.Term
	}
	c.send(reply)
}

func (c *Core) handlePreVoteReply(m Message) {
	if c.role != PreCandidate || (!m.Reject && m.Term != c.hard.Term+1) {
		return
	}
	c.countBallot(m.From, !m.Reject && c.speaksAsVoter(m))
}

// handleVote decides on a vote in the current term, at most one a term.
func (c *Core) handleVote(m Message) {
	if c.loyal() && m.Campaign != CampaignTransfer {
		return
	}
	free := c.hard.Vote == m.From || (c.hard.Vote == "" && c.leader == "")
	if !free || c.voteless.on || c.disowned() || !c.upToDate(m.Prev) {
		c.send(Message{Kind: MsgVoteReply, To: m.From, Reject: true})
		return
	}
	c.becomeFollower(c.hard.Term, "") // a pre-candidate gives way to the one it votes for
	c.hard.Vote = m.From
	c.resetElectionTimer() // S10: only a granted vote does
	c.sendAfterWrites(Message{Kind: MsgVoteReply, To: m.From})
}

func (c *Core) handleVoteReply(m Message) {
	if c.role == Candidate {
		c.countBallot(m.From, !m.Reject && c.speaksAsVoter(m))
	}
}

// becomeFollower enters term, or steps back within it, behind leader where one
// is known.
func (c *Core) becomeFollower(term uint64, leader ServerID) {
	if c.lead != nil {
		c.resign(term)
		c.resetElectionTimer()
	}
	if term > c.hard.Term {
		c.hard.Term, c.hard.Vote = term, ""
	}
	c.role = Follower
	c.ballots = nil
	c.setLeader(leader)
}

// setLeader notes whom this server follows. Reads that were put to another
// leader are put again to the new one, or fail where there is none.
func (c *Core) setLeader(leader ServerID) {
	if leader == c.leader {
		return
	}
	c.leader = leader
	c.voteless.target = 0
	c.readsLoseLeader()
}

// hearLeader does what every message of the current term's leader does: it ends
// a candidacy, restarts the election timer, binds this server's vote, and may tell
// it that it has lost what it acknowledged. It
// reports false for a second leader of one term, which is refused.
func (c *Core) hearLeader(m Message) bool {
	if c.lead != nil || (c.leader != "" && c.leader != m.From) {
		c.fault("server %q claims to lead term %d, in which %q is the leader", m.From, m.Term, c.leader)
		return false
	}
	if c.role != Follower || c.leader == "" {
		c.becomeFollower(c.hard.Term, m.From)
	}
	c.resetElectionTimer()
	c.stayLoyal()
	c.asked.leaderHeard = c.now
	c.heedAcknowledged(m)
	return true
}

// handleTimeoutNow stands at once, because the leader asks for it and knows that
// this server has its whole log.
func (c *Core) handleTimeoutNow(m Message) {
	if c.lead != nil || c.leader != m.From {
		return
	}
	if c.heedAcknowledged(m); c.electable() {
		c.campaign(CampaignTransfer)
	}
}
