package sim

// Situation is something that runs must meet now and then, or they prove little.
type Situation int

// The situations that are counted.
const (
	LeaderElected Situation = iota
	WriteAnswered
	ReadAnswered
	FollowerRead
	OutcomeUnknown
	RolledBack // a client was told that its entry was rolled back
	GaveUp
	LogCut
	ConfigRolledBack
	SnapshotTaken
	SnapshotInstalled
	ReadForFollower
	Crashed
	TornWork
	CameBackVoteless
	MajorityCrashed
	Paused
	DiskStalled
	Partitioned
	OneWayCut
	MessageCut
	MembersChanged
	Transferred
	MinorityLeftOut
	CompareSucceeded
	CompareFailed
	ReadUnderLease
	TimingChanged
	LeaseRefused // a read on a leader that held none
	MinorityMeddles
	OldCopy
	OldCopyFound
	DiskWiped
	LeaderWiped
	TwoWiped
	WipedAgain
	VoterAfterWipe
	ChangeRefused
	DiskFilled
	DiskFull
	RefusedForRoom
	DiskRanOut
	numSituations
)

var situationNames = [...]string{
	"leader elected", "write answered", "read answered", "read on a follower",
	"outcome unknown", "entry rolled back and client told", "client gave up", "log cut", "configuration rolled back",
	"snapshot taken", "snapshot installed", "read from disk for a follower",
	"crash", "crash amid disk work", "came back voteless", "majority crashed", "process paused", "disk stalled",
	"partition", "one-way cut", "message cut", "membership changed", "leadership transferred",
	"progress without a minority", "compare-and-set succeeded", "compare-and-set failed",
	"read under lease", "timing changed", "lease refused",
	"progress beside a badly connected minority",
	"older copy of a disk put back", "older copy found out",
	"disk wiped", "leader's disk wiped", "two disks wiped at once", "disk wiped again before its server was a voter",
	"voter again after its disk was wiped", "change of voters refused for want of a quorum",
	"disk filled by others", "server with a full disk", "write refused for want of room", "disk ran out of room",
}

// String names the situation in reports.
func (s Situation) String() string { return situationNames[s] }

// Situations counts what runs met.
type Situations [numSituations]int

// Add adds the counts of another run.
func (s *Situations) Add(o Situations) {
	for i, n := range o {
		s[i] += n
	}
}

// Missing lists what was never met.
func (s *Situations) Missing() (names []string) {
	for i, n := range s {
		if n == 0 {
			names = append(names, Situation(i).String())
		}
	}
	return names
}
