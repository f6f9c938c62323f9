package quicktunetable_test

import (
	"encoding/csv"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"quicktune/internal/realdata"
	"quicktune/internal/stream"
	"quicktune/space"
	"quicktune/space/quicktunetable"
)

// readTable returns the header and the rows of a released table, which is not
// part of the repository.
func readTable(tb testing.TB, version string) (header []string, rows [][]string) {
	tb.Helper()
	f, err := os.Open(realdata.Path(tb, "quicktune", version, "table.csv"))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	rows, err = csv.NewReader(f).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	return rows[0], rows[1:]
}

var tables = []struct {
	version string
	rows    int
	columns int
}{
	{"extended", 3555, 71},
	{"micro", 8712, 71},
	{"mini", 6731, 69},
}

// cellNumber reads a cell without the package under test.
func cellNumber(tb testing.TB, s string) float64 {
	tb.Helper()
	switch s {
	case "False":
		return 0
	case "True":
		return 1
	case "":
		return -1
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func TestEveryRowOfTheReleasedTablesRoundTrips(t *testing.T) {
	for _, tt := range tables {
		t.Run(tt.version, func(t *testing.T) {
			header, rows := readTable(t, tt.version)
			layout, err := quicktunetable.NewLayout(header)
			if err != nil {
				t.Fatal(err)
			}
			if got := layout.Columns(); len(got) != tt.columns || !slices.Equal(got, header[1:]) {
				t.Fatalf("columns %q, want the header without its first cell", got)
			}
			if len(rows) != tt.rows {
				t.Fatalf("%d rows, want %d", len(rows), tt.rows)
			}
			for n, row := range rows {
				c, err := layout.FromRow(n+2, row)
				if err != nil {
					t.Fatal(err)
				}
				if err := space.QuickTune().Validate(c); err != nil {
					t.Fatalf("row %d: %v", n+2, err)
				}
				back, err := layout.ToRow(nil, c)
				if err != nil {
					t.Fatalf("row %d: %v", n+2, err)
				}
				for k, x := range back {
					if want := cellNumber(t, row[k+1]); x != want {
						t.Fatalf("row %d, column %q: %v, want %v", n+2, header[k+1], x, want)
					}
				}
				if layout.ID(row) != row[0] {
					t.Fatalf("row %d: id %q, want %q", n+2, layout.ID(row), row[0])
				}
			}
		})
	}
}

// The expected values were read with pandas, independently of this package.
func TestFirstRowOfEachTable(t *testing.T) {
	for version, want := range map[string]string{
		"extended": "model=beit_base_patch16_384, pct_to_freeze=1, layer_decay=None, linear_probing=false, stoch_norm=true, sp_reg=0.0001, delta_reg=0, bss_reg=0, cotuning_reg=0.5, mixup=0, mixup_prob=0, cutmix=0.1, drop=0, smoothing=0.1, clip_grad=None, data_augmentation=random_augment, ra_num_ops=3, ra_magnitude=9, opt=sgd, lr=0.005, warmup_lr=0, weight_decay=0.0001, batch_size=2, amp=false, sched=cosine, warmup_epochs=5",
		"micro":    "model=xcit_small_12_p8_384_dist, pct_to_freeze=0, layer_decay=0.65, linear_probing=false, stoch_norm=false, sp_reg=0, delta_reg=0.01, bss_reg=0, cotuning_reg=0, mixup=8, mixup_prob=0.25, cutmix=4, drop=0.3, smoothing=0.05, clip_grad=10, data_augmentation=None, opt=adam, opt_betas=[0.0, 0.999], lr=0.005, warmup_lr=1e-05, weight_decay=0.0001, batch_size=2, amp=true, sched=multistep, warmup_epochs=0, decay_rate=0.5, decay_epochs=10",
		"mini":     "model=dla46x_c, pct_to_freeze=0, layer_decay=0.75, linear_probing=false, stoch_norm=false, sp_reg=0, delta_reg=0.01, bss_reg=0.1, cotuning_reg=2, mixup=2, mixup_prob=1, cutmix=0.5, drop=0.4, smoothing=0, clip_grad=1, data_augmentation=None, opt=adamp, opt_betas=[0.9, 0.99], lr=0.0005, warmup_lr=0, weight_decay=0.01, batch_size=128, amp=false, sched=multistep, warmup_epochs=5, decay_rate=0.1, decay_epochs=20",
	} {
		t.Run(version, func(t *testing.T) {
			header, rows := readTable(t, version)
			layout, err := quicktunetable.NewLayout(header)
			if err != nil {
				t.Fatal(err)
			}
			c, err := layout.FromRow(2, rows[0])
			if err != nil {
				t.Fatal(err)
			}
			if got := space.QuickTune().Format(c); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

// compact is a header of the extended spelling with few models, and a row of it.
func compact() (header, row []string) {
	cells := [][2]string{
		{"", "42"}, {"amp", "0"}, {"batch_size", "8"}, {"bss_reg", "0.0"},
		{"cat:auto_augment:None", "1"}, {"cat:auto_augment:v0", "0"},
		{"cat:data_augmentation:None", "1"}, {"cat:data_augmentation:random_augment", "0"},
		{"cat:model:dla46x_c", "1"}, {"cat:model:edgenext_small", "0"},
		{"cat:opt:momentum", "1"}, {"cat:opt:adam", "0"},
		{"cat:opt_betas:None", "1"}, {"cat:opt_betas:[0.9, 0.99]", "0"},
		{"cat:sched:cosine", "1"}, {"cat:sched:step", "0"},
		{"clip_grad", "-1.0"}, {"cotuning_reg", "0.5"}, {"cutmix", "4.0"}, {"decay_epochs", "90.0"},
		{"decay_rate", "0.1"}, {"delta_reg", "0.001"}, {"drop", "0.4"}, {"layer_decay", "0.65"},
		{"linear_probing", "0"}, {"lr", "5e-05"}, {"mixup", "8.0"}, {"mixup_prob", "0.25"},
		{"momentum", "0.95"}, {"patience_epochs", "10"}, {"pct_to_freeze", "1.0"}, {"ra_magnitude", "8"},
		{"ra_num_ops", "2"}, {"smoothing", "0.05"}, {"sp_reg", "0.1"}, {"stoch_norm", "1"},
		{"warmup_epochs", "10"}, {"warmup_lr", "1e-06"}, {"weight_decay", "0.0"},
	}
	for _, c := range cells {
		header = append(header, c[0])
		row = append(row, c[1])
	}
	return header, row
}

func TestCompactRow(t *testing.T) {
	header, row := compact()
	layout, err := quicktunetable.NewLayout(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := layout.FromRow(1, row)
	if err != nil {
		t.Fatal(err)
	}
	want := "model=dla46x_c, pct_to_freeze=1, layer_decay=0.65, linear_probing=false, stoch_norm=true, sp_reg=0.1, delta_reg=0.001, bss_reg=0, cotuning_reg=0.5, mixup=8, mixup_prob=0.25, cutmix=4, drop=0.4, smoothing=0.05, clip_grad=None, data_augmentation=None, opt=momentum, momentum=0.95, lr=5e-05, warmup_lr=1e-06, weight_decay=0, batch_size=8, amp=false, sched=cosine, warmup_epochs=10"
	if got := space.QuickTune().Format(c); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestWrongCellsAreNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		column, cell string
		want         string
	}{
		"a text":              {"lr", "fast", `row 7, column "lr": "fast" is not a number`},
		"a number off grid":   {"lr", "0.3", `row 7, column "lr": 0.3 is not one of 1e-05, 5e-05, 0.0001, 0.0005, 0.001, 0.005, 0.01`},
		"an empty number":     {"lr", "", `row 7, column "lr": "" is not a number`},
		"not a number":        {"drop", "NaN", `row 7, column "drop": NaN is not one of 0, 0.1, 0.2, 0.3, 0.4`},
		"a flag of 2":         {"cat:sched:step", "2", `row 7, column "cat:sched:step": "2" is not 0, 1, False or True`},
		"two values":          {"cat:sched:step", "1", `row 7, column "cat:sched:step": set although the column of cosine is too`},
		"no value":            {"cat:model:dla46x_c", "0", `row 7, column "cat:model:dla46x_c": no column of model is set`},
		"inactive but set":    {"patience_epochs", "5", `row 7, column of patience_epochs: 5, but it does not apply in this row and should hold 10`},
		"default when active": {"momentum", "-1", `row 7, column "momentum": -1 is not one of 0, 0.8, 0.9, 0.95, 0.99`},
	} {
		t.Run(name, func(t *testing.T) {
			header, row := compact()
			layout, err := quicktunetable.NewLayout(header)
			if err != nil {
				t.Fatal(err)
			}
			row[slices.Index(header, tt.column)] = tt.cell
			if _, err = layout.FromRow(7, row); err == nil || err.Error() != tt.want {
				t.Errorf("\n got %v\nwant %s", err, tt.want)
			}
		})
	}
	t.Run("an active parameter that holds the default of inactive ones", func(t *testing.T) {
		header, row := compact()
		header = append(header, "cat:sched:plateau")
		row[slices.Index(header, "cat:sched:cosine")] = "0"
		layout, err := quicktunetable.NewLayout(header)
		if err != nil {
			t.Fatal(err)
		}
		want := `row 7: hyperparameter "patience_epochs" is 10: use one of 2, 5`
		if _, err = layout.FromRow(7, append(row, "1")); err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
	})
	t.Run("a short row", func(t *testing.T) {
		header, row := compact()
		layout, err := quicktunetable.NewLayout(header)
		if err != nil {
			t.Fatal(err)
		}
		want := "row 7: 38 cells, but the header has 39"
		if _, err = layout.FromRow(7, row[1:]); err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
	})
}

func TestWrongHeadersAreNamed(t *testing.T) {
	without := func(name string) []string {
		header, _ := compact()
		return slices.DeleteFunc(header, func(h string) bool { return h == name })
	}
	with := func(names ...string) []string {
		header, _ := compact()
		return append(header, names...)
	}
	for name, tt := range map[string]struct {
		header []string
		want   string
	}{
		"missing":           {without("lr"), "no column holds lr"},
		"twice":             {with("lr"), `column "lr" occurs twice`},
		"two ids":           {with("id"), `columns "" and "id" both hold ids`},
		"unknown":           {with("seed"), `column "seed" is not one of a Quick-Tune table`},
		"unknown model":     {with("cat:model:resnet50"), `column "cat:model:resnet50": model has no value "resnet50"`},
		"one-hot number":    {with("cat:lr:0.1"), `column "cat:lr:0.1" is not one of a Quick-Tune table`},
		"plain category":    {with("model"), `column "model" is not one of a Quick-Tune table`},
		"constant":          {with("epochs"), `column "epochs" is not one of a Quick-Tune table`},
		"broken one-hot":    {with("cat:model"), `column "cat:model" is not one of a Quick-Tune table`},
		"both spellings":    {with("random_augment", "trivial_augment"), "columns of data_augmentation: either one-hot columns or both random_augment and trivial_augment"},
		"no table whatever": {nil, "no column holds model"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := quicktunetable.NewLayout(tt.header); err == nil || err.Error() != tt.want {
				t.Errorf("\n got %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestMiniAugmentationContradictions(t *testing.T) {
	reference := quicktunetable.Reference()
	header := reference.Columns()
	base := make([]string, len(header))
	c := space.QuickTune().Sample(stream.New("quicktunetable-test", 1))
	numbers, err := reference.ToRow(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for k, x := range numbers {
		base[k] = strconv.FormatFloat(x, 'g', -1, 64)
	}
	set := func(row []string, column, cell string) { row[slices.Index(header, column)] = cell }
	both := slices.Clone(base)
	set(both, "random_augment", "True")
	set(both, "trivial_augment", "True")
	policy := slices.Clone(base)
	set(policy, "cat:auto_augment:None", "0")
	set(policy, "cat:auto_augment:original", "0")
	set(policy, "cat:auto_augment:v0", "1")
	set(policy, "random_augment", "0")
	set(policy, "trivial_augment", "1")
	for want, row := range map[string][]string{
		`row 3, column "trivial_augment": set although random_augment is too`: both,
		`row 3, column of auto_augment: set although trivial_augment is too`:  policy,
		`row 3, column "random_augment": "maybe" is not 0, 1, False or True`:  func() []string { r := slices.Clone(base); set(r, "random_augment", "maybe"); return r }(),
	} {
		if _, err := reference.FromRow(3, row); err == nil || err.Error() != want {
			t.Errorf("\n got %v\nwant %s", err, want)
		}
	}
}

func TestToRowRefusesWhatTheTableCannotHold(t *testing.T) {
	header, row := compact()
	layout, err := quicktunetable.NewLayout(header)
	if err != nil {
		t.Fatal(err)
	}
	c, err := layout.FromRow(1, row)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := layout.ToRow(make([]float64, 3), c); err == nil || err.Error() != "the row has 38 columns, but there is room for 3" {
		t.Errorf("short destination: %v", err)
	}
	c[0] = space.String("volo_d5_512")
	if _, err := layout.ToRow(nil, c); err == nil || err.Error() != "the table has no column for model=volo_d5_512" {
		t.Errorf("model without a column: %v", err)
	}
	c[0] = space.None
	if _, err := layout.ToRow(nil, c); err == nil {
		t.Error("an invalid configuration got a row")
	}
}

func TestReferenceHas69InputsModelsFirst(t *testing.T) {
	columns := quicktunetable.Reference().Columns()
	if len(columns) != 69 {
		t.Fatalf("%d columns, want 69", len(columns))
	}
	_, rest, _ := strings.Cut(strings.Join(columns, " "), "cat:model:xcit_tiny_24_p8_384_dist ")
	want := "amp batch_size bss_reg cat:auto_augment:None cat:auto_augment:original cat:auto_augment:v0 cat:opt:adam cat:opt:adamp cat:opt:adamw cat:opt:momentum cat:opt:sgd cat:opt_betas:None cat:opt_betas:[0.0, 0.999] cat:opt_betas:[0.0, 0.99] cat:opt_betas:[0.9, 0.999] cat:opt_betas:[0.9, 0.99] cat:sched:cosine cat:sched:multistep cat:sched:plateau cat:sched:step clip_grad cotuning_reg cutmix decay_epochs decay_rate delta_reg drop layer_decay linear_probing lr mixup mixup_prob momentum patience_epochs pct_to_freeze ra_magnitude ra_num_ops random_augment smoothing sp_reg stoch_norm trivial_augment warmup_epochs warmup_lr weight_decay"
	if rest != want {
		t.Errorf("after the models:\n got %s\nwant %s", rest, want)
	}
	header, _ := readTable(t, "mini")
	mini := header[1:]
	for i, name := range mini {
		mini[i] = strings.ReplaceAll(name, "__", ":")
	}
	slices.SortStableFunc(mini, func(a, b string) int {
		first := func(s string) int {
			if strings.HasPrefix(s, "cat:model:") {
				return 0
			}
			return 1
		}
		return first(a) - first(b)
	})
	if !slices.Equal(columns, mini) {
		t.Error("differs from the columns of mini with the models first")
	}
}

// Any configuration of the space, not only the released ones, survives both
// spellings.
func TestSampledConfigurationsRoundTrip(t *testing.T) {
	layouts := map[string]*quicktunetable.Layout{"reference": quicktunetable.Reference()}
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		c := space.QuickTune().Sample(stream.New("quicktunetable-test", seed))
		for name, layout := range layouts {
			numbers, err := layout.ToRow(nil, c)
			if err != nil {
				t.Fatal(err)
			}
			row := make([]string, len(numbers))
			for k, x := range numbers {
				row[k] = strconv.FormatFloat(x, 'g', -1, 64)
			}
			back, err := layout.FromRow(1, row)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(back, c) {
				t.Fatalf("%s: %v became %v", name, c, back)
			}
		}
	})
}

func FuzzFromRow(f *testing.F) {
	header, row := compact()
	f.Add(strings.Join(header, "\t"), strings.Join(row, "\t"))
	f.Add(strings.Join(quicktunetable.Reference().Columns(), "\t"), strings.Repeat("1\t", 68)+"1")
	f.Add("id\tlr", "1\t0.1")
	f.Fuzz(func(t *testing.T, header, row string) {
		layout, err := quicktunetable.NewLayout(strings.Split(header, "\t"))
		if err != nil {
			layout = quicktunetable.Reference()
		}
		c, err := layout.FromRow(1, strings.Split(row, "\t"))
		if err != nil {
			return
		}
		numbers, err := layout.ToRow(nil, c)
		if err != nil {
			t.Fatalf("%q was read but cannot be written: %v", row, err)
		}
		if slices.ContainsFunc(numbers, math.IsNaN) {
			t.Fatalf("%q became %v", row, numbers)
		}
	})
}

func BenchmarkFromRow(b *testing.B) {
	header, rows := readTable(b, "extended")
	layout, err := quicktunetable.NewLayout(header)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for n, row := range rows {
			if _, err := layout.FromRow(n+2, row); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/row")
}
