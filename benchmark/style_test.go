package main

import (
	"slices"
	"testing"

	"quicktune/benchmark/report"
)

// A line in a figure is told by its colour and dashes, so each method has its own.
func TestEveryMethodHasAStyle(t *testing.T) {
	styled := report.Styled()
	for _, name := range methodNames() {
		if !slices.Contains(styled, name) {
			t.Errorf("%s has no colour and dashes of its own in benchmark/report/style.go", name)
		}
	}
}
