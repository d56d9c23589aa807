package planted

// bug is a mistake to plant. The first 25 numbers are those of the project's
// list; what follows is of the same kind.
type bug struct {
	number int
	name   string
	edits  []edit
	checks []check // the cheapest first

	notApplicable string // why it cannot be planted
	survives      string // why no check finds it yet
}

// edit replaces a text that stands exactly once in a file below consensus.
type edit struct{ file, old, new string }

// walk is the random walk of the core with a trivial driver.
func walk(seeds int) check {
	return check{name: "core random walk", pkg: "core", flags: []string{"-test.run=^TestRandom$"}, seeds: seeds}
}

// cluster is the simulator: the shipped driver over the shipped log. What it finds
// it does not make smaller, which could take longer than a check may.
func cluster(seeds int) check {
	return check{name: "simulator", pkg: "sim", flags: []string{"-test.run=^TestSeeds$", "-first=1", "-minimise=0"}, seeds: seeds}
}

var (
	// scripts are the golden scripts of the core and its tests of single steps.
	scripts = check{name: "core scripts and unit tests", pkg: "core", flags: []string{"-test.skip=^(TestRandom|Fuzz)"}}
	crashes = check{name: "wal crash enumeration", pkg: "wal", flags: []string{"-test.run=^TestCrash", "-test.short"}}
	damage  = check{name: "wal damage enumeration", pkg: "wal", flags: []string{"-test.run=^TestDamage"}}
	driver  = check{name: "driver unit tests", pkg: ".", flags: []string{"-test.run=^(TestFill_|TestOldCopy_)"}}
	watches = check{name: "simulated watches", pkg: "sim", flags: []string{"-test.run=^TestWatch$"}}
	wal     = check{name: "wal unit tests", pkg: "wal", flags: []string{"-test.skip=^(TestCrash|TestDamage|Fuzz)"}}
)

