package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bareTimes are medians of what a commit can't do without.
type bareTimes struct {
	sync   time.Duration // one sector written to a preallocated file, and fdatasync
	trip   time.Duration // a command to a peer on the loopback and an answer back
	quorum time.Duration // both at once: see measureQuorum
}

func measureBare(ctx context.Context, dir string, span time.Duration) (bareTimes, error) {
	var b bareTimes
	files := make([]*bareFile, servers)
	for i := range files {
		f, err := newBareFile(filepath.Join(dir, fmt.Sprintf("bare-%d", i)))
		if err != nil {
			return b, err
		}
		defer f.close()
		files[i] = f
	}
	var err error
	if b.sync, err = repeat(ctx, span, files[0].append); err != nil {
		return b, err
	}
	peer, err := newBarePeer(func() error { return nil })
	if err != nil {
		return b, err
	}
	b.trip, err = repeat(ctx, span, func() error { return errors.Join(peer.ask(), peer.answer()) })
	if err = errors.Join(err, peer.close()); err != nil {
		return b, err
	}
	b.quorum, err = measureQuorum(ctx, files, span)
	return b, err
}

// repeat gives the median time of f.
func repeat(ctx context.Context, span time.Duration, f func() error) (time.Duration, error) {
	var took []time.Duration
	for over := time.Now().Add(span); time.Now().Before(over) || len(took) == 0; {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		start := time.Now()
		if err := f(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}

// measureQuorum is a commit with all of Raft left out: a command goes to two
// peers, who each write and sync it and answer, while its sender does the same
// with its own file. The second of the three makes it a commit; the third is
// waited for outside of the time, so that no commit meets the one before.
func measureQuorum(ctx context.Context, files []*bareFile, span time.Duration) (_ time.Duration, err error) {
	durable := make(chan error, servers)
	own := make(chan struct{})
	var peers []*barePeer
	var running sync.WaitGroup
	defer func() {
		close(own)
		for _, p := range peers {
			err = errors.Join(err, p.close())
		}
		running.Wait()
	}()
	running.Go(func() {
		for range own {
			durable <- files[0].append()
		}
	})
	for _, f := range files[1:] {
		p, err := newBarePeer(f.append)
		if err != nil {
			return 0, err
		}
		peers = append(peers, p)
		running.Go(func() {
			for p.answer() == nil {
				durable <- nil
			}
		})
	}
	var took []time.Duration
	_, err = repeat(ctx, span, func() error {
		start := time.Now()
		for _, p := range peers {
			if err := p.ask(); err != nil {
				return err
			}
		}
		own <- struct{}{}
		for i := range servers {
			if err := <-durable; err != nil {
				return err
			}
			if i == servers/2 {
				took = append(took, time.Since(start))
			}
		}
		return nil
	})
	return median(took), err
}

// bareFile is a preallocated file, written sector by sector.
type bareFile struct {
	f   *os.File
	off int64
}

const bareSize = 16 << 20

var sector = make([]byte, 512)

func newBareFile(path string) (*bareFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	for off := int64(0); off < bareSize; off += 1 << 20 {
		if _, err := f.WriteAt(make([]byte, 1<<20), off); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return &bareFile{f: f}, f.Sync()
}

func (b *bareFile) append() error {
	sector[0] = 1 // not zeros, as a file system might notice
	if _, err := b.f.WriteAt(sector, b.off); err != nil {
		return err
	}
	b.off = (b.off + int64(len(sector))) % bareSize
	return unix.Fdatasync(int(b.f.Fd()))
}

func (b *bareFile) close() { b.f.Close() }

// barePeer answers each command that it is sent, once it has done its work.
type barePeer struct {
	conn    net.Conn
	command []byte
	reply   []byte
	done    chan error
}

func newBarePeer(work func() error) (*barePeer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	p := &barePeer{command: make([]byte, commandBytes), reply: make([]byte, 32), done: make(chan error, 1)}
	if p.conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
		return nil, err
	}
	conn, err := l.Accept()
	if err != nil {
		return nil, errors.Join(err, p.conn.Close())
	}
	go func() { p.done <- serveBare(conn, work) }()
	return p, nil
}

func serveBare(conn net.Conn, work func() error) error {
	defer conn.Close()
	command, reply := make([]byte, commandBytes), make([]byte, 32)
	for {
		if _, err := io.ReadFull(conn, command); err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, unix.ECONNRESET) {
				return nil
			}
			return err
		}
		if err := work(); err != nil {
			return err
		}
		if _, err := conn.Write(reply); err != nil {
			return nil // the asker has gone
		}
	}
}

func (p *barePeer) ask() error {
	_, err := p.conn.Write(p.command)
	return err
}

func (p *barePeer) answer() error {
	_, err := io.ReadFull(p.conn, p.reply)
	return err
}

func (p *barePeer) close() error {
	p.conn.Close()
	return <-p.done
}
