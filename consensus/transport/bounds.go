package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// MaxElements bounds each array of a frame, and so the entries of one
	// message.
	MaxElements = 1 << 16
	// maxDepth bounds nesting: message > snapshot > servers > server is 4.
	maxDepth = 6
)

var errTruncated = errors.New("msgpack value runs past the end of its frame")

// checkBounds scans one msgpack value without allocating or recursing, and
// refuses what decoding could be hurt by: lengths beyond the frame, arrays with
// more than MaxElements elements, nesting below maxDepth, types that the format
// has no use for (maps, extensions, floats), and bytes after the value.
func checkBounds(b []byte) error {
	var left [maxDepth]int // elements still to come in each open array
	depth := 0
	for {
		if len(b) == 0 {
			return errTruncated
		}
		size, elements, array, err := token(b)
		if err != nil {
			return err
		}
		if size > len(b) {
			return errTruncated
		}
		b = b[size:]
		if array && elements > 0 {
			if elements > MaxElements || elements > len(b) {
				return fmt.Errorf("array of %d elements exceeds the bound", elements)
			}
			if depth == maxDepth {
				return fmt.Errorf("arrays nest deeper than %d", maxDepth)
			}
			left[depth] = elements
			depth++
			continue
		}
		for depth > 0 {
			left[depth-1]--
			if left[depth-1] > 0 {
				break
			}
			depth--
		}
		if depth == 0 {
			if len(b) > 0 {
				return fmt.Errorf("%d bytes after the end of the value", len(b))
			}
			return nil
		}
	}
}

// token measures the value that b begins with: its size in bytes (for an array
// that of its header) and, for an array, the number of its elements.
func token(b []byte) (size, elements int, array bool, err error) {
	c := b[0]
	switch {
	case c <= 0x7f || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3: // fixint, nil, bool
		return 1, 0, false, nil
	case c >= 0x90 && c <= 0x9f: // fixarray
		return 1, int(c & 0x0f), true, nil
	case c >= 0xa0 && c <= 0xbf: // fixstr
		return 1 + int(c&0x1f), 0, false, nil
	case c >= 0xcc && c <= 0xd3: // uint8…64, int8…64
		return 1 + 1<<(c&0x03), 0, false, nil
	case c >= 0xc4 && c <= 0xc6: // bin8…32
		n, err := length(b, 1<<(c-0xc4))
		return 1 + 1<<(c-0xc4) + n, 0, false, err
	case c >= 0xd9 && c <= 0xdb: // str8…32
		n, err := length(b, 1<<(c-0xd9))
		return 1 + 1<<(c-0xd9) + n, 0, false, err
	case c == 0xdc || c == 0xdd: // array16, array32
		n, err := length(b, 2<<(c-0xdc))
		return 1 + 2<<(c-0xdc), n, true, err
	default:
		return 0, 0, false, fmt.Errorf("unexpected msgpack type 0x%02x", c)
	}
}

// length reads the big-endian length of width bytes that follows b[0].
func length(b []byte, width int) (int, error) {
	if len(b) < 1+width {
		return 0, errTruncated
	}
	switch width {
	case 1:
		return int(b[1]), nil
	case 2:
		return int(binary.BigEndian.Uint16(b[1:])), nil
	default:
		n := binary.BigEndian.Uint32(b[1:])
		if n > 1<<30 { // keeps int arithmetic safe on 32-bit machines too
			return 0, errTruncated
		}
		return int(n), nil
	}
}
