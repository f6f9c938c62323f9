package traintime

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"quicktune/internal/stream"
	"quicktune/predictor/traintime"
)

// planted makes runs whose measured time is the prediction of the full network
// times a factor of the loss, and a law for the rest.
func planted(datasets []string) []Row {
	rng := stream.New("test/traintime", 1)
	var rows []Row
	for _, d := range datasets {
		for n, network := range []string{"a", "b"} {
			for _, loss := range losses {
				for _, relative := range relativeRates {
					for _, momentum := range momenta {
						for _, batch := range []int32{0, miniBatch} {
							for _, c := range criteria {
								predicted := 4 / relative * (1 + rng.Float64())
								measured := predicted
								if loss == traintime.CrossEntropy {
									measured = predicted / 2
								}
								rows = append(rows, Row{
									Network: network, Dataset: d, Loss: loss.String(), Criterion: c.name, Relative: relative,
									Rate: relative * (1 - momentum), Momentum: momentum, Batch: batch,
									Samples: samples, Classes: 5, Weights: int32(1000 * (n + 1)),
									Measured: &measured, Full: &predicted, Depth: 1,
									TrainSeconds: 2, KernelSeconds: 1, SimulateSeconds: 0.01, LayerSeconds: 0.1, SimulateLayerSeconds: 0.001,
									Unstable: relative == 1 && loss == traintime.CrossEntropy,
								})
							}
						}
					}
				}
			}
		}
	}
	return rows
}

func errorOf(t *testing.T, r *Report, criterion, regime, predictor string) Error {
	t.Helper()
	for _, g := range r.Groups {
		if g.Criterion != criterion || g.Regime != regime {
			continue
		}
		for _, e := range g.Errors {
			if e.Predictor == predictor {
				return e
			}
		}
	}
	t.Fatalf("no error of %q for %q, %q", predictor, criterion, regime)
	return Error{}
}

