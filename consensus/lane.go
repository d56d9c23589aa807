package consensus

import "sync"

// Lane is a queue of work that may block, served in order by one worker.
type Lane uint8

// The lanes of an Engine.
const (
	LaneDisk Lane = iota
	LaneApply
	LaneRead
	LaneSnapshot
	numLanes
)

// Lanes lists all lanes, for those who start their workers.
func Lanes() []Lane { return []Lane{LaneDisk, LaneApply, LaneRead, LaneSnapshot} }

// String names the lane for logs and metrics.
func (l Lane) String() string {
	return [...]string{"disk", "apply", "read", "snapshot"}[l]
}

// task is one piece of work: run by its lane's worker, which may block, then
// finished by the loop, which may not. A task carries all that run needs; run
// touches nothing that the loop owns. An error of run is fatal: the server's
// disk or state machine can no longer be trusted.
type task interface {
	run() error
	finish(e *Engine)
}

// Done is work that a lane has finished, to be given to Turn.
type Done struct {
	task task
	err  error
}

// queue is a lane's tasks that no worker has taken yet.
type queue struct {
	mu     sync.Mutex
	tasks  []task // guarded by mu
	failed bool   // guarded by mu; after a fatal error nothing more is run
}

func (q *queue) push(t task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tasks = append(q.tasks, t)
}

// take empties the queue.
func (q *queue) take() []task {
	q.mu.Lock()
	defer q.mu.Unlock()
	ts := q.tasks
	q.tasks = nil
	if q.failed {
		return nil
	}
	return ts
}

func (q *queue) fail() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.failed = true
}

// Work runs all that waits on a lane and returns it, to be given to the next
// Turn. It is called by the lane's one worker after Host.Wake, and may block.
// Log writes that queued up become one append with one fsync.
func (e *Engine) Work(lane Lane) []Done {
	q := &e.lanes[lane]
	tasks := q.take()
	done := make([]Done, 0, len(tasks))
	for len(tasks) > 0 {
		n := 1
		var err error
		if writes := leadingWrites(tasks); len(writes) > 1 {
			n = len(writes)
			err = e.disk.append(writes)
		} else {
			err = tasks[0].run()
		}
		for _, t := range tasks[:n] {
			done = append(done, Done{task: t, err: err})
		}
		if err != nil {
			q.fail()
			return done
		}
		tasks = tasks[n:]
	}
	return done
}

// submit queues a task. It may be called from any goroutine.
func (e *Engine) submit(lane Lane, t task) {
	e.lanes[lane].push(t)
	e.host.Wake(lane)
}
