package search

// ModelRanking ranks pretrained models for a data set before anything is trained
// on it, by one pass of each over a few images or by nothing but the past.
type ModelRanking interface {
	// Name says what it ranks by, such as "logme".
	Name() string
	// Rank returns a value for each model that it knows, higher for a better
	// one, and the seconds that looking at the data set takes, for all models
	// together. Values compare models on this data set alone. The past holds
	// the curves of other data sets; a ranking that looks only at the data set
	// ignores it.
	Rank(past MetaData, dataset string) (values map[string]float64, seconds float64, err error)
}

// Prepared is an [Optimizer] that spends time before its first proposal, such as
// that of a [ModelRanking]. Whoever drives it charges the search with it.
type Prepared interface {
	Optimizer
	// Preparation is the time in seconds, at least 0. It does not change.
	Preparation() float64
}
