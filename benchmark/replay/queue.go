package replay

// eventKind orders events of the same time: every epoch that finishes at an
// instant is reported before anyone is asked.
type eventKind uint8

const (
	epochEvent eventKind = iota // an epoch finishes
	askEvent                    // a worker needs work
)

// event is the one thing that a worker does next.
type event struct {
	time   float64
	worker int32
	kind   eventKind
}

// before is a strict total order: by time, kind, and number of the worker.
func (e event) before(o event) bool {
	if e.time != o.time {
		return e.time < o.time
	}
	if e.kind != o.kind {
		return e.kind < o.kind
	}
	return e.worker < o.worker
}

// queue is a binary heap with the next event at index 0.
type queue []event

func (q *queue) push(e event) {
	*q = append(*q, e)
	h := *q
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !e.before(h[parent]) {
			break
		}
		h[i] = h[parent]
		i = parent
	}
	h[i] = e
}

// replace puts e in the place of the next event.
func (q queue) replace(e event) {
	i := 0
	for {
		child := 2*i + 1
		if child >= len(q) {
			break
		}
		if right := child + 1; right < len(q) && q[right].before(q[child]) {
			child = right
		}
		if !q[child].before(e) {
			break
		}
		q[i] = q[child]
		i = child
	}
	q[i] = e
}

// pop drops the next event.
func (q *queue) pop() {
	h := *q
	last := h[len(h)-1]
	*q = h[:len(h)-1]
	if len(*q) > 0 {
		q.replace(last)
	}
}
