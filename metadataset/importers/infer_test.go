package importers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"quicktune/internal/stream"
	"quicktune/space"
)

// column builds a column from cells as config.csv spells them.
func column(name string, cells ...string) values {
	col := values{name: name}
	for _, text := range cells {
		col.cells = append(col.cells, parseCell(text))
	}
	return col
}

// describeSpace writes a space and configurations in a short form.
func describeSpace(s *space.Space, configs []space.Config, dropped []string) string {
	var b strings.Builder
	for i := range s.Len() {
		h := s.Param(i)
		fmt.Fprintf(&b, "%s: %s", h.Name, h.Type)
		if h.Choices != nil {
			fmt.Fprintf(&b, " %v", h.Choices)
		} else {
			fmt.Fprintf(&b, " [%v, %v]", h.Lower, h.Upper)
		}
		if h.Log {
			b.WriteString(" log")
		}
		for _, c := range s.Conditions() {
			if c.Child == h.Name {
				fmt.Fprintf(&b, " if %s", c)
			}
		}
		b.WriteString("\n")
	}
	for _, c := range configs {
		fmt.Fprintf(&b, "%v\n", c)
	}
	if dropped != nil {
		fmt.Fprintf(&b, "dropped %v\n", dropped)
	}
	return b.String()
}

func TestInferSpace(t *testing.T) {
	repeat := func(cells string, times int) []string {
		return strings.Split(strings.TrimSuffix(strings.Repeat(cells+",", times), ","), ",")
	}
	for _, c := range []struct {
		name    string
		columns []values
		want    string
	}{
		{"ranges and constants", []values{column("lr", "0.001", "0.5", "1"), column("n", "1", "2.0", "1000"), column("k", "7", "7", "7"), column("b", "True", "false", "True")},
			"lr: real [0.001, 1] log\nn: integer [1, 1000] log\nk: constant [7]\nb: categorical [false true]\n" +
				"[0.001 1 7 true]\n[0.5 2 7 false]\n[1 1000 7 true]\n"},
		{"two decades are not more than two", []values{column("lr", "0.01", "0.5", "1"), column("z", "0", "0.5", "1")},
			"lr: real [0.01, 1]\nz: real [0, 1]\n[0.01 0]\n[0.5 0.5]\n[1 1]\n"},
		{"texts, and None first", []values{column("opt", "sgd", "None", "adam"), column("mix", "1", "x", "true")},
			"opt: categorical [None adam sgd]\nmix: categorical [1 true x]\n[sgd 1]\n[None x]\n[adam true]\n"},
		{"few numbers in many rows", []values{column("batch", repeat("2,512", 4)...), column("clip", repeat("None,1", 4)...), column("p", repeat("0.5,0.25", 4)...)},
			"batch: ordinal [2 512] log\nclip: ordinal [None 1]\np: ordinal [0.25 0.5]\n" + strings.Repeat("[2 None 0.5]\n[512 1 0.25]\n", 4)},
		{"a blank column", []values{column("a", "1", "2"), column("b", "", "nan")},
			"a: integer [1, 2]\n[1]\n[2]\ndropped [b]\n"},
		{"conditions", []values{column("width", "", "1.5", "2.5", ""), column("model", "a", "b", "b", "c"), column("depth", "3", "", "", "9"), column("deep", "", "x", "", "")},
			"width: real [1.5, 2.5] if model in b\nmodel: categorical [a b c]\ndepth: integer [3, 9] if model in a, c\ndeep: categorical [None x]\n" +
				"[- a 3 None]\n[1.5 b - x]\n[2.5 b - None]\n[- c 9 None]\n"},
		{"a condition on a conditional one", []values{column("m", "a", "a", "b", "b"), column("v", "x", "y", "", ""), column("w", "1", "", "", "")},
			"m: categorical [a b]\nv: categorical [x y] if m in a\nw: constant [1] if v in x\n" +
				"[a x 1]\n[a y -]\n[b - -]\n[b - -]\n"},
		{"blanks that nothing explains", []values{column("a", "1", "2", "3"), column("r", "0.5", "", "1.5"), column("t", "x", "", "x"), column("o", "1", "None", "2.5")},
			"a: integer [1, 3]\nhas_r: categorical [false true]\nr: real [0.5, 1.5] if has_r in true\nt: categorical [None x]\nhas_o: categorical [false true]\no: real [1, 2.5] if has_o in true\n" +
				"[1 true 0.5 x true 1]\n[2 false - None false -]\n[3 true 1.5 x true 2.5]\n"},
		{"equal blanks do not explain each other", []values{column("p", "x", "", "y"), column("q", "1", "", "2")},
			"p: categorical [None x y]\nhas_q: categorical [false true]\nq: integer [1, 2] if has_q in true\n[x true 1]\n[None false -]\n[y true 2]\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, configs, dropped, err := inferSpace(c.columns)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, describeSpace(s, configs, dropped)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// From enough configurations of the paper's space the inference finds its
// conditions and its choices.
func TestInferenceFindsTheSpaceOfThePaper(t *testing.T) {
	paper := space.QuickTune()
	rng := stream.New("importers/infer", 1)
	columns := make([]values, paper.Len())
	for range 2000 {
		for i, v := range paper.Sample(rng) {
			columns[i].name = paper.Param(i).Name
			text := v.String()
			if v.IsInactive() {
				text = ""
			}
			columns[i].cells = append(columns[i].cells, parseCell(text))
		}
	}
	s, _, _, err := inferSpace(columns)
	if err != nil {
		t.Fatal(err)
	}
	conditions := func(s *space.Space) map[string][]string {
		out := map[string][]string{}
		for _, c := range s.Conditions() {
			clause := c.AnyOf[0][0]
			words := []string{clause.Parent}
			for _, v := range clause.Values {
				words = append(words, v.String())
			}
			slices.Sort(words)
			out[c.Child] = words
		}
		return out
	}
	if diff := cmp.Diff(conditions(paper), conditions(s)); diff != "" {
		t.Errorf("conditions (-paper +inferred):\n%s", diff)
	}
	for i := range paper.Len() {
		var want, got []string
		for _, v := range paper.Param(i).Choices {
			want = append(want, v.String())
		}
		for _, v := range s.Param(i).Choices {
			got = append(got, v.String())
		}
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s: choices %v, want %v", paper.Param(i).Name, got, want)
		}
	}
}

// A blank becomes the choice None where nothing explains it, so that None of the
// same column tells nothing about others.
func TestABlankThatBecomesNoneExplainsNothing(t *testing.T) {
	_, configs, _, err := inferSpace([]values{column("a", "", "True", "None", "None"), column("b", "", "", "None", "None")})
	if err != nil {
		t.Fatal(err)
	}
	if configs[0][0] != space.None || configs[1][1] != space.None {
		t.Errorf("configurations %v", configs)
	}
}

// Whatever the cells are, each given value is found in its configuration and
// each blank is inactive or None.
func TestInferredConfigurationsKeepEveryValue(t *testing.T) {
	cells := rapid.SampledFrom([]string{"", "", "None", "True", "False", "0", "1", "2", "1e-6", "0.5", "-3.25", "x", "y", "1e300", "-1e300", "9007199254740993"})
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.IntRange(1, 12).Draw(t, "rows")
		var columns []values
		for i := range rapid.IntRange(1, 5).Draw(t, "columns") {
			pool := rapid.SliceOfN(cells, 1, 4).Draw(t, "pool")
			columns = append(columns, column(fmt.Sprintf("h%d", i), rapid.SliceOfN(rapid.SampledFrom(pool), rows, rows).Draw(t, "cells")...))
		}
		s, configs, dropped, err := inferSpace(columns)
		if err != nil {
			t.Fatal(err)
		}
		for _, col := range columns {
			i := s.Index(col.name)
			if i < 0 {
				if !slices.Contains(dropped, col.name) {
					t.Fatalf("column %s is gone", col.name)
				}
				continue
			}
			for r, c := range col.cells {
				v := configs[r][i]
				switch {
				case c.kind == cellBlank || c.kind == cellNone:
					if !v.IsInactive() && v != space.None {
						t.Fatalf("row %d, %s: %v for a blank", r, col.name, v)
					}
				case v.Kind() == space.KindString:
					if v.Text() != c.text {
						t.Fatalf("row %d, %s: %v for %q", r, col.name, v, c.text)
					}
				case v.Num() != c.num:
					t.Fatalf("row %d, %s: %v for %q", r, col.name, v, c.text)
				}
			}
		}
	})
}
