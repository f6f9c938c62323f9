package quicktune_test

import (
	"archive/zip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"quicktune/generate/trainer"
	"quicktune/internal/safetensors"
	"quicktune/selection"
	"quicktune/selection/probes"
	"quicktune/tune/report"
	"quicktune/tune/session"
)

// columns are those of a Parquet file.
func columns(t *testing.T, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	p, err := parquet.OpenFile(f, info.Size())
	must(t, err)
	return fieldNames(p.Schema().Fields())
}

func fieldNames(fields []parquet.Field) (names []string) {
	for _, f := range fields {
		names = append(names, f.Name())
	}
	return names
}

// tags are the names of a struct's fields in JSON.
func tags(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		f := of.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			names = append(names, tags(f.Type)...)
		case name != "" && name != "-":
			names = append(names, name)
		}
	}
	return names
}

// keys are those of a JSON object.
func keys(t *testing.T, data []byte) (names []string) {
	t.Helper()
	var m map[string]json.RawMessage
	must(t, json.Unmarshal(data, &m))
	for name := range m {
		names = append(names, name)
	}
	return names
}

func fileKeys(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return keys(t, data)
}

// forecastKeys are those of the head of stored forecasts.
func forecastKeys(t *testing.T, path string) []string {
	t.Helper()
	z, err := zip.OpenReader(path)
	must(t, err)
	defer z.Close()
	f, err := z.Open("model.json")
	must(t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	must(t, err)
	return keys(t, data)
}

func metadataKeys(t *testing.T, path string) (names []string) {
	t.Helper()
	f, err := safetensors.ReadFile(path)
	must(t, err)
	for name := range f.Metadata {
		names = append(names, name)
	}
	return names
}

// writeProbe writes what a model says of four images and returns the file.
func writeProbe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "probe.parquet")
	must(t, probes.Write(path, &probes.Probe{Rows: []int{0, 1, 2, 3}, Data: selection.Data{
		Features: []float64{1, 0, 0, 1, 2, 0, 0, 2}, Dim: 2, Labels: []int{0, 1, 0, 1},
	}}))
	return path
}

// quoted matches a name that a page explains.
var quoted = regexp.MustCompile("`([^`]+)`")

// TestPagesNameEveryColumnAndField compares the pages of the formats with files
// of each format: no column and no field may be missing, and none may be
// described that no file has.
func TestPagesNameEveryColumnAndField(t *testing.T) {
	for _, c := range []struct {
		page   string
		files  []string // Parquet
		more   []string // further columns
		fields []string
	}{
		{
			page: "format-metadataset.md",
			files: []string{
				"results/embedded/datasets.parquet", "results/embedded/models.parquet", "results/embedded/configs.parquet",
				"results/embedded/ends.parquet", "results/embedded/curves/part-00000.parquet",
			},
			more:   []string{"test_loss"}, // which the embedded trainer does not tell
			fields: fileKeys(t, "results/embedded/manifest.json"),
		},
		{
			page: "format-traces.md",
			files: []string{
				"results/benchmark/extended/traces.parquet", "results/benchmark/extended/runs.parquet", "results/benchmark/extended/decisions.parquet",
			},
			fields: fileKeys(t, "results/benchmark/extended/manifest.json"),
		},
		{
			page:  "format-scores.md",
			files: []string{"results/embedded-scores.parquet", "results/embedded-times.parquet", "results/traintime/traintime.parquet"},
		},
		{
			page:   "format-tune.md",
			more:   fieldNames(parquet.SchemaOf(report.Row{}).Fields()),
			fields: slices.Concat(tags(reflect.TypeFor[report.Incumbent]()), tags(reflect.TypeFor[session.Plan]()), tags(reflect.TypeFor[session.Data]()), tags(reflect.TypeFor[session.Network]())),
		},
		{page: "format-probe.md", files: []string{writeProbe(t)}, fields: tags(reflect.TypeFor[probes.Info]())},
		{page: "format-sweep.md", fields: tags(reflect.TypeFor[trainer.EpochLine]())},
		{page: "worker-protocol.md", fields: slices.Concat(tags(reflect.TypeFor[trainer.EpochLine]()), tags(reflect.TypeFor[trainer.Request]()))},
		{
			page: "format-models.md",
			fields: slices.Concat(forecastKeys(t, "results/predictors/embedded.zip"), forecastKeys(t, "results/predictors/timm.zip"),
				metadataKeys(t, "generate/hub/weights/plain_xs.safetensors")),
		},
	} {
		t.Run(c.page, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("docs", c.page))
			must(t, err)
			page := string(data)
			have := slices.Clone(c.more)
			for _, f := range c.files {
				have = append(have, columns(t, filepath.FromSlash(f))...)
			}
			for i, name := range have {
				for _, prefix := range []string{"hp_", "mf_"} { // which stand for many
					if strings.HasPrefix(name, prefix) {
						have[i] = prefix + "NAME"
					}
				}
			}
			for _, name := range slices.Concat(have, c.fields) {
				if !strings.Contains(page, "`"+name+"`") {
					t.Errorf("the page does not explain %q", name)
				}
			}
			if len(have) == 0 {
				return
			}
			for _, name := range explained(page) {
				if !slices.Contains(have, name) {
					t.Errorf("the page explains the column %q, which no file has", name)
				}
			}
		})
	}
}

// explained lists the columns in the tables of a page whose first heading is
// "column".
func explained(page string) (names []string) {
	inside := false
	for line := range strings.Lines(page) {
		cells := strings.Split(line, "|")
		switch {
		case len(cells) < 3:
			inside = false
		case strings.TrimSpace(cells[1]) == "column":
			inside = true
		case inside:
			for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
}

// link matches a link of a page to a place in the repository.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// anchors are the places in a page that links can name.
func anchors(page string) []string {
	var out []string
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "#") {
			continue
		}
		title := strings.ToLower(strings.TrimSpace(strings.TrimLeft(line, "#")))
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
				return r
			}
			return -1
		}, title))
	}
	return out
}

// TestLinksOfTheDocumentsLeadSomewhere follows every link from a page to another
// place in the repository, and finds pages that the index does not name.
func TestLinksOfTheDocumentsLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	must(t, err)
	index, err := os.ReadFile(filepath.Join("docs", "README.md"))
	must(t, err)
	for _, p := range pages {
		if name := filepath.Base(p); name != "README.md" && !strings.Contains(string(index), "("+name+")") {
			t.Errorf("docs/README.md does not name %s", name)
		}
	}
	for _, p := range append(pages, "README.md", "BENCHMARKS.md") {
		data, err := os.ReadFile(p)
		must(t, err)
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := p
			if target != "" {
				to = filepath.Join(filepath.Dir(p), filepath.FromSlash(target))
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: the link %s leads nowhere", p, m[1])
				continue
			}
			if anchor == "" {
				continue
			}
			other, err := os.ReadFile(to)
			must(t, err)
			if !slices.Contains(anchors(string(other)), anchor) {
				t.Errorf("%s: %s has no section for the link %s", p, to, m[1])
			}
		}
	}
}
