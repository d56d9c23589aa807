package transport

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	headerSize = 4
	// readStep is how much of a frame is allocated before its bytes arrive.
	readStep = 256 << 10
	// keepBuffer is the largest buffer that a stream keeps between frames.
	keepBuffer = 1 << 20
	bufferSize = 64 << 10
)

// frameReader reads length-prefixed frames from a connection under deadlines.
type frameReader struct {
	conn net.Conn
	br   *bufio.Reader
	buf  []byte
	max  int
	// idle bounds the wait for a frame to begin, step the wait for each
	// readStep bytes of one that has begun: half a frame and then silence, or a
	// byte now and then, ends the stream.
	idle, step time.Duration
}

func newFrameReader(conn net.Conn, maxFrame int, idle, step time.Duration) *frameReader {
	return &frameReader{conn: conn, br: bufio.NewReaderSize(conn, min(bufferSize, headerSize+maxFrame)), max: maxFrame, idle: idle, step: step}
}

// next returns the next frame's body, valid until the following call.
func (r *frameReader) next() ([]byte, error) {
	if r.br.Buffered() == 0 {
		r.conn.SetReadDeadline(time.Now().Add(r.idle))
		if _, err := r.br.Peek(1); err != nil {
			return nil, err
		}
	}
	r.conn.SetReadDeadline(time.Now().Add(r.step))
	return r.body()
}

// body reads one frame, growing the buffer only as its bytes arrive.
func (r *frameReader) body() ([]byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r.br, header[:]); err != nil {
		return nil, err
	}
	n := int64(binary.BigEndian.Uint32(header[:]))
	if n == 0 || n > int64(r.max) {
		return nil, fmt.Errorf("frame of %d bytes: length must be 1 to %d", n, r.max)
	}
	if cap(r.buf) > keepBuffer {
		r.buf = nil
	}
	r.buf = r.buf[:0]
	for len(r.buf) < int(n) {
		have := len(r.buf)
		want := min(int(n), have+readStep)
		if want > cap(r.buf) {
			grown := make([]byte, have, min(int(n), max(want, 2*cap(r.buf))))
			copy(grown, r.buf)
			r.buf = grown
		}
		r.buf = r.buf[:want]
		if _, err := io.ReadFull(r.br, r.buf[have:]); err != nil {
			return nil, err
		}
		if want < int(n) {
			r.conn.SetReadDeadline(time.Now().Add(r.step))
		}
	}
	return r.buf, nil
}

// writeFrame writes one frame to w, which buffers.
func writeFrame(w io.Writer, body []byte) error {
	var header [headerSize]byte
	binary.BigEndian.PutUint32(header[:], uint32(len(body)))
	if _, err := w.Write(header[:]); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// steadyWriter gives each step of a long write a deadline of its own: a slow
// peer may take its time, one that takes nothing may not.
type steadyWriter struct {
	conn net.Conn
	step time.Duration
}

func (w steadyWriter) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		w.conn.SetWriteDeadline(time.Now().Add(w.step))
		n, err := w.conn.Write(p[written:min(len(p), written+readStep)])
		written += n
		if err != nil {
			return written, err
		}
	}
	return written, nil
}
