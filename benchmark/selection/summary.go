package selection

import (
	"quicktune/benchmark/stats"
	"quicktune/metadataset"
)

// Summarise ranks the networks of a meta-dataset by the scores in a file, which
// "benchmark selection --probe" makes.
func Summarise(s *metadataset.Store, path string) (*HubReport, error) {
	scores, err := loadScores(path)
	if err != nil {
		return nil, err
	}
	return newHubReport(s, scores, stats.Bootstrap{})
}

// Find returns the table of a pool in a setting, judged by the best accuracies
// found; nil if there is none. The pools are PoolAll, PoolExperts and PoolMixed.
func (r *HubReport) Find(pool, setting string) *HubTable {
	for i := range r.Tables {
		if t := &r.Tables[i]; t.Pool == pool && t.Setting == setting && t.Truth == bestFound {
			return t
		}
	}
	return nil
}

// Row returns that of a ranking, nil if there is none.
func (t *HubTable) Row(name string) *HubRow {
	for i := range t.Rows {
		if t.Rows[i].Name == name {
			return &t.Rows[i]
		}
	}
	return nil
}
