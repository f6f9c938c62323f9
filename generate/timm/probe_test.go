package timm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quicktune/internal/safetensors"
)

// talker is an interpreter that writes lines whatever it is asked.
func talker(t *testing.T, lines string, status int) Python {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python")
	script := fmt.Sprintf("#!/bin/sh\ncat >/dev/null\ncat <<'END'\n%s\nEND\necho last words >&2\nexit %d\n", lines, status)
	if err := os.WriteFile(path, []byte(script), 0o777); err != nil {
		t.Fatal(err)
	}
	return Python{Interpreter: path}
}

func TestAnswersOfAProbe(t *testing.T) {
	const fine = `{"type":"probed","weights":"ab","pixels":64,"seconds":1.5}`
	const bad = `{"type":"error","reason":"no such model"}`
	for name, c := range map[string]struct {
		lines  string
		status int
		told   string // of two requests
		want   string // in the error; "" for none
	}{
		"both":          {fine + "\n" + fine, 0, "ab ab", ""},
		"one fails":     {bad + "\n" + fine, 1, "no such model ab", ""},
		"ends early":    {fine, 1, "ab", "ended: exit status 1: last words"},
		"stops working": {fine, 0, "ab", "after 1 of 2 probes: last words"},
		"too many":      {fine + "\n" + fine + "\n" + fine, 0, "ab ab", "more probes than it was asked for"},
		"garbage":       {"Traceback", 1, "", "is no Python that the worker runs on"},
		"another type":  {`{"type":"hello"}`, 0, "", `a message of type "hello"`},
		"unfit":         {`{"type":"unfit","reason":"pip install timm"}`, 1, "", "pip install timm"},
	} {
		var told []string
		err := talker(t, c.lines, c.status).Probe(t.Context(), nil, make([]ProbeRequest, 2), func(i int, p Probed, failed error) error {
			if failed != nil {
				told = append(told, failed.Error())
				return nil
			}
			if p.Pixels != 64 || p.Seconds != 1.5 {
				t.Errorf("%s: %+v", name, p)
			}
			told = append(told, p.Weights)
			return nil
		})
		if got := strings.Join(told, " "); got != c.told {
			t.Errorf("%s: told %q, want %q", name, got, c.told)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := (Python{Interpreter: "/nowhere/python"}).Probe(t.Context(), nil, nil, nil); err == nil || !strings.Contains(err.Error(), "/nowhere/python is no Python") {
		t.Error(err)
	}
}

func TestFilesOfProbes(t *testing.T) {
	labels := []int{1, 0}
	good := func() []safetensors.Tensor {
		return []safetensors.Tensor{
			{Name: "features", Type: safetensors.F32, Shape: []int{2, 3}, Data: []float64{1, 2, 3, 4, 5, 6}},
			{Name: "gradients", Type: safetensors.F32, Shape: []int{2, 1, 2}, Data: []float64{1, 2, 3, 4}},
			{Name: "labels", Type: safetensors.F32, Shape: []int{2}, Data: []float64{1, 0}},
			{Name: "source", Type: safetensors.F32, Shape: []int{2, 2}, Data: []float64{0.5, 0.5, 0.25, 0.75}},
		}
	}
	for name, c := range map[string]struct {
		change func([]safetensors.Tensor) []safetensors.Tensor
		want   string
	}{
		"as it should be":  {func(l []safetensors.Tensor) []safetensors.Tensor { return l }, ""},
		"without gradient": {func(l []safetensors.Tensor) []safetensors.Tensor { return append(l[:1:1], l[2:]...) }, ""},
		"other pictures":   {func(l []safetensors.Tensor) []safetensors.Tensor { l[2].Data[1] = 1; return l }, "label 1 of picture 1, whose label is 0"},
		"too few": {func(l []safetensors.Tensor) []safetensors.Tensor {
			l[0].Shape, l[0].Data = []int{1, 3}, l[0].Data[:3]
			return l
		}, "features of shape [1 3] for 2 pictures"},
		"unknown":     {func(l []safetensors.Tensor) []safetensors.Tensor { l[3].Name = "sauce"; return l }, "sauce of shape"},
		"no features": {func(l []safetensors.Tensor) []safetensors.Tensor { return l[1:] }, "no features"},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := safetensors.WriteFile(path, safetensors.File{Tensors: c.change(good())}); err != nil {
			t.Fatal(err)
		}
		d, err := ReadProbed(path, "net", labels)
		switch {
		case c.want != "":
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
		case err != nil || d.Dim != 3 || d.SourceClasses != 2 || d.Source[3] != 0.75 || d.Model != "net":
			t.Errorf("%s: %+v, %v", name, d, err)
		case name == "as it should be" && (d.Outputs != 1 || d.Weights != 2 || d.Gradients[3] != 4):
			t.Errorf("%s: %d outputs of %d weights", name, d.Outputs, d.Weights)
		}
	}
}