var bugs = []bug{
	{
		number: 1, name: "drop own-term commit rule",
		edits: []edit{
			{"core/replication.go", "if index < c.lead.first || index <= c.commit {", "if index <= c.commit {"},
			{"core/replication.go", "counted := max(c.commit+1, c.lead.first)\n\tc.lead.uncommitted -=", "counted := min(max(c.commit+1, c.lead.first), index)\n\tc.lead.uncommitted -="},
		},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 2, name: "skip log check in vote",
		edits: []edit{
			{"core/election.go", "!c.voteless.on && !c.disowned() && c.upToDate(m.Prev)\n", "!c.voteless.on && !c.disowned()\n"},
			{"core/election.go", "if !free || c.voteless.on || c.disowned() || !c.upToDate(m.Prev) {", "if !free || c.voteless.on || c.disowned() {"},
		},
		checks: []check{walk(100), cluster(100)},
	},
	{
		number: 3, name: "reply before vote durable",
		edits: []edit{{"core/election.go",
			"c.sendAfterWrites(Message{Kind: MsgVoteReply, To: m.From})",
			"c.out.Send = append(c.out.Send, Message{Kind: MsgVoteReply, From: c.cfg.ID, To: m.From, Term: c.hard.Term})"}},
		checks: []check{walk(100), cluster(100)},
	},
	{
		number: 4, name: "torn (term, vote) accepted",
		edits: []edit{{"wal/scan.go",
			"w.forget() // decodeBody has worked in it\n",
			"w.forget()\n\t\tif newest {\n\t\t\tr.l.hs.Term, r.l.hs.Vote = h.term, \"\"\n\t\t\tr.l.onDisk = r.l.hs\n\t\t}\n"}},
		checks: []check{crashes},
	},
	{
		number: 5, name: "vote counted twice",
		edits: []edit{
			{"core/election.go", "if _, known := c.ballots[from]; known {\n\t\treturn\n\t}",
				"if _, known := c.ballots[from]; known {\n\t\tc.ballots[\"again:\"+from] = granted\n\t}"},
			{"core/election.go", "yes, no := 0, 0\n",
				"yes, no := 0, 0\n\tfor id, g := range c.ballots {\n\t\tif g && len(id) > 6 && id[:6] == \"again:\" {\n\t\t\tyes++\n\t\t}\n\t}\n"},
		},
		checks: []check{scripts, walk(400), cluster(100)},
	},
	{
		number: 6, name: "keep known leader after step-down",
		edits: []edit{
			{"core/election.go", "func (c *Core) becomeFollower(term uint64, leader ServerID) {\n", "func (c *Core) becomeFollower(term uint64, leader ServerID) {\n\tled := c.lead != nil\n"},
			{"core/election.go", "\tc.ballots = nil\n\tc.setLeader(leader)\n", "\tc.ballots = nil\n\tif !led || leader != \"\" {\n\t\tc.setLeader(leader)\n\t}\n"},
		},
		checks: []check{walk(100), cluster(100)},
	},
	{
		number: 7, name: "ignore term in heartbeat reply",
		edits: []edit{{"core/core.go",
			"\tswitch {\n\tcase m.Term < c.hard.Term:\n\t\tc.answerStale(m)",
			"\tif m.Kind == MsgHeartbeatReply {\n\t\tm.Term = c.hard.Term\n\t}\n\tswitch {\n\tcase m.Term < c.hard.Term:\n\t\tc.answerStale(m)"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 8, name: "commit = own last index",
		edits: []edit{{"core/follower.go",
			"c.commitTo(min(m.Commit, matched)) // property 12: what lies beyond is not proven",
			"c.commitTo(min(m.Commit, c.log.last))"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 9, name: "truncate without conflict",
		edits: []edit{{"core/follower.go",
			"for len(rest) > 0 && c.log.matches(EntryID{Term: rest[0].Term, Index: rest[0].Index}) {",
			"for len(rest) > 0 && rest[0].Index <= c.commit {"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 10, name: "probe written into match",
		edits: []edit{{"core/replication.go",
			"pr.waiting = true\n\t\tc.sendEmptyAppend(pr)",
			"pr.waiting = true\n\t\tpr.match = pr.next - 1\n\t\tc.sendEmptyAppend(pr)"}},
		checks: []check{walk(100), cluster(100)},
	},
	{
		number: 11, name: "late ack of old membership counted",
		edits: []edit{{"core/leader.go",
			"if pr == nil || m.Round < pr.since || m.Round > c.lead.rounds.last {",
			"if pr == nil || m.Round > c.lead.rounds.last {"}},
		checks: []check{scripts, walk(400)},
	},
	{
		number: 12, name: "leader counts itself before fsync",
		edits: []edit{{"core/replication.go",
			"index := quorum(c, c.log.durable,",
			"index := quorum(c, c.log.last,"}},
		checks: []check{walk(100), cluster(100)},
	},
	{
		number: 13, name: "ABA ack",
		edits: []edit{{"core/writes.go",
			"onDisk = min(onDisk, p.first-1)\n",
			"_ = p.first\n"}},
		checks: []check{scripts, walk(400), cluster(100)},
	},
	{
		number: 14, name: "config from applied not from log",
		edits: []edit{{"core/membership.go",
			"if n := len(c.configs); n > 0 {\n\t\treturn c.configs[n-1].config\n",
			"if n := len(c.configs); n > 0 {\n\t\tfor n > 1 && c.configs[n-1].index > c.commit {\n\t\t\tn--\n\t\t}\n\t\treturn c.configs[n-1].config\n"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 15, name: "change before own-term commit",
		edits:  []edit{{"core/membership.go", "case c.commit < c.lead.first:", "case false:"}},
		checks: []check{scripts, walk(400), cluster(100)},
	},
	{
		number: 16, name: "old config not restored on truncate",
		edits:  []edit{{"core/follower.go", "\t\t\tc.forgetConfigsFrom(conflict)\n", ""}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 17, name: "snapshot keeps conflicting log",
		edits: []edit{{"core/snapshot.go",
			"held := meta.Index <= c.commit || c.log.matches(EntryID{Term: meta.Term, Index: meta.Index})",
			"held := meta.Index <= c.log.last"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 18, name: "snapshot gap after crash",
		edits: []edit{{"wal/snapshot.go",
			"\tif err := w.f.Sync(); err != nil {\n\t\treturn fmt.Errorf(\"sync %s: %w\", w.path, err)\n\t}\n\treturn nil\n",
			"\treturn nil\n"}},
		checks: []check{crashes, cluster(100)},
	},
	{
		number: 19, name: "transfer flag kept",
		edits: []edit{{"core/transfer.go",
			"\tc.endTransfer(err)\n}\n\n// transferVerdict",
			"\tc.out.Outcomes = append(c.out.Outcomes, Outcome{Token: t.token, Err: err})\n\tt.deadline = Never\n}\n\n// transferVerdict"}},
		checks: []check{scripts, walk(100)},
	},
	{
		number: 20, name: "lease from ack time",
		edits:  []edit{{"core/lease.go", "pr.pledged = max(pr.pledged, at)", "pr.pledged = max(pr.pledged, at, c.now)"}},
		checks: []check{walk(400), cluster(100)},
	},
	{
		number: 21, name: "lease survives transfer",
		edits:  []edit{{"core/lease.go", "c.commit < l.first, l.transfer != nil, l.toldOther,", "c.commit < l.first,"}},
		checks: []check{walk(400), cluster(100)},
	},
	{
		number: 22, name: "restart grants at once",
		edits:  []edit{{"core/core.go", "\tif !c.blank() {\n\t\t// It may", "\tif false {\n\t\t// It may"}},
		checks: []check{scripts},
	},
	{
		number: 23, name: "ReadIndex id reused",
		edits:  []edit{{"core/read.go", "\tc.readToken++\n", ""}},
		checks: []check{walk(400), scripts, cluster(100)},
	},
	{
		number: 24, name: "follower read before apply",
		edits:  []edit{{"waiting.go", "if r.Err == nil && r.Index > applied {", "if false {"}},
		checks: []check{cluster(100)},
	},
	{
		number: 25, name: "missing directory fsync",
		edits:  []edit{{"wal/fs.go", "if err := fsys.SyncDir(filepath.Dir(path)); err != nil {", "if err := error(nil); filepath.Dir(path) == \"\" {"}},
		checks: []check{crashes, cluster(100)},
	},

	{
		number: 26, name: "heartbeat commits own last index",
		edits:  []edit{{"core/follower.go", "c.commitTo(min(m.Commit, m.Prev.Index))", "c.commitTo(min(m.Commit, c.log.last))"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 27, name: "heartbeat commits without a match",
		edits:  []edit{{"core/follower.go", "switch matches := c.log.matches(m.Prev); {", "switch matches := m.Prev.Index <= c.log.last; {"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 28, name: "late written of a cut log counted",
		edits:    []edit{{"core/writes.go", "if !c.log.matches(w.Last) {", "if false {"}},
		survives: "it changes nothing: raftLog.taken and the writes still queued bound what counts as well (core/writes.go, settle)",
		checks:   []check{walk(400), scripts, cluster(100)},
	},
	{
		number: 29, name: "read served from an earlier round",
		edits: []edit{{"core/read.go",
			"r.out = &readRound{round: c.startRound(),",
			"r.out = &readRound{round: c.lead.rounds.last,"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 30, name: "learner counts in majorities",
		edits:  []edit{{"core/leader.go", "case s.Suffrage != Voter:", "case false:"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 31, name: "second change while one is pending",
		edits:  []edit{{"core/membership.go", "case c.configIndex() > c.commit:", "case false:"}},
		checks: []check{walk(400), scripts, cluster(100)},
	},
	{
		number: 32, name: "new leader reads before own-term commit",
		edits:  []edit{{"core/read.go", "r.next.empty() || c.commit < c.lead.first {", "r.next.empty() {"}},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 33, name: "removed server deposes the leader",
		edits: []edit{{"core/core.go",
			"if c.loyal() && m.Campaign != CampaignTransfer {\n\t\t\treturn false",
			"if false {\n\t\t\treturn false"}},
		checks: []check{scripts},
	},
	{
		number: 34, name: "leader without quorum stays",
		edits:  []edit{{"core/core.go", "if c.now >= c.quorumDeadline() {", "if false {"}},
		checks: []check{walk(200), scripts},
	},
	{
		number: 35, name: "acknowledgement overtakes the write",
		edits:  []edit{{"output.go", "if w.empty() && e.unwritten == 0 {", "if w.empty() {"}},
		checks: []check{cluster(100)},
	},
	{
		number: 36, name: "lost leadership told as not done",
		edits: []edit{{"waiting.go",
			"\tif len(w.placed) > 0 {\n\t\tw.orphans, w.until",
			"\tfor _, p := range w.placed {\n\t\tp.waiter.Done(Result{ID: p.id, Err: notDone(p.id)})\n\t}\n\tif w.placed = nil; len(w.placed) > 0 {\n\t\tw.orphans, w.until"}},
		checks: []check{cluster(100)},
	},
	{
		number: 37, name: "entries of a lost term sent on",
		edits:  []edit{{"disk.go", "case f.err == nil && e.leads(f.msg.Term):", "case f.err == nil:"}},
		checks: []check{driver, cluster(100)},
	},
	{
		number: 38, name: "batch acknowledged before fsync",
		edits: []edit{{"wal/append.go",
			"\tif err := s.file.Sync(); err != nil {\n\t\treturn l.fail(fmt.Errorf(\"sync %s: %w\", s.path, err))\n\t}\n",
			""}},
		checks: []check{cluster(40), crashes},
	},
	{
		number: 39, name: "torn tail left behind",
		edits: []edit{{"wal/recover.go",
			"for off := s.used; off < end; {",
			"for off := s.used; off < end && false; {"}},
		checks: []check{crashes},
	},
	{
		number: 40, name: "log reset keeps a conflicting tail",
		edits: []edit{{"wal/compact.go",
			"case meta.Index <= l.last && l.terms.at(meta.Index) == meta.Term:",
			"case meta.Index <= l.last:"}},
		checks: []check{wal, crashes, cluster(100)},
	},
	{
		number: 41, name: "checksum of a batch not looked at",
		edits: []edit{{"wal/format.go",
			"if !ok || crc32.Checksum(payload[headSize:], castagnoli) != h.bodyCRC {",
			"if !ok {"}},
		checks: []check{damage},
	},
	{
		number: 42, name: "snapshot installed before the log is reset",
		edits: []edit{{"snapshot.go",
			"\te.submit(LaneDisk, &reset{disk: &e.disk, meta: r.meta})\n",
			"\te.submit(LaneDisk, &reset{disk: &e.disk, meta: r.meta})\n\te.core.SnapshotInstalled(e.now, r.meta)\n"},
			{"snapshot.go", "\te.core.SnapshotInstalled(e.now, r.meta)\n\te.commit", "\te.commit"}},
		checks: []check{cluster(100)},
	},
	{
		number: 43, name: "proposal result of another entry",
		edits:  []edit{{"apply.go", "case e.Term != p.id.Term:", "case false:"}},
		checks: []check{cluster(100)},
	},
	{
		number: 44, name: "voteless server votes",
		edits: []edit{
			{"core/election.go", "!c.voteless.on && !c.disowned() && c.upToDate(m.Prev)\n", "!c.disowned() && c.upToDate(m.Prev)\n"},
			{"core/election.go", "if !free || c.voteless.on || c.disowned() || !c.upToDate(m.Prev) {", "if !free || c.disowned() || !c.upToDate(m.Prev) {"},
		},
		checks: []check{walk(200), scripts, cluster(100)},
	},
	{
		number: 45, name: "hint of a refusal taken for a match",
		edits: []edit{{"core/progress.go",
			"p.next = max(next, p.match+1)\n\tp.stopWaiting()",
			"p.next = max(next, p.match+1)\n\tp.match = p.next - 1\n\tp.stopWaiting()"}},
		checks: []check{walk(400), scripts},
	},
	{
		number: 46, name: "finished transfer asks for ticks for ever",
		edits:  []edit{{"core/transfer.go", "Err: err})\n\tc.lead.transfer = nil\n", "Err: err})\n"}},
		checks: []check{walk(100), scripts},
	},
	{
		number: 47, name: "vote stored after its message",
		edits: []edit{{"disk.go",
			"\tif len(d.batch) > 0 {\n\t\tif err",
			"\tfor _, w := range ws {\n\t\tfor _, m := range w.after {\n\t\t\td.send(m)\n\t\t}\n\t\tw.after = nil\n\t}\n\tif len(d.batch) > 0 {\n\t\tif err"}},
		checks: []check{cluster(40)},
	},
	{
		number: 101, name: "lease without own-term commit",
		edits:  []edit{{"core/lease.go", "case l == nil, c.commit < l.first, ", "case l == nil, "}},
		checks: []check{walk(400), cluster(100)},
	},
	{
		number: 102, name: "lease not ended at step-down",
		edits: []edit{{"lease.go",
			"\tif end <= e.now {\n\t\te.lease.Store(nil)\n\t\treturn\n\t}\n",
			"\tif end <= e.now {\n\t\treturn\n\t}\n"}},
		checks: []check{cluster(200)},
	},
	{
		number: 103, name: "drift bound ignored",
		edits:  []edit{{"core/lease.go", "{ return t.ElectionMin - t.ElectionMin/DriftShare }", "{ return t.ElectionMin }"}},
		checks: []check{scripts, walk(400), cluster(200)},
	},
	{
		number: 104, name: "timing from own flags",
		edits: []edit{
			{"core/timing.go", "\tif n := len(c.configs); n > 0 {\n\t\treturn c.configs[n-1].config.Timing.orDefault()\n\t}\n", "\tif len(c.cfg.ID)%2 == 0 || c.cfg.ID[len(c.cfg.ID)-1]%2 == 0 {\n\t\treturn DefaultTiming().Scaled(4)\n\t}\n"},
		},
		checks: []check{walk(400), cluster(100)},
	},
	{
		number: 105, name: "promise under any configuration counted",
		edits:  []edit{{"core/lease.go", "if m.Config == 0 || m.Config != c.configIndex() {", "if false {"}},
		checks: []check{walk(400), cluster(200)},
	},
	{
		number: 120, name: "stale reads from the commit index on disk",
		edits:  []edit{{"ready.go", "(r.asked || e.now >= r.giveUp)", "true"}},
		checks: []check{watches},
	},
	{
		number: 121, name: "late leader excused for ever",
		edits:  []edit{{"core/late.go", " && c.quorumContact() >= c.lead.excused {", " {"}},
		checks: []check{scripts},
	},
	{
		number: 122, name: "own absence taken for the leader's",
		edits:  []edit{{"core/late.go", "if c.waited || !c.late(c.electionDeadline) {", "if true {"}},
		checks: []check{scripts},
	},
	{
		number: 123, name: "older copy of a disk keeps its vote",
		edits: []edit{{"core/voteless.go",
			"if c.voteless.on || m.AcknowledgedBy != c.incarnation || c.log.mayHold(m.Acknowledged) {", "if m.AcknowledgedBy == c.incarnation || true {"}},
		checks: []check{walk(400), scripts, cluster(100)},
	},
	{
		number: 124, name: "older copy says so before its disk does",
		edits:  []edit{{"core/writes.go", " || c.voteless.unstored {", " {"}},
		checks: []check{walk(400), scripts},
	},
	{
		number: 125, name: "acknowledgements from before the loss counted",
		edits:  []edit{{"core/voteless.go", "\tpr.since = c.startRound()\n", ""}},
		checks: []check{walk(400), scripts},
	},
	{
		number: 126, name: "loss kept in memory only",
		edits:  []edit{{"wal/append.go", "marked := l.voteless == l.votelessOnDisk", "marked := true"}},
		checks: []check{wal},
	},
	{
		number: 127, name: "older copy does not tell its disk",
		edits:  []edit{{"output.go", "\te.disk.log.SetVoteless(true)\n", ""}},
		checks: []check{driver},
	},
	{
		number: 131, name: "vote of another log counted",
		edits: []edit{
			{"core/election.go", "if c.role == Candidate {\n\t\tc.countBallot(m.From, !m.Reject && c.speaksAsVoter(m))", "if c.role == Candidate {\n\t\tc.countBallot(m.From, !m.Reject)"},
			{"core/election.go", "\t\treturn\n\t}\n\tc.countBallot(m.From, !m.Reject && c.speaksAsVoter(m))", "\t\treturn\n\t}\n\tc.countBallot(m.From, !m.Reject)"},
		},
		checks: []check{walk(400), scripts},
	},
	{
		number: 132, name: "acknowledgement of another log counted",
		edits:  []edit{{"core/incarnation.go", "pr.other = m.Log\n\t\treturn false", "pr.other = m.Log\n\t\treturn true"}},
		checks: []check{walk(400), scripts},
	},
	{
		number: 133, name: "acknowledgements of an earlier log kept",
		edits:  []edit{{"core/incarnation.go", "\t\tpr.match, pr.pledged = 0, 0\n\t\tpr.catchUp = catchUp{target: c.log.last, started: c.now}\n", ""}},
		checks: []check{walk(400), scripts},
	},
	{
		number: 134, name: "promotion without catching up",
		edits:  []edit{{"core/membership.go", "if ch.Kind == PromoteVoter && !c.caughtUp(ch.ID) {", "if false {"}},
		checks: []check{walk(400), scripts},
	},
	{
		number: 135, name: "promotion gives the vote to any log",
		edits:  []edit{{"core/membership.go", "next.Servers[i].Log = c.lead.find(ch.ID).log", "_ = i"}},
		checks: []check{walk(400), scripts},
	},
	{
		number: 137, name: "voters changed without a quorum",
		edits:  []edit{{"core/membership.go", "next.Voters() != c.config().Voters() && 2*len(absent) >= next.Voters()", "false"}},
		checks: []check{cluster(200), scripts},
	},
	{
		number: 138, name: "each retry of a read is a new question",
		edits:  []edit{{"core/read.go", "\tcase c.asked.refused:\n", "\tdefault:\n"}, {"core/read.go", "\tdefault:\n\t\tc.putQuestion()\n", ""}},
		checks: []check{scripts},
	},
}
