package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TimeUnit says what a unit of a search's budget is.
type TimeUnit string

// The units of time of a meta-dataset.
const (
	Seconds TimeUnit = "seconds"
	Epochs  TimeUnit = "epochs" // the data has no times: each epoch counts 1
)

// ParseBudgets reads a comma-separated list of budgets and returns them in
// ascending order without repetitions: durations such as 90s, 1h, 1h30m for
// data with times, in seconds; whole numbers of epochs for data without.
func ParseBudgets(list string, unit TimeUnit) ([]float64, error) {
	var budgets []float64
	for word := range strings.SplitSeq(list, ",") {
		b, err := parseBudget(strings.TrimSpace(word), unit)
		if err != nil {
			return nil, err
		}
		budgets = append(budgets, b)
	}
	slices.Sort(budgets)
	return slices.Compact(budgets), nil
}

func parseBudget(word string, unit TimeUnit) (float64, error) {
	if unit == Epochs {
		n, err := strconv.ParseUint(strings.TrimSuffix(word, "epochs"), 10, 31)
		if err != nil || n == 0 {
			return 0, Inputf("budget %q: this data has no times, so a budget is a whole number of epochs, such as 100", word)
		}
		return float64(n), nil
	}
	d, err := time.ParseDuration(word)
	if err != nil || d <= 0 {
		return 0, Inputf("budget %q: want a positive duration such as 90s, 15m, 1h or 1h30m", word)
	}
	return d.Seconds(), nil
}

// FormatBudget writes a budget as a person would: 1h, 1h30m, 90s, 100 epochs.
func FormatBudget(budget float64, unit TimeUnit) string {
	if unit == Epochs {
		return strconv.FormatFloat(budget, 'f', -1, 64) + " epochs"
	}
	return FormatSeconds(budget)
}

// FormatSeconds writes a number of seconds without empty parts: 16h, 1h30m,
// 2m5s, 0.25s.
func FormatSeconds(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < time.Minute {
		return strconv.FormatFloat(seconds, 'g', 3, 64) + "s"
	}
	h, m, s := d/time.Hour, d%time.Hour/time.Minute, d%time.Minute/time.Second
	var b strings.Builder
	if h > 0 {
		fmt.Fprintf(&b, "%dh", h)
	}
	if m > 0 {
		fmt.Fprintf(&b, "%dm", m)
	}
	if s > 0 {
		fmt.Fprintf(&b, "%ds", s)
	}
	return b.String()
}
