package metadataset

import "fmt"

// A Problem is one thing wrong with a meta-dataset on disk.
type Problem struct {
	File string // relative to the directory
	Row  int    // counted from 0 within the file, -1 if no row is to blame
	Err  error
}

// Error says "file, row N: reason".
func (p *Problem) Error() string {
	if p.Row < 0 {
		return fmt.Sprintf("%s: %v", p.File, p.Err)
	}
	return fmt.Sprintf("%s, row %d: %v", p.File, p.Row, p.Err)
}

// Unwrap returns the reason.
func (p *Problem) Unwrap() error { return p.Err }

// maxSameProblems bounds how many rows are named for one column or rule.
const maxSameProblems = 10

// problems collects what one file is to blame for.
type problems struct {
	file string
	list []error
	same map[string]int // rows for each rule
}

func (p *problems) add(row int, format string, args ...any) {
	p.list = append(p.list, &Problem{p.file, row, fmt.Errorf(format, args...)})
}

// addRow is add for a rule that many rows may break.
func (p *problems) addRow(rule string, row int, format string, args ...any) {
	if p.same == nil {
		p.same = make(map[string]int)
	}
	p.same[rule]++
	switch n := p.same[rule]; {
	case n <= maxSameProblems:
		p.add(row, format, args...)
	case n == maxSameProblems+1:
		p.add(row, "and further rows with a bad %s, which are not listed", rule)
	}
}
