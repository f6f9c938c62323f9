package replay

import (
	"fmt"
	"strings"

	"quicktune/metadataset"
	"quicktune/search"
	"quicktune/space"
)

// Keep says which curves of a store a method may propose.
type Keep func(s *metadataset.Store, curve int) bool

// The names that ParseExclude knows.
const (
	// ExcludeLinearProbing drops the configurations whose hyperparameter
	// linear_probing is true.
	ExcludeLinearProbing = "linear-probing"
	// ExcludeShort drops the curves with fewer epochs than planned, which
	// leaves a table without holes, as many other tools need.
	ExcludeShort = "short"
)

// ParseExclude returns the filter of a comma-separated list of names. The empty
// list keeps every curve; its filter is nil.
func ParseExclude(list string, s *space.Space) (Keep, error) {
	if list == "" {
		return nil, nil
	}
	var keeps []Keep
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case ExcludeLinearProbing:
			i := s.Index("linear_probing")
			if i < 0 {
				return nil, fmt.Errorf("cannot exclude %s: the search space has no hyperparameter linear_probing", name)
			}
			on := space.Bool(true)
			keeps = append(keeps, func(s *metadataset.Store, curve int) bool { return s.Config(curve)[i] != on })
		case ExcludeShort:
			keeps = append(keeps, func(s *metadataset.Store, curve int) bool { return s.Len(curve) == s.Manifest.MaxEpochs })
		default:
			return nil, fmt.Errorf("cannot exclude %q: only %s and %s can be excluded", name, ExcludeLinearProbing, ExcludeShort)
		}
	}
	return func(s *metadataset.Store, curve int) bool {
		for _, keep := range keeps {
			if !keep(s, curve) {
				return false
			}
		}
		return true
	}, nil
}

// FromStore makes the table of data set d (an index of s.Datasets) from the
// curves that keep lets pass, all of them if keep is nil. Scores and costs are
// shared with the store. The scale is always that of the whole data set, so
// that regrets with and without a filter can be compared.
func FromStore(s *metadataset.Store, d int, keep Keep) (*Table, error) {
	set := s.Datasets[d]
	in := Table{
		Task: search.Task{
			Name:         set.Name,
			TrainSamples: set.TrainSamples,
			Classes:      set.Classes,
			Pixels:       set.Pixels,
			Channels:     set.Channels,
			MetaFeatures: set.MetaFeatures,
		},
		Space:     s.Space,
		MaxEpochs: s.Manifest.MaxEpochs,
		Metric:    metric(s.Manifest.Metric),
		Scale:     emptyScale(),
	}
	for c := range s.Curves(d) {
		in.Scale.extend(s.Score(c))
		if keep != nil && !keep(s, c) {
			continue
		}
		end, err := searchEnd(s.Ends[c])
		if err != nil {
			return nil, fmt.Errorf("data set %q, curve %q: %w", set.Name, s.IDs[c], err)
		}
		in.Candidates = append(in.Candidates, s.Config(c))
		in.IDs = append(in.IDs, s.IDs[c])
		in.Scores = append(in.Scores, s.Score(c))
		in.Seconds = append(in.Seconds, s.Seconds(c))
		in.Ends = append(in.Ends, end)
	}
	in.Scale.start(in.Metric)
	return NewTable(in)
}

func metric(m metadataset.Metric) search.Metric {
	bounded := m.Goal == metadataset.Maximize && (m.Column == metadataset.ValAccuracy || m.Column == metadataset.TestAccuracy)
	return search.Metric{Name: string(m.Column), Bounded: bounded}
}

// searchEnd is what an optimiser is told when a stored curve is used up.
func searchEnd(e metadataset.End) (search.End, error) {
	switch e {
	case metadataset.EndCompleted, metadataset.EndTimeCapped, metadataset.EndMemoryTest, metadataset.EndUnknown:
		return search.Completed, nil
	case metadataset.EndDiverged, metadataset.EndOutOfMemory, metadataset.EndFailed:
		return search.Failed, nil
	}
	return search.NotEnded, fmt.Errorf("unknown end %q", e)
}
