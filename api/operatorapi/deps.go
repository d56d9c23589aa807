package operatorapi

// Quorum is the server's view of Raft. It is nil on client agents, whose routes
// are passed on to a server.
type Quorum interface {
	// LeaderAddr is the leader's cluster address, "" where none is known.
	LeaderAddr() string
	// Peers are the voters' cluster addresses, sorted.
	Peers() []string
	// Configuration is the latest membership that this server knows, with the
	// log index that it stands at.
	Configuration() (servers []Server, index uint64)
}

// Server is one server of the Raft configuration. Its JSON form is the API's.
type Server struct {
	ID              string
	Node            string // its node name, "(unknown)" where gossip has none
	Address         string
	Leader          bool
	ProtocolVersion string
	Voter           bool
	LastIndex       uint64
}
