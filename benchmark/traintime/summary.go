package traintime

// Summarise reports on the runs in a folder, which "benchmark traintime --measure"
// makes.
func Summarise(dir string) (*Report, error) {
	rows, err := load(dir)
	if err != nil {
		return nil, err
	}
	return newReport(rows)
}

// Find returns the errors of a predictor under a criterion in a regime, by their
// names in the report; nil if there are none.
func (r *Report) Find(criterion, regime, predictor string) *Error {
	for _, g := range r.Groups {
		if g.Criterion != criterion || g.Regime != regime {
			continue
		}
		for i := range g.Errors {
			if g.Errors[i].Predictor == predictor {
				return &g.Errors[i]
			}
		}
	}
	return nil
}
