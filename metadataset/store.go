package metadataset

import (
	"iter"
	"math"
	"slices"

	"quicktune/space"
)

// Store is a whole meta-dataset in memory, in columns. It does not change
// after Open: any number of goroutines may read it at once, and nobody may
// write to the slices it hands out.
//
// Curves, data sets and models are known by their index. Curves are sorted by
// the name of their data set, then by ID.
type Store struct {
	Dir      string
	Manifest Manifest
	Space    *space.Space
	Datasets []Dataset // sorted by name
	Models   []Model   // the hub's order, then others by name

	// One element a curve; Offsets has one more. Epoch e (from 1) of curve c
	// is element Offsets[c]+e-1 of the columns in Epochs.
	IDs       []string
	DatasetOf []int32
	ModelOf   []int32 // -1 if the configuration names no model
	Offsets   []int32
	Ends      []End
	Reasons   []string

	Epochs EpochColumns

	configs  *configTable
	score    []float32
	seconds  []float32
	first    []int32          // first curve of each data set, and the number of curves
	lookup   map[string]int32 // curve by ID
	datasets map[string]int32
}

// EpochColumns holds the per-epoch columns, all of the same length; a column
// that the source does not have is nil. NaN stands for unknown.
type EpochColumns struct {
	TrainLoss    []float32
	ValLoss      []float32
	TestLoss     []float32
	ValAccuracy  []float32 // in [0, 1]
	TestAccuracy []float32 // in [0, 1]
	LearningRate []float32
	Seconds      []float32 // of this epoch alone, > 0
	EvalSeconds  []float32 // the part of Seconds that evaluation took
}

// slot returns where a column is kept, nil for a name that is none.
func (e *EpochColumns) slot(c Column) *[]float32 {
	switch c {
	case TrainLoss:
		return &e.TrainLoss
	case ValLoss:
		return &e.ValLoss
	case TestLoss:
		return &e.TestLoss
	case ValAccuracy:
		return &e.ValAccuracy
	case TestAccuracy:
		return &e.TestAccuracy
	case LearningRate:
		return &e.LearningRate
	case Seconds:
		return &e.Seconds
	case EvalSeconds:
		return &e.EvalSeconds
	}
	return nil
}

// finish derives what is not stored.
func (s *Store) finish() {
	n := len(s.IDs)
	s.first = make([]int32, len(s.Datasets)+1)
	s.datasets = make(map[string]int32, len(s.Datasets))
	for d := range s.Datasets {
		s.datasets[s.Datasets[d].Name] = int32(d)
		at, _ := slices.BinarySearch(s.DatasetOf, int32(d))
		s.first[d] = int32(at)
	}
	s.first[len(s.Datasets)] = int32(n)

	metric := *s.Epochs.slot(s.Manifest.Metric.Column)
	if s.score = metric; s.Manifest.Metric.Goal == Minimize {
		s.score = make([]float32, len(metric))
		for i, v := range metric {
			s.score[i] = -v
		}
	}
	if s.seconds = s.Epochs.Seconds; s.Manifest.TimeUnit == TimeEpochs {
		s.seconds = make([]float32, s.Offsets[n])
		for i := range s.seconds {
			s.seconds[i] = 1
		}
	}
}

// NumCurves returns the number of curves, which is that of configurations.
func (s *Store) NumCurves() int { return len(s.IDs) }

// NumEpochs returns the number of epochs of all curves.
func (s *Store) NumEpochs() int { return int(s.Offsets[len(s.IDs)]) }

// Config returns the configuration of a curve. The caller may keep and change
// it.
func (s *Store) Config(c int) space.Config { return s.configs.config(c) }

// Range returns the curves of a data set: lo, lo+1, ..., hi-1.
func (s *Store) Range(d int) (lo, hi int) { return int(s.first[d]), int(s.first[d+1]) }

// Curves iterates over the curves of a data set.
func (s *Store) Curves(d int) iter.Seq[int] {
	return func(yield func(int) bool) {
		lo, hi := s.Range(d)
		for c := lo; c < hi; c++ {
			if !yield(c) {
				return
			}
		}
	}
}

// DatasetIndex finds a data set by name.
func (s *Store) DatasetIndex(name string) (int, bool) {
	d, ok := s.datasets[name]
	return int(d), ok
}

// Lookup finds a curve by data set and ID.
func (s *Store) Lookup(dataset, id string) (int, bool) {
	c, ok := s.lookup[id]
	if !ok || s.Datasets[s.DatasetOf[c]].Name != dataset {
		return 0, false
	}
	return int(c), true
}

// Len returns the number of epochs of a curve.
func (s *Store) Len(c int) int { return int(s.Offsets[c+1] - s.Offsets[c]) }

// Values returns a column of a curve, one number an epoch, NaN where unknown;
// nil if no curve of the meta-dataset has the column. It does not allocate.
func (s *Store) Values(c int, col Column) []float32 {
	slot := s.Epochs.slot(col)
	if slot == nil || *slot == nil {
		return nil
	}
	return s.cut(*slot, c)
}

// Score returns the metric of a curve such that higher is better: losses are
// negated. NaN marks an epoch that diverged. It does not allocate.
func (s *Store) Score(c int) []float32 { return s.cut(s.score, c) }

// Seconds returns what each epoch of a curve cost, > 0; all ones if the time
// unit is epochs. It does not allocate.
func (s *Store) Seconds(c int) []float32 { return s.cut(s.seconds, c) }

func (s *Store) cut(column []float32, c int) []float32 {
	lo, hi := s.Offsets[c], s.Offsets[c+1]
	return column[lo:hi:hi]
}

// DatasetStats sums up the curves of one data set.
type DatasetStats struct {
	Curves, Epochs int
	// Best and Worst are the extreme scores (higher is better) over all
	// epochs of all curves, NaN if there is none.
	Best, Worst float64
	// Seconds is the time of all epochs together, in the manifest's TimeUnit.
	Seconds     float64
	SingleEpoch int         // curves of one epoch
	FullLength  int         // curves of Manifest.MaxEpochs epochs
	Ends        map[End]int // curves by end
}

// Stats computes the statistics of a data set.
func (s *Store) Stats(d int) DatasetStats {
	st := DatasetStats{Best: math.NaN(), Worst: math.NaN(), Ends: make(map[End]int)}
	for c := range s.Curves(d) {
		n := s.Len(c)
		st.Curves++
		st.Epochs += n
		st.Ends[s.Ends[c]]++
		if n == 1 {
			st.SingleEpoch++
		}
		if n == s.Manifest.MaxEpochs {
			st.FullLength++
		}
		for _, v := range s.Score(c) {
			x := float64(v)
			if !(x <= st.Best) && x == x {
				st.Best = x
			}
			if !(x >= st.Worst) && x == x {
				st.Worst = x
			}
		}
		for _, v := range s.Seconds(c) {
			st.Seconds += float64(v)
		}
	}
	return st
}
