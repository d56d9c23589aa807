package catalog

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"sync"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

const (
	// MaxCommandSize bounds the encoded bytes of one command.
	MaxCommandSize = 1 << 20

	commandVersion = 1
	commandHeader  = 2  // operation and version
	maxDepth       = 64 // of nested maps and lists in any encoding

	// maxValues bounds the values in any encoding, each key of a map and each member
	// of a list being one: an empty string takes a byte there and 16 in memory. An
	// empty map takes a byte too, and what it becomes some hundred: it counts for
	// mapValues.
	maxValues = 1 << 16
	mapValues = 8
)

// EncodeCommand gives the bytes of a command as they stand in the log. It
// refuses one that is larger than MaxCommandSize.
func EncodeCommand(c Command) ([]byte, error) {
	if newCommand(c.Op()) == nil {
		return nil, Errorf(Internal, "encode command: unknown operation %d", c.Op())
	}
	b, err := appendMsgpack([]byte{byte(c.Op()), commandVersion}, c)
	if err != nil {
		return nil, Errorf(Invalid, "encode command %d: %v", c.Op(), err)
	}
	if err := checkMsgpack(b[commandHeader:]); err != nil {
		return nil, Errorf(Invalid, "encode command %d: %v", c.Op(), err)
	}
	if len(b) > MaxCommandSize {
		return nil, Errorf(TooLarge, "the request takes %d bytes in the log; at most %d are allowed", len(b), MaxCommandSize)
	}
	return b, nil
}

// DecodeCommand reads what EncodeCommand wrote. Whatever the bytes are, it
// returns a command or an error.
func DecodeCommand(b []byte) (Command, error) {
	switch {
	case len(b) < commandHeader:
		return nil, Errorf(Invalid, "decode command: %d bytes are too few", len(b))
	case len(b) > MaxCommandSize:
		return nil, Errorf(TooLarge, "decode command: %d bytes are more than the allowed %d", len(b), MaxCommandSize)
	}
	op, version := Op(b[0]), b[1]
	c := newCommand(op)
	if c == nil {
		return nil, Errorf(Invalid, "decode command: unknown operation %d", op)
	}
	if version != commandVersion {
		return nil, Errorf(Invalid, "decode command %d: unknown version %d", op, version)
	}
	if err := Unmarshal(b[commandHeader:], c); err != nil {
		return nil, Errorf(Invalid, "decode command %d: %v", op, err)
	}
	return c, nil
}

// ErrLaterRelease says that a command is of a kind, or of a version of it, that
// came with a later release than this one.
var ErrLaterRelease = errors.New("it is a command of a later release of Muster; update this server, it goes on where it stopped")

// CheckRelease looks at a command's first two bytes. It returns ErrLaterRelease
// for one that DecodeCommand can't read since this program is too old for it: the
// other servers carry it out.
func CheckRelease(b []byte) error {
	if len(b) >= commandHeader && (b[0] > 0 && newCommand(Op(b[0])) == nil || b[1] > commandVersion) {
		return fmt.Errorf("operation %d, version %d: %w", b[0], b[1], ErrLaterRelease)
	}
	return nil
}

// newCommand returns an empty command of an operation, nil if it is unknown.
func newCommand(op Op) Command {
	switch op {
	case OpRegister:
		return new(Register)
	case OpDeregister:
		return new(Deregister)
	case OpCoordinates:
		return new(Coordinates)
	case OpKV:
		return new(KV)
	case OpCreateSession:
		return new(CreateSession)
	case OpDestroySession:
		return new(DestroySession)
	case OpEndLockDelays:
		return new(EndLockDelays)
	case OpSetAutopilot:
		return new(SetAutopilot)
	case OpTxn:
		return new(Txn)
	case OpRestore:
		return new(Restore)
	case OpBatch:
		return new(Batch)
	case OpChangeQuery:
		return new(ChangeQuery)
	case OpSetConfig:
		return new(SetConfig)
	case OpOnce:
		return new(Once)
	case OpForgetOutcomes:
		return new(ForgetOutcomes)
	case OpSetCA:
		return new(SetCA)
	}
	return nil
}

// Marshal gives the canonical msgpack of a noun or command: map keys sorted, so
// that equal values have equal bytes.
func Marshal(v any) ([]byte, error) { return appendMsgpack(nil, v) }

// Unmarshal reads one msgpack value into v and refuses bytes that are left over.
// It allocates four times MaxCommandSize at most, or what b takes if that is more,
// whatever b announces.
func Unmarshal(b []byte, v any) (err error) {
	if err := checkMsgpack(b); err != nil {
		return err
	}
	d := decoders.Get().(*codec.Decoder)
	defer decoders.Put(d)
	defer d.ResetBytes(nil)
	d.ResetBytes(b)
	return d.Decode(v)
}

func appendMsgpack(dst []byte, v any) ([]byte, error) {
	var body []byte
	e := encoders.Get().(*codec.Encoder)
	defer encoders.Put(e)
	e.ResetBytes(&body)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	if len(dst) == 0 {
		return body, nil
	}
	return append(dst, body...), nil
}

