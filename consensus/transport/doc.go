// Package transport carries Raft's messages between servers, over any stream:
// TCP, TLS, or the in-memory twin that tests use. It knows nothing of Raft
// beyond core.Message: it may lose messages, as a network may, but it never
// changes, doubles or reorders those of one lane.
//
// # Streams and lanes
//
// A server opens up to two streams to each peer and only writes on them; the
// peer's answers come on the streams that the peer opens. The control lane
// carries all that elections, leases and reads wait for (votes, heartbeats,
// replies); the bulk lane carries entries and snapshot chunks. A heartbeat thus
// never waits behind a megabyte. Each lane has a queue bounded in messages and
// bytes; what finds it full is dropped, and Raft sends again.
//
// A stream is opened when there is something to send: at once the first time
// and after a stream broke, then after a short pause with jitter that doubles up
// to MaxBackoff. Unused for IdleTimeout it is closed. What is queued while a
// peer can't be reached is dropped with each failed attempt, so that no peer
// that comes back is greeted with stale messages.
//
// # Goroutines
//
// New starts none. Run owns them all: one for each lane in use, one that watches
// each open outgoing stream for its end, one for each accepted stream. Handler
// is called on the last kind, and holds up only its own stream.
//
// # Wire format, version 1
//
// Integers outside msgpack are big-endian. A stream, from dialer to acceptor:
//
//	offset  size  meaning
//	0       1     0xC3, FirstByte: begins no HTTP method and no TLS hello
//	1       4     length of the hello, 1 to 1024
//	5       n     hello
//	then, once the acceptor's reply says yes, any number of frames:
//	0       4     length of the message, 1 to MaxFrame
//	4       n     message
//
// and from acceptor to dialer, once:
//
//	0       4     length of the reply, 1 to 1024
//	4       n     reply
//
// All three are msgpack arrays. A later version may append elements to any of
// them, which readers skip; it changes the protocol number only where an old
// reader would misunderstand.
//
//	hello    [protocol uint, cluster str, from str, to str, role str, lane uint]
//	reply    [protocol uint, cluster str, id str, code uint, text str]
//	message  [kind uint, term uint, prevTerm uint, prevIndex uint,
//	          entries [entry…] or nil, commit uint, round uint, reject bool,
//	          match uint, hintTerm uint, hintIndex uint, campaign uint,
//	          snapshot or nil, offset uint, data bin or nil, done bool,
//	          token uint, index uint, voteless bool, config uint, byRound bool,
//	          full bool, log uint, ackTerm uint, ackIndex uint, ackLog uint]
//	entry    [index uint, term uint, kind uint, data bin or nil]
//	snapshot [index uint, term uint, configIndex uint, cluster str,
//	          servers [server…] or nil, size uint, checksum uint,
//	          electionMin int, electionMax int, heartbeat int]
//	server   [id str, addr str, suffrage uint, log uint]
//
// role is "server"; lane is 1 (control) or 2 (bulk); cluster is "" for a server
// that is in no cluster yet. From and To of a message are those of its hello.
// Codes of the reply: 0 welcome, 1 protocol, 2 cluster, 3 id, 4 role, 5 lane,
// 6 duplicate id; text explains to people.
//
// # Bounds
//
// Nothing is allocated on the word of a peer: a frame grows with the bytes that
// have arrived, and before it is decoded a scan without allocation checks that
// every length lies inside the frame, that no array has more than MaxElements
// elements, and that nothing nests deeper than maxDepth.
//
// # The cluster port
//
// Mux shares one listener between Raft and HTTP by the first byte.
package transport
