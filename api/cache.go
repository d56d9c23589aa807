package api

import (
	"bytes"
	"container/list"
	"maps"
	"sync"
	"sync/atomic"

	"muster/catalog/state"
)

// answer is a finished answer with what it was made of. It never changes.
type answer struct {
	*payload
	head
	index  uint64
	topics []state.Topic
	hidden bool // something was left out that its caller may not see
}

// head is what comes before the bytes of an answer.
type head struct {
	status      int
	contentType string
	header      map[string]string
}

func (h *head) equal(o *head) bool {
	return h.status == o.status && h.contentType == o.contentType && maps.Equal(h.header, o.header)
}

// payload is the bytes of an answer, compressed too once someone wants that.
type payload struct {
	data   []byte
	zip    sync.Once
	zipped []byte // set by zip
}

func (p *payload) gzipped() []byte {
	p.zip.Do(func() { p.zipped = compress(p.data) })
	return p.zipped
}

// answers keeps finished answers by question, those asked last, within a bound
// of bytes. It holds at most one evaluation of a question at a time.
type answers struct {
	limit      int
	kept, made atomic.Uint64 // how often an answer was there, or had to be made

	mu    sync.Mutex
	slots map[string]*slot // guarded by mu
	order list.List        // guarded by mu; slots, the one asked last in front
	bytes int              // guarded by mu
}

// slot is the place of one question.
type slot struct {
	question   string
	answer     atomic.Pointer[answer]
	evaluating sync.Mutex // held by whoever makes a new answer

	place *list.Element // guarded by answers.mu; nil once dropped
	bytes int           // guarded by answers.mu
}

func newAnswers(limit int) *answers {
	return &answers{limit: limit, slots: map[string]*slot{}}
}

// get gives the answer to a question as of now: the one that is kept if nothing
// has moved that it was made of, else a new one, which evaluate makes.
// Kept says which.
func (a *answers) get(store *state.Store, question string, evaluate func(*state.View) (*answer, error)) (_ *answer, kept bool, err error) {
	if a.limit == 0 {
		a.made.Add(1)
		fresh, err := evaluate(store.View())
		return fresh, false, err
	}
	s := a.slot(question)
	old := s.answer.Load()
	if old != nil && old.holds(store.View()) {
		a.kept.Add(1)
		return old, true, nil
	}
	s.evaluating.Lock()
	defer s.evaluating.Unlock()
	view := store.View()
	old = s.answer.Load()
	if old != nil && old.holds(view) {
		a.kept.Add(1)
		return old, true, nil
	}
	a.made.Add(1)
	fresh, err := evaluate(store.View())
	if err != nil {
		return nil, false, err
	}
	if old != nil && bytes.Equal(old.data, fresh.data) {
		fresh.payload = old.payload // no need to compress it again
	}
	s.answer.Store(fresh)
	a.keep(s, fresh)
	return fresh, false, nil
}

// holds says whether nothing has moved that an answer was made of. Topics only
// move on, past all that they were at before. (An answer's index is at least 1; no
// command has that one, as a log begins with its configuration.)
func (a *answer) holds(v *state.View) bool {
	return !v.Moved(a.topics, a.index)
}

// slot finds or makes the place of a question. A new one counts only once it
// has an answer.
func (a *answers) slot(question string) *slot {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s := a.slots[question]; s != nil {
		a.order.MoveToFront(s.place)
		return s
	}
	s := &slot{question: question}
	s.place = a.order.PushFront(s)
	a.slots[question] = s
	a.charge(s, overhead+len(question))
	return s
}

// overhead is about what a slot takes besides question and answer.
const overhead = 512

// keep counts a new answer in, and drops those asked longest ago if there are
// too many bytes.
func (a *answers) keep(s *slot, fresh *answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.place == nil {
		return // dropped meanwhile; whoever asks next makes another
	}
	// JSON shrinks to less than a quarter.
	a.charge(s, overhead+len(s.question)+len(fresh.data)*5/4+64*len(fresh.topics))
}

// charge sets what a slot takes, and makes room. The caller holds mu.
func (a *answers) charge(s *slot, size int) {
	a.bytes += size - s.bytes
	s.bytes = size
	for a.bytes > a.limit && a.order.Len() > 0 {
		last := a.order.Remove(a.order.Back()).(*slot)
		delete(a.slots, last.question)
		a.bytes -= last.bytes
		last.place, last.bytes = nil, 0
	}
}

// size is about how many bytes all answers take.
func (a *answers) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bytes
}