// msgpackHandle is shared by all coders. It is written once, before use: the
// codec requires that.
var msgpackHandle = func() *codec.MsgpackHandle {
	h := &codec.MsgpackHandle{WriteExt: true}
	h.Canonical = true
	h.SignedInteger = true // integers in free-form configuration come back as int64
	h.RawToString = true
	h.MapType = reflect.TypeFor[map[string]any]()
	h.MaxDepth = maxDepth
	// checkMsgpack has seen the bytes behind each length. Without this the codec
	// grows what it reads by a few bytes at a time, and copies it each time: the
	// square of a value's size.
	h.MaxInitLen = math.MaxInt
	return h
}()

var (
	encoders = sync.Pool{New: func() any { return codec.NewEncoderBytes(new([]byte), msgpackHandle) }}
	decoders = sync.Pool{New: func() any { return codec.NewDecoderBytes(nil, msgpackHandle) }}
)

// checkMsgpack walks b without allocating and refuses what isn't exactly one
// msgpack value, nests deeper than maxDepth, has more than maxValues, or has types
// that no command uses (extensions). What passes can be given to a decoder that
// trusts lengths.
func checkMsgpack(b []byte) error {
	var open [maxDepth]int // values still to come, by nesting level
	depth, pos, values := 0, 0, 0
	open[0] = 1
	for {
		for open[depth] == 0 {
			if depth == 0 {
				if pos != len(b) {
					return fmt.Errorf("%d bytes after the end of the value", len(b)-pos)
				}
				return nil
			}
			depth--
		}
		open[depth]--
		size, children, ok := msgpackToken(b[pos:])
		if !ok {
			return fmt.Errorf("malformed or truncated msgpack at byte %d", pos)
		}
		values++
		if c := b[pos]; c&0xf0 == 0x80 || c == 0xde || c == 0xdf {
			values += mapValues - 1
		}
		if values > maxValues {
			return fmt.Errorf("more than %d values at byte %d", maxValues, pos)
		}
		pos += size
		if children > len(b)-pos {
			return fmt.Errorf("%d values announced at byte %d, but %d bytes are left", children, pos, len(b)-pos)
		}
		if children > 0 {
			if depth++; depth == maxDepth {
				return fmt.Errorf("nested deeper than %d at byte %d", maxDepth, pos)
			}
			open[depth] = children
		}
	}
}

// msgpackToken gives the size of the value at the start of b, for a map or list
// that of its header, and how many values follow inside it.
func msgpackToken(b []byte) (size, children int, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	c := b[0]
	switch {
	case c <= 0x7f, c >= 0xe0: // small integer
		return 1, 0, true
	case c <= 0x8f: // small map
		return 1, 2 * int(c&0x0f), true
	case c <= 0x9f: // small list
		return 1, int(c & 0x0f), true
	case c <= 0xbf: // short string
		size = 1 + int(c&0x1f)
		return size, 0, size <= len(b)
	}
	switch c {
	case 0xc0, 0xc2, 0xc3: // nil, false, true
		return 1, 0, true
	case 0xcc, 0xd0: // 8-bit integer
		size = 2
	case 0xcd, 0xd1:
		size = 3
	case 0xca, 0xce, 0xd2: // float or 32-bit integer
		size = 5
	case 0xcb, 0xcf, 0xd3:
		size = 9
	case 0xc4, 0xd9: // bytes and strings
		return msgpackString(b, 1)
	case 0xc5, 0xda:
		return msgpackString(b, 2)
	case 0xc6, 0xdb:
		return msgpackString(b, 4)
	case 0xdc: // lists
		return msgpackList(b, 2, 1)
	case 0xdd:
		return msgpackList(b, 4, 1)
	case 0xde: // maps
		return msgpackList(b, 2, 2)
	case 0xdf:
		return msgpackList(b, 4, 2)
	default: // extensions and the byte that is never used
		return 0, 0, false
	}
	return size, 0, size <= len(b)
}

// msgpackString reads a string whose length stands in n bytes.
func msgpackString(b []byte, n int) (size, children int, ok bool) {
	length, ok := msgpackLength(b, n)
	if !ok || length > len(b)-1-n {
		return 0, 0, false
	}
	return 1 + n + length, 0, true
}

// msgpackList reads the header of a list (width 1) or map (width 2) whose length
// stands in n bytes.
func msgpackList(b []byte, n, width int) (size, children int, ok bool) {
	length, ok := msgpackLength(b, n)
	return 1 + n, width * length, ok
}

// msgpackLength reads the big-endian length of n bytes behind the type byte.
func msgpackLength(b []byte, n int) (int, bool) {
	if len(b) < 1+n {
		return 0, false
	}
	length := 0
	for _, c := range b[1 : 1+n] {
		length = length<<8 | int(c)
	}
	return length, true
}
