package e2e

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// slowLink is the cable between an agent's namespace and the bridge: a TAP device
// at each end, and this process, which carries every frame across after a delay.
// It is there because not every kernel has the queueing discipline netem.
type slowLink struct {
	delay atomic.Int64 // of each frame in each direction, nanoseconds
}

// linkQueue is how many frames may be on their way in one direction. Those that
// come while it is full are lost, as in any queue.
const linkQueue = 4096

// onSlowLink puts a slowLink without delay in the place of a's network interface,
// until the test ends.
func (a *agent) onSlowLink() {
	a.t.Helper()
	ip(a.t, "-n", a.ns, "link", "del", a.nic)
	outside, inside := a.ns+"o", a.ns+"i"
	out, in := openTAP(a.t, outside), openTAP(a.t, inside)
	ip(a.t, "link", "set", outside, "master", a.bridge, "up")
	ip(a.t, "link", "set", inside, "netns", a.ns)
	ip(a.t, "-n", a.ns, "addr", "add", a.addr+"/24", "dev", inside)
	ip(a.t, "-n", a.ns, "link", "set", inside, "up")
	a.nic, a.slow = inside, &slowLink{}
	var carriers sync.WaitGroup
	carriers.Go(func() { a.slow.carry(in, out) })
	carriers.Go(func() { a.slow.carry(out, in) })
	a.t.Cleanup(func() {
		a.stopForCleanup()
		_ = out.Close() // ends the carriers, and the devices
		_ = in.Close()
		carriers.Wait()
	})
}

// openTAP makes a TAP device, which lasts until the file is closed. A read gives
// one Ethernet frame that the kernel sends by it, a write lets one arrive.
func openTAP(t testing.TB, name string) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("SKIPPED: delays need TAP devices: /dev/net/tun: %v", err)
	}
	request, err := unix.NewIfreq(name)
	if err == nil {
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	tap := os.NewFile(uintptr(fd), name) // not earlier: a poller hears of a device only
	t.Cleanup(func() { _ = tap.Close() })
	if err != nil {
		t.Skipf("SKIPPED: delays need TAP devices: make %s: %v", name, err)
	}
	return tap
}

// carry takes the frames from one end to the other, in order, until an end is
// closed.
func (l *slowLink) carry(from, to *os.File) {
	type frame struct {
		data []byte
		due  time.Time
	}
	frames := make(chan frame, linkQueue)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for f := range frames {
			if wait := time.Until(f.due); wait > 0 {
				lasting(wait)
			}
			_, _ = to.Write(f.data) // a frame that can't arrive is lost, as on any cable
		}
	})
	defer delivery.Wait()
	defer close(frames)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case frames <- frame{append([]byte(nil), buf[:n]...), time.Now().Add(time.Duration(l.delay.Load()))}:
		default:
		}
	}
}

// delayed delays all that a sends and all that it hears by d each; 0 ends it.
func (a *agent) delayed(d time.Duration) {
	a.t.Helper()
	a.slow.delay.Store(int64(d))
	start := time.Now()
	a.get("/v1/agent/self")
	if took := time.Since(start); took < 2*d {
		a.t.Fatalf("%s answers after %v, though both ways are delayed by %v", a.name, took, d)
	}
}

func slowLinks(s *scene) {
	for _, a := range s.servers {
		a.onSlowLink()
	}
}

// delays puts a server far away, first a follower and then the leader, whose every
// round then takes 80 ms and more: a good part of an election timeout, and of the
// lease. Writes and reads go on, and leadership does not flap.
func delays(s *scene) {
	const far, elections = 40 * time.Millisecond, 2
	leader := s.leaderAmong(s.servers)
	term := metric(s.t, leader, "muster_raft_term")
	for _, a := range []*agent{s.others(leader)[0], leader} {
		a.delayed(far)
		s.logf("%s (leads: %v) is %v away", a.name, a == leader, far)
		s.load.progress(50)
		s.logf("50 writes later")
		a.delayed(0)
	}
	now := metric(s.t, leader, "muster_raft_term")
	s.logf("term %v, then %v", term, now)
	if now > term+elections { // a busy machine may cost one, and its second attempt
		s.t.Errorf("leadership went from term %v to %v though no server was further away than %v", term, now, far)
	}
}
