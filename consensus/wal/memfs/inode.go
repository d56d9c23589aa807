package memfs

import "io"

const (
	pageSize   = 4096
	sectorSize = 512
)

// image is the content of a file. A nil page is all zeros.
type image struct {
	pages []*[pageSize]byte
	size  int64
}

var zeroPage [pageSize]byte

func (m *image) readAt(p []byte, off int64) (int, error) {
	if off >= m.size {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && off < m.size {
		page := m.pages[off/pageSize]
		if page == nil {
			page = &zeroPage
		}
		at := off % pageSize
		k := copy(p[n:], page[at:min(pageSize, at+m.size-off)])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *image) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	m.size = max(m.size, off+int64(len(p)))
	for need := (m.size + pageSize - 1) / pageSize; int64(len(m.pages)) < need; {
		m.pages = append(m.pages, nil)
	}
	for len(p) > 0 {
		i, at := off/pageSize, off%pageSize
		n := min(len(p), int(pageSize-at))
		if m.pages[i] == nil && !allZero(p[:n]) {
			m.pages[i] = new([pageSize]byte)
		}
		if m.pages[i] != nil {
			copy(m.pages[i][at:], p[:n])
		}
		p = p[n:]
		off += int64(n)
	}
}

func (m *image) clone() image {
	c := image{pages: make([]*[pageSize]byte, len(m.pages)), size: m.size}
	for i, page := range m.pages {
		if page != nil {
			copied := *page
			c.pages[i] = &copied
		}
	}
	return c
}

func (m *image) memory() int64 {
	n := int64(len(m.pages)) * 8
	for _, page := range m.pages {
		if page != nil {
			n += pageSize
		}
	}
	return n
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// inode is a file apart from its names. FS.mu guards it.
type inode struct {
	data image // as a reader sees it
	// Of a faulty file system only: what the disk has, and the writes that lead
	// from it to data, in order.
	disk    image
	pending []write
}

// write is a write that has not been synced; with cut it empties the file first.
type write struct {
	off  int64
	data []byte
	cut  bool
}

func (w write) apply(m *image) {
	if w.cut {
		*m = image{}
	}
	m.writeAt(w.data, w.off)
}

func (n *inode) write(p []byte, off int64, faulty bool) {
	n.data.writeAt(p, off)
	if faulty {
		n.pending = append(n.pending, write{off: off, data: append([]byte(nil), p...)})
	}
}

func (n *inode) truncate(faulty bool) {
	n.data = image{}
	if faulty {
		n.pending = append(n.pending, write{cut: true})
	}
}

func (n *inode) sync() {
	for _, w := range n.pending {
		w.apply(&n.disk)
	}
	n.pending = nil
}

// sectors splits a write at sector boundaries of the file, as a disk may
// persist it.
func (w write) sectors() []write {
	if w.cut || len(w.data) == 0 {
		return []write{w}
	}
	var parts []write
	for off, data := w.off, w.data; len(data) > 0; {
		n := min(len(data), int(sectorSize-off%sectorSize))
		parts = append(parts, write{off: off, data: data[:n]})
		off, data = off+int64(n), data[n:]
	}
	return parts
}
