package replay

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"io"
	"math"
	"slices"
	"sort"
)

// Trace is what one method found on one data set with one seed, and what it
// spent on it.
type Trace struct {
	Key
	// Scale is that of the data set.
	Scale Scale
	// Points holds one point an incumbent change, in order of time.
	Points []Point
	Totals
	// Spent lists the candidates that were trained, in ascending order.
	Spent []Spent
	// Measured depends on the machine and is no part of any hash.
	Measured Measured
}

// Key tells runs apart. Two runs with the same key on the same data and the
// training clock have the same points.
type Key struct {
	Dataset string
	Method  string
	Details string // settings of the method, as in search.Method
	Seed    uint64
	// Budget is where the run was cut, in seconds, +Inf if nowhere.
	Budget  float64
	Workers int
	Clock   Clock
}

// Point is one change of the incumbent.
type Point struct {
	Seconds   float64 // when the epoch finished
	Epochs    int     // epochs finished by then, this one included, over all trials
	Candidate int     // index in the table
	ID        string  // of the candidate
	Epoch     int     // which epoch of its curve, from 1
	Score     float64
}

// Totals counts what a run spent. On the training clock it is deterministic,
// and Workers x End = TrainSeconds + CutSeconds + IdleSeconds up to rounding.
type Totals struct {
	Epochs    int // finished by the end
	Trials    int // started
	Decisions int // calls of Ask
	// TrainSeconds is what the finished epochs cost.
	TrainSeconds float64
	// CutSeconds is what was spent on epochs that the budget cut off.
	CutSeconds float64
	// IdleSeconds is what workers without work waited, over all workers.
	IdleSeconds float64
	// End is the budget, or the time of the last report if the method had
	// nothing more to do before.
	End float64
}

// Measured holds real time.
type Measured struct {
	// DecisionSeconds is what the calls of Ask and Tell took, in real seconds.
	DecisionSeconds float64
}

// Spent is what one candidate got.
type Spent struct {
	Candidate int32
	Epochs    int32 // over all its trials
}

// RegretAt is the normalised regret of the incumbent at a time: a
// right-continuous step function, the last value carried forward.
func (t *Trace) RegretAt(seconds float64) float64 {
	i := sort.Search(len(t.Points), func(i int) bool { return t.Points[i].Seconds > seconds })
	if i == 0 {
		return t.Scale.Regret(t.Scale.Start)
	}
	return t.Scale.Regret(t.Points[i-1].Score)
}

// Hash is the SHA-256 of the key and the points of t, in hexadecimal.
func (t *Trace) Hash() string {
	h := sha256.New()
	t.feed(h)
	return hex.EncodeToString(h.Sum(nil))
}

// Hash is the SHA-256, in hexadecimal, of the canonical form of all traces in
// order of data set, method, seed and budget, whatever the order of the slice.
//
// The canonical form of a trace is little-endian: data set, method, details
// and clock, each after its length in bytes; seed; budget; workers; number of
// points; and of each point seconds, epochs, candidate, id after its length,
// epoch, score. Integers take 8 bytes, numbers are IEEE 754 doubles.
func Hash(traces []*Trace) string {
	order := slices.Clone(traces)
	slices.SortStableFunc(order, func(a, b *Trace) int { return a.Key.compare(b.Key) })
	h := sha256.New()
	for _, t := range order {
		t.feed(h)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func (k Key) compare(o Key) int {
	return cmp.Or(
		cmp.Compare(k.Dataset, o.Dataset),
		cmp.Compare(k.Method, o.Method),
		cmp.Compare(k.Seed, o.Seed),
		cmp.Compare(k.Budget, o.Budget),
		cmp.Compare(k.Details, o.Details),
		cmp.Compare(k.Workers, o.Workers),
		cmp.Compare(k.Clock, o.Clock),
	)
}

func (t *Trace) feed(h hash.Hash) {
	var buf [8]byte
	u64 := func(v uint64) {
		binary.LittleEndian.PutUint64(buf[:], v)
		h.Write(buf[:])
	}
	text := func(s string) {
		u64(uint64(len(s)))
		io.WriteString(h, s)
	}
	text(t.Dataset)
	text(t.Method)
	text(t.Details)
	text(string(t.Clock))
	u64(t.Seed)
	u64(math.Float64bits(t.Budget))
	u64(uint64(t.Workers))
	u64(uint64(len(t.Points)))
	for _, p := range t.Points {
		u64(math.Float64bits(p.Seconds))
		u64(uint64(p.Epochs))
		u64(uint64(p.Candidate))
		text(p.ID)
		u64(uint64(p.Epoch))
		u64(math.Float64bits(p.Score))
	}
}