func TestTheReportMeasuresErrorsByRegime(t *testing.T) {
	rows := planted([]string{"x", "y", "z"})
	r, err := newReport(rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range criteria {
		if e := errorOf(t, r, c.name, "MSE, mini-batches", methodNames[full]); *e.Median != 0 || *e.Ninety != 0 || *e.Bias != 1 {
			t.Errorf("%s: exact predictions err by %+v", c.name, e)
		}
		if e := errorOf(t, r, c.name, "cross-entropy, all images a step", methodNames[full]); math.Abs(*e.Median-1) > 1e-12 || math.Abs(*e.Bias-2) > 1e-12 {
			t.Errorf("%s: predictions twice too long err by %+v", c.name, e)
		}
		if e := errorOf(t, r, c.name, "cross-entropy, all images a step", calibrated); *e.Median > 0.02 {
			t.Errorf("%s: calibrated on other data sets they err by %v", c.name, *e.Median)
		}
		if e := errorOf(t, r, c.name, "MSE, mini-batches", methodNames[lastBlock]); e.Median != nil {
			t.Errorf("%s: a kernel that never predicts a time errs by %v", c.name, *e.Median)
		}
		if e := errorOf(t, r, c.name, "MSE, mini-batches", constant); *e.Median < 0.2 {
			t.Errorf("%s: a constant errs by %v where times differ tenfold", c.name, *e.Median)
		}
	}
	if got, want := r.Cost.Ratio(100), 100*2/(1+100*0.01); math.Abs(got-want) > 1e-9 {
		t.Errorf("a grid of 100 costs 1/%v of its training, want %v", got, want)
	}
	if got, want := r.Cost.LayerRatio(1), 2/0.101; math.Abs(got-want) > 1e-9 {
		t.Errorf("one setting costs 1/%v with the last layer, want %v", got, want)
	}
	var text, svg bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"within 5 % of the final loss", "outside stability", "never", "a grid of 100"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	if err := writeScatter(&svg, rows); err != nil || !strings.Contains(svg.String(), "</svg>") {
		t.Errorf("the scatter is %d bytes, %v", svg.Len(), err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestIntervalsHoldMostRunsOfDataSetsLeftOut(t *testing.T) {
	rows := planted([]string{"v", "w", "x", "y", "z"})
	rng := stream.New("test/traintime/noise", 1)
	for i := range rows {
		noisy := *rows[i].Measured * math.Exp(0.3*rng.NormFloat64())
		rows[i].Measured = &noisy
	}
	r, err := newReport(rows)
	if err != nil {
		t.Fatal(err)
	}
	held, runs := 0.0, 0.0
	for _, g := range r.Groups {
		if g.Covered == nil {
			t.Fatalf("%s, %s: no interval", g.Criterion, g.Regime)
		}
		held += *g.Covered * float64(g.Runs)
		runs += float64(g.Runs)
	}
	if share := held / runs; math.Abs(share-0.9) > 0.05 {
		t.Errorf("intervals of nine of ten hold %.2f of the runs", share)
	}
}

func TestWhatLearnsNeverSeesTheDataSetItIsJudgedOn(t *testing.T) {
	rows := planted([]string{"x", "y"})
	// On y everything takes ten times as long: x must be predicted from that.
	for i := range rows {
		if rows[i].Dataset == "y" {
			longer := *rows[i].Measured * 10
			rows[i].Measured = &longer
		}
	}
	all, err := evaluate(rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		ratio := e.predicted[calibrated] / *e.Measured
		if e.Dataset == "x" && ratio < 5 || e.Dataset == "y" && ratio > 0.2 {
			t.Fatalf("on %s the calibration is off by %v: it knows the data set", e.Dataset, ratio)
		}
	}
}

func TestRunsAreStoredAndReadAgain(t *testing.T) {
	dir := t.TempDir()
	rows := planted([]string{"x"})
	if err := save(dir, rows); err != nil {
		t.Fatal(err)
	}
	again, err := load(dir)
	if err != nil || len(again) != len(rows) {
		t.Fatalf("%d rows of %d, %v", len(again), len(rows), err)
	}
	for i := range rows {
		a, b := again[i], rows[i]
		if *a.Measured != *b.Measured || *a.Full != *b.Full || a.Prefix != nil || a.Dataset != b.Dataset || a.Batch != b.Batch || a.Unstable != b.Unstable {
			t.Fatalf("row %d is %+v, was %+v", i, a, b)
		}
	}
	var out bytes.Buffer
	c := New(&out, &out)
	figure := filepath.Join(dir, "scatter.svg")
	c.SetArgs([]string{"--dir", dir, "--json", "--figure", figure})
	if err := c.Execute(); err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Runs != len(rows)/len(criteria) {
		t.Errorf("%d runs in the report, %v", r.Runs, err)
	}
	if _, err := os.Stat(figure); err != nil {
		t.Error(err)
	}
	c = New(&out, &out)
	c.SilenceUsage, c.SilenceErrors = true, true
	c.SetArgs([]string{"--dir", t.TempDir()})
	if err := c.Execute(); err == nil || !strings.Contains(err.Error(), "--measure makes some") {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestRunsThatCannotBeAreRefused(t *testing.T) {
	minus, infinite := -1.0, math.Inf(1)
	for want, change := range map[string]func(*Row){
		"no data set is named":     func(r *Row) { r.Dataset = "" },
		`unknown loss "hinge"`:     func(r *Row) { r.Loss = "hinge" },
		`unknown criterion "soon"`: func(r *Row) { r.Criterion = "soon" },
		"momentum 1":               func(r *Row) { r.Momentum = 1 },
		"learning rate 0":          func(r *Row) { r.Rate = 0 },
		"in batches of 49":         func(r *Row) { r.Batch = samples + 1 },
		"0 weights":                func(r *Row) { r.Weights = 0 },
		"depth NaN":                func(r *Row) { r.Depth = math.NaN() },
		"a time of -1 steps":       func(r *Row) { r.Measured = &minus },
		"a time of +Inf steps":     func(r *Row) { r.LastLayer = &infinite },
		"NaN seconds":              func(r *Row) { r.TrainSeconds = math.NaN() },
	} {
		dir := t.TempDir()
		rows := planted([]string{"x"})
		change(&rows[7])
		if err := save(dir, rows); err != nil {
			t.Fatal(err)
		}
		if _, err := load(dir); err == nil || !strings.Contains(err.Error(), "row 7: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	dir := t.TempDir()
	if err := parquet.WriteFile(filepath.Join(dir, RunsFile), []HeadRow{{Dataset: "x"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := load(dir); err == nil || !strings.Contains(err.Error(), "columns are not those") {
		t.Errorf("another file: %v", err)
	}
}

// FuzzRead feeds damaged files to both readers.
func FuzzRead(f *testing.F) {
	var runs, heads bytes.Buffer
	if err := parquet.Write(&runs, planted([]string{"x"})[:20]); err != nil {
		f.Fatal(err)
	}
	if err := parquet.Write(&heads, []HeadRow{{Dataset: "d", Model: "m", HalfTime: 1, Gradient: 1}}); err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{runs.Bytes(), heads.Bytes()} {
		f.Add(seed)
		f.Add(seed[:len(seed)/2])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, RunsFile), data, 0o666); err != nil {
			t.Fatal(err)
		}
		if rows, err := load(dir); err == nil {
			for i := range rows {
				if err := rows[i].validate(); err != nil {
					t.Errorf("row %d: %v", i, err)
				}
			}
		}
		if h, err := NewHeads(filepath.Join(dir, RunsFile)); err == nil && h == nil {
			t.Error("neither heads nor an error")
		}
	})
}

func TestASlowRunOfARealNetworkFollowsItsLinearisation(t *testing.T) {
	ctx := context.Background()
	s, err := newSample(ctx, "loops", samples)
	if err != nil {
		t.Fatal(err)
	}
	net, hash, err := network("separable_xs", s.classes)
	if err != nil {
		t.Fatal(err)
	}
	if len(hash) != 16 {
		t.Errorf("the weights have the hash %q", hash)
	}
	k, err := newKernels(ctx, net, s)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := traintime.OneHot(s.labels, s.classes)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(net.Head.W.Value)
	for _, loss := range losses {
		p := &traintime.Problem{Kernel: k.full, Outputs: k.outputs, Targets: targets, Loss: loss}
		setting := traintime.Setting{LearningRate: 0.002 * samples / k.full.Largest(), Momentum: 0.9}
		curves, err := p.Simulate(ctx, []traintime.Setting{setting}, traintime.Options{Steps: horizon, Every: every})
		if err != nil {
			t.Fatal(err)
		}
		run, err := train(ctx, net, s, loss, setting)
		if err != nil {
			t.Fatal(err)
		}
		if len(run.losses) != horizon/every+1 || !(run.seconds > 0) {
			t.Fatalf("%d losses in %v s", len(run.losses), run.seconds)
		}
		drop := run.losses[0] - run.losses[len(run.losses)-1]
		if !(drop > 0.02*run.losses[0]) {
			t.Errorf("%v: the loss falls by %v of %v: nothing to compare", loss, drop, run.losses[0])
		}
		for i, l := range run.losses {
			if math.Abs(l-curves[0].Loss[i]) > 0.05*drop {
				t.Fatalf("%v: step %d has the loss %v, predicted %v", loss, i*every, l, curves[0].Loss[i])
			}
		}
	}
	if !slices.Equal(before, net.Head.W.Value) {
		t.Error("training left the network changed")
	}
}

func TestBatchesOfAnEpochDoNotRepeat(t *testing.T) {
	o := newOrder(10, 4)
	seen := map[int]bool{}
	for _, i := range append(slices.Clone(o.next(4)), o.next(4)...) {
		if seen[i] {
			t.Fatalf("sample %d twice in an epoch", i)
		}
		seen[i] = true
	}
	if len(o.next(4)) != 4 {
		t.Error("the second epoch has no batch")
	}
	if all := newOrder(10, 0).next(10); len(all) != 10 || all[9] != 9 {
		t.Errorf("all samples are %v", all)
	}
}

func TestTheCurvatureDecidesTheRates(t *testing.T) {
	for _, loss := range losses {
		list, relative := settings(loss, 50, 10)
		if len(list) != len(relativeRates)*len(momenta)*2 || len(list)*len(losses) != gridSize() {
			t.Fatalf("%d settings", len(list))
		}
		for i, s := range list {
			want := relative[i] / 50
			if loss == traintime.CrossEntropy {
				want *= 10
			}
			if math.Abs(s.EffectiveRate()-want) > 1e-12 {
				t.Errorf("%v: effective rate %v, want %v", loss, s.EffectiveRate(), want)
			}
		}
	}
}
