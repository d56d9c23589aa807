package transport

import (
	"encoding/binary"
	"fmt"
)

// The part of msgpack that messages are made of: nil, bool, unsigned integers in
// as few bytes as hold them, bin, and arrays.

const nilValue = 0xc0

func appendUint(b []byte, u uint64) []byte {
	switch {
	case u <= 0x7f:
		return append(b, byte(u))
	case u <= 0xff:
		return append(b, 0xcc, byte(u))
	case u <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(u))
	case u <= 0xffffffff:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(u))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), u)
	}
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0xc3)
	}
	return append(b, 0xc2)
}

func appendArray(b []byte, n int) []byte {
	switch {
	case n <= 0x0f:
		return append(b, 0x90|byte(n))
	case n <= 0xffff:
		return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(n))
	}
}

func appendBytes(b, v []byte) []byte {
	switch n := len(v); {
	case v == nil:
		return append(b, nilValue)
	case n <= 0xff:
		b = append(b, 0xc4, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0xc5), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, 0xc6), uint32(n))
	}
	return append(b, v...)
}

// cursor reads a body that checkBounds has passed: whatever it begins with is
// there in full. The first error is kept, and ends every array.
type cursor struct {
	rest []byte
	err  error
}

// fields are the elements of an array that are still to be read. One that is
// not there, since an older sender did not know it, is zero, as is nil.
type fields struct {
	*cursor
	left int
}

// array begins an array; nil is an empty one.
func (c *cursor) array() fields {
	size, elements, array, _ := token(c.rest)
	if !array && c.rest[0] != nilValue {
		c.fail("array")
		return fields{cursor: c}
	}
	c.rest = c.rest[size:]
	return fields{c, elements}
}

// next says whether there is another element, and counts it as read.
func (f *fields) next() bool {
	if f.left == 0 || f.err != nil {
		return false
	}
	f.left--
	return true
}

// end skips the elements that only later versions know.
func (f *fields) end() {
	for f.next() {
		f.skip()
	}
}

// raw gives the next element as it is encoded.
func (f *fields) raw() []byte {
	if !f.next() {
		return nil
	}
	return f.skip()
}

// skip passes over one value, arrays with all that is in them.
func (c *cursor) skip() []byte {
	n := 0
	for values := 1; values > 0; values-- {
		size, elements, _, _ := token(c.rest[n:])
		n += size
		values += elements
	}
	value := c.rest[:n]
	c.rest = c.rest[n:]
	return value
}

func (f *fields) uint() uint64 {
	if !f.next() {
		return 0
	}
	kind, size := f.rest[0], 1
	var u uint64
	switch {
	case kind <= 0x7f:
		u = uint64(kind)
	case kind == nilValue:
	case kind >= 0xcc && kind <= 0xcf: // uint8…64
		size = 1 + 1<<(kind&0x03)
		for _, digit := range f.rest[1:size] {
			u = u<<8 | uint64(digit)
		}
	default:
		f.fail("unsigned integer")
		return 0
	}
	f.rest = f.rest[size:]
	return u
}

// small reads an integer of one byte.
func (f *fields) small() uint8 {
	u := f.uint()
	if u > 0xff {
		f.fail("integer of one byte")
	}
	return uint8(u)
}

func (f *fields) bool() bool {
	if !f.next() {
		return false
	}
	switch f.rest[0] {
	case nilValue, 0xc2, 0xc3:
		v := f.rest[0] == 0xc3
		f.rest = f.rest[1:]
		return v
	}
	f.fail("bool")
	return false
}

// bytes copies a bin.
func (f *fields) bytes() []byte {
	if !f.next() {
		return nil
	}
	kind := f.rest[0]
	size, _, _, _ := token(f.rest)
	value := f.rest[:size]
	switch kind {
	case nilValue:
		f.rest = f.rest[size:]
		return nil
	case 0xc4, 0xc5, 0xc6:
		f.rest = f.rest[size:]
		return append([]byte{}, value[1+1<<(kind-0xc4):]...)
	}
	f.fail("bin")
	return nil
}

// fail notes what should have stood at the cursor.
func (c *cursor) fail(want string) {
	if c.err == nil {
		var found byte
		if len(c.rest) > 0 {
			found = c.rest[0]
		}
		c.err = fmt.Errorf("msgpack type 0x%02x where a value is to be: %s", found, want)
	}
}
