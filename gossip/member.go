package gossip

import (
	"bytes"
	"fmt"
	"net"
	"strconv"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/serf/serf"
)

// Status is what is known of a member's life. The numbers are serf's, and part
// of the HTTP API.
type Status int

// The values of Status.
const (
	StatusNone    Status = 0
	StatusAlive   Status = 1
	StatusLeaving Status = 2
	StatusLeft    Status = 3
	StatusFailed  Status = 4
)

// String gives the status as `muster members` prints it.
func (s Status) String() string {
	names := [...]string{"none", "alive", "leaving", "left", "failed"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("status %d", int(s))
	}
	return names[s]
}

// Member is one agent as the pool knows it.
type Member struct {
	Name   string
	ID     string
	Addr   string // IP
	Port   uint16
	Status Status
	Tags   map[string]string

	Datacenter string
	Server     bool
	// ClusterAddr is host:port of a server's cluster port, "" for clients.
	ClusterAddr string
	// WANAddr is host:port of a server's port in the WAN pool, "" where a LAN
	// member has none. The host is its LAN address.
	WANAddr   string
	Expect    int  // servers it waits for to form a cluster, 0 for none
	Bootstrap bool // it forms one alone; Expect is 1
	// RaftMultiplier is what a server wants the times of consensus scaled by.
	RaftMultiplier int
	Build          string

	ProtocolMin, ProtocolMax, ProtocolCur uint8
	DelegateMin, DelegateMax, DelegateCur uint8
}

// The tags, as Consul's clients know them, and the values of role.
const (
	tagRole       = "role"
	tagDatacenter = "dc"
	tagID         = "id"
	tagPort       = "port"
	tagExpect     = "expect"

	tagRaftMultiplier = "raft_mult"
	tagBootstrap      = "bootstrap"
	tagBuild          = "build"
	tagWANJoinPort    = "wan_join_port"
	tagImpl           = "impl"

	roleServer = "consul"
	roleClient = "node"

	// impl is what all members of a pool must have in common: a real Consul in
	// the same network must never become a Raft peer.
	impl = "muster"
)

// fixedTags go with every member: Consul's protocol versions, which its tools
// read, and the one network segment.
var fixedTags = map[string]string{"vsn": "2", "vsn_min": "2", "vsn_max": "3", "segment": "", tagImpl: impl}

// serverTags go with every server: versions and features that Consul's tools
// ask for before they talk with one.
var serverTags = map[string]string{"raft_vsn": "3", "ft_fs": "1", "ft_si": "1"}

// tags are all that this agent says about itself. The fields win over Tags.
func (c Config) tags() map[string]string {
	t := map[string]string{}
	add := func(more map[string]string) {
		for k, v := range more {
			t[k] = v
		}
	}
	add(c.Tags)
	add(fixedTags)
	t[tagDatacenter], t[tagID], t[tagBuild] = c.Datacenter, c.NodeID, c.Build
	if c.Role == Client {
		t[tagRole] = roleClient
		return t
	}
	t[tagRole] = roleServer
	add(serverTags)
	t[tagPort] = strconv.Itoa(c.ClusterPort)
	t["acls"] = "0"
	if c.ACLs {
		t["acls"] = "1"
	}
	if c.Bootstrap || c.Expect == 1 {
		t[tagBootstrap] = "1"
	}
	if c.Expect > 1 {
		t[tagExpect] = strconv.Itoa(c.Expect)
	}
	if c.RaftMultiplier > 1 {
		t[tagRaftMultiplier] = strconv.Itoa(c.RaftMultiplier)
	}
	if c.WANJoinPort > 0 && !c.WAN {
		t[tagWANJoinPort] = strconv.Itoa(c.WANJoinPort)
	}
	return t
}

// tagsMagic begins serf's encoding of tags: this byte, then a msgpack map.
const tagsMagic = 255

// tagsHandle is serf's msgpack dialect; a map's claimed size is not believed
// beyond what tags can have.
var tagsHandle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{}
	h.MaxInitLen = 64
	return h
}()

// encodeTags encodes as serf does, to know the size beforehand.
func encodeTags(tags map[string]string) []byte {
	buf := bytes.NewBuffer([]byte{tagsMagic})
	if err := codec.NewEncoder(buf, tagsHandle).Encode(tags); err != nil {
		panic(fmt.Sprintf("gossip: a map of strings does not encode: %v", err)) // no input can cause it
	}
	return buf.Bytes()
}

// decodeTags decodes what a stranger sent; it has at most 512 bytes.
func decodeTags(meta []byte) (map[string]string, error) {
	if len(meta) == 0 || meta[0] != tagsMagic {
		return nil, nil // a role of serf's first protocol, and so no tags
	}
	var tags map[string]string
	if err := codec.NewDecoderBytes(meta[1:], tagsHandle).Decode(&tags); err != nil {
		return nil, fmt.Errorf("its tags can't be decoded: %w", err)
	}
	return tags, nil
}

// newMember reads serf's view of a member. The guard has let it in, so its tags
// are sound.
func newMember(s serf.Member) Member {
	m := Member{
		Name: s.Name, ID: s.Tags[tagID], Addr: s.Addr.String(), Port: s.Port,
		Status: Status(s.Status), Tags: s.Tags,
		Datacenter: s.Tags[tagDatacenter], Server: s.Tags[tagRole] == roleServer,
		Bootstrap: s.Tags[tagBootstrap] == "1", Build: s.Tags[tagBuild],
		ProtocolMin: s.ProtocolMin, ProtocolMax: s.ProtocolMax, ProtocolCur: s.ProtocolCur,
		DelegateMin: s.DelegateMin, DelegateMax: s.DelegateMax, DelegateCur: s.DelegateCur,
	}
	m.Expect, _ = strconv.Atoi(s.Tags[tagExpect]) // 0 where it has none
	if m.Bootstrap {
		m.Expect = 1
	}
	m.RaftMultiplier, _ = strconv.Atoi(s.Tags[tagRaftMultiplier])
	m.RaftMultiplier = max(m.RaftMultiplier, 1)
	if m.Server {
		m.ClusterAddr = net.JoinHostPort(m.Addr, s.Tags[tagPort])
		if port := s.Tags[tagWANJoinPort]; port != "" {
			m.WANAddr = net.JoinHostPort(m.Addr, port)
		}
	}
	return m
}
