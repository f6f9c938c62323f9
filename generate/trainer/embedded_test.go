package trainer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"quicktune/internal/blas"
	"quicktune/internal/nn/layers"
	"quicktune/internal/stream"
	"quicktune/internal/vision"
	"quicktune/metadataset"
	"quicktune/space"
)

// stripes is a data set whose classes are stripes of different directions and
// widths, with noise.
func stripes(n, classes int) *Images {
	rng := stream.New("test/stripes", 1)
	split := func(n int) Split {
		s := Split{Pixels: make([]uint8, n*Pixels), Labels: make([]int, n)}
		for i := range n {
			c := i % classes
			s.Labels[i] = c
			phase := rng.IntN(8)
			for y := range Side {
				for x := range Side {
					at := x
					if c%2 == 1 {
						at = y
					}
					v := 60.0
					if (at+phase)>>(1+c/2)&1 == 1 {
						v = 190
					}
					for k := range Channels {
						s.Pixels[i*Pixels+(y*Side+x)*Channels+k] = clip(v + 25*rng.NormFloat64())
					}
				}
			}
		}
		return s
	}
	return &Images{Name: "stripes", Classes: classes, Train: split(n), Validation: split(n / 3), Test: split(n / 3)}
}

// source gives random weights as if they were pretrained, with a head for five
// classes.
func source(model string) (*vision.Weights, error) {
	n, err := vision.New[float32](model, 5)
	if err != nil {
		return nil, err
	}
	n.Init(7)
	return n.Weights(), nil
}

// clock ticks a second a call.
func clock() func() time.Time {
	t := time.Unix(0, 0)
	return func() time.Time { t = t.Add(time.Second); return t }
}

func embedded(d *Images) *Embedded {
	return &Embedded{Images: func(string) (*Images, error) { return d, nil }, Weights: source, Now: clock()}
}

func train(t *testing.T, d *Images, r Request) ([]Record, End) {
	t.Helper()
	var records []Record
	end, err := embedded(d).Train(t.Context(), r, func(rec Record) error { records = append(records, rec); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return records, end
}

func request(model string, epochs int, config map[string]space.Value) Request {
	return Request{Trial: "t", Model: model, Dataset: "stripes", Epochs: epochs, Seed: 1, Config: config}
}

func TestEveryArchitectureLearns(t *testing.T) {
	d := stripes(96, 4)
	for _, model := range []string{"plain_xs", "residual_xs", "separable_xs", "mixer_xs", "convmixer_xs", "vit_xs"} {
		records, end := train(t, d, request(model, 8, map[string]space.Value{
			"opt": space.String("adamw"), "lr": space.Float(5e-3), "batch_size": space.Int(8),
		}))
		if end.End != metadataset.EndCompleted || len(records) != 8 {
			t.Fatalf("%s: %d records, %+v", model, len(records), end)
		}
		last := records[7]
		if last.ValAccuracy < 0.6 || last.TestAccuracy < 0.6 || last.TrainLoss >= records[0].TrainLoss {
			t.Errorf("%s did not learn: %+v", model, last)
		}
	}
}

// everything turns on all that can act at once.
func everything(model string) map[string]space.Value {
	c := map[string]space.Value{
		"pct_to_freeze": space.Float(0.2), "layer_decay": space.Float(0.75), "sp_reg": space.Float(0.01), "delta_reg": space.Float(0.01),
		"bss_reg": space.Float(0.01), "cotuning_reg": space.Float(1), "mixup": space.Float(0.4), "cutmix": space.Float(1), "mixup_prob": space.Float(0.75),
		"drop": space.Float(0.2), "smoothing": space.Float(0.1), "clip_grad": space.Int(1), "data_augmentation": space.String("trivial_augment"),
		"opt": space.String("adamp"), "opt_betas": space.String("[0.9, 0.99]"), "lr": space.Float(1e-3), "warmup_epochs": space.Int(2), "warmup_lr": space.Float(1e-5),
		"weight_decay": space.Float(0.01), "batch_size": space.Int(16), "sched": space.String("plateau"), "patience_epochs": space.Int(0), "decay_rate": space.Float(0.5),
	}
	if s, _ := vision.Lookup(model); s.BatchNorm {
		c["stoch_norm"] = space.Bool(true)
	}
	return c
}

func TestTheSameRequestGivesTheSameRecords(t *testing.T) {
	d := stripes(50, 3)
	for _, model := range []string{"residual_xs", "vit_xs"} {
		a, _ := train(t, d, request(model, 3, everything(model)))
		b, _ := train(t, d, request(model, 3, everything(model)))
		if !slices.Equal(a, b) {
			t.Errorf("%s: %+v\n%+v", model, a, b)
		}
		r := request(model, 3, everything(model))
		r.Seed = 2
		if c, _ := train(t, d, r); slices.Equal(a, c) {
			t.Errorf("%s: another seed changes nothing", model)
		}
	}
}

// Stopped after each epoch in turn, and cut off in the middle of an epoch, a
// trial ends with the bits of one that never stopped.
func TestAResumedTrialIsBitEqual(t *testing.T) {
	d := stripes(50, 3)
	for _, model := range []string{"residual_xs", "mixer_xs"} {
		whole := request(model, 5, everything(model))
		whole.Checkpoint = t.TempDir()
		want, _ := train(t, d, whole)
		wantFile, err := os.ReadFile(filepath.Join(whole.Checkpoint, checkpointName))
		if err != nil {
			t.Fatal(err)
		}
		parts := whole
		parts.Checkpoint = t.TempDir()
		for until := 1; until <= 5; until++ {
			parts.Until = until
			got, end := train(t, d, parts)
			if end.End != metadataset.EndCompleted || len(got) != until {
				t.Fatalf("%s until %d: %d records, %+v", model, until, len(got), end)
			}
			for i := range got {
				got[i].TrainSeconds, got[i].EvalSeconds = want[i].TrainSeconds, want[i].EvalSeconds
			}
			if !slices.Equal(got, want[:until]) {
				t.Fatalf("%s until %d:\n%+v\n%+v", model, until, got, want[:until])
			}
		}
		gotFile, err := os.ReadFile(filepath.Join(parts.Checkpoint, checkpointName))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(gotFile, wantFile) {
			t.Errorf("%s: weights or moments differ in the end", model)
		}
	}
}

// cancelled is a context that is done after so many looks at it.
type cancelled struct {
	context.Context
	left int
}

func (c *cancelled) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestACancelledTrialStopsAtTheNextBatchAndGoesOn(t *testing.T) {
	d := stripes(50, 3)
	whole := request("separable_xs", 3, everything("separable_xs"))
	want, _ := train(t, d, whole)
	r := whole
	r.Checkpoint = t.TempDir()
	seen := 0
	for left := 1; left < 30; left += 4 {
		_, err := embedded(d).Train(&cancelled{t.Context(), left}, r, func(rec Record) error {
			seen = max(seen, rec.Epoch)
			return nil
		})
		if left < 4 && !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d looks: %v", left, err)
		}
	}
	got, _ := train(t, d, r)
	for i := range got {
		got[i].TrainSeconds, got[i].EvalSeconds = want[i].TrainSeconds, want[i].EvalSeconds
	}
	if !slices.Equal(got, want) {
		t.Errorf("%+v\n%+v", got, want)
	}
}

func TestADamagedCheckpointIsTrainedAgain(t *testing.T) {
	d := stripes(30, 3)
	r := request("plain_xs", 2, nil)
	r.Checkpoint = t.TempDir()
	want, _ := train(t, d, r)
	path := filepath.Join(r.Checkpoint, checkpointName)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string][]byte{
		"empty": {}, "truncated": good[:len(good)/2], "magic": append([]byte("x"), good[1:]...),
		"flipped": func() []byte { b := slices.Clone(good); b[len(b)/2] ^= 1; return b }(), "short": []byte(checkpointMagic),
	} {
		if err := os.WriteFile(path, damage, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, _ := train(t, d, r); !slices.Equal(got, want) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	other := r
	other.Seed = 9
	if _, err := embedded(d).Train(t.Context(), other, func(Record) error { return nil }); err == nil || !strings.Contains(err.Error(), "another trial") {
		t.Errorf("the checkpoint of another trial: %v", err)
	}
}

// Frozen blocks keep every bit, running statistics too, and all others move.
func TestFreezingFollowsTheRuleAndKeepsBits(t *testing.T) {
	d := stripes(40, 3)
	for _, c := range []struct {
		model  string
		config map[string]space.Value
		frozen int // of residual_s's 6 and vit_s's 4 blocks: i/L <= pct
	}{
		{"residual_s", map[string]space.Value{"pct_to_freeze": space.Float(0)}, 0},
		{"residual_s", map[string]space.Value{"pct_to_freeze": space.Float(0.2)}, 1},
		{"residual_s", map[string]space.Value{"pct_to_freeze": space.Float(0.4)}, 2},
		{"residual_s", map[string]space.Value{"pct_to_freeze": space.Float(0.8)}, 4},
		{"residual_s", map[string]space.Value{"pct_to_freeze": space.Float(1)}, 6},
		{"residual_s", map[string]space.Value{"linear_probing": space.Bool(true)}, 6},
		{"vit_s", map[string]space.Value{"pct_to_freeze": space.Float(0.6)}, 2},
		{"vit_s", map[string]space.Value{"linear_probing": space.Bool(true)}, 4},
	} {
		spec, _ := vision.Lookup(c.model)
		c.config["lr"], c.config["weight_decay"] = space.Float(0.01), space.Float(0.1)
		s, err := parse(spec, c.config, 1)
		if err != nil {
			t.Fatal(err)
		}
		w, _ := source(c.model)
		tr, err := newTrial(s, d, w, 1)
		if err != nil {
			t.Fatal(err)
		}
		head := slices.Clone(tr.net.Head.W.Value)
		if _, err := tr.epoch(t.Context(), 1, 0.01); err != nil {
			t.Fatal(err)
		}
		if slices.Equal(head, tr.net.Head.W.Value) {
			t.Errorf("%v: the head did not move", c.config)
		}
		for i, b := range tr.net.Blocks {
			for _, p := range b.Layer.Params() {
				same := slices.EqualFunc(p.Value, w.Values[p.Name], func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) })
				if i < c.frozen && !same {
					t.Errorf("%s %v: frozen %s moved", c.model, c.config, p.Name)
				}
				if i >= c.frozen && same {
					t.Errorf("%s %v: trained %s did not move", c.model, c.config, p.Name)
				}
			}
		}
	}
}

func TestLayerDecayMultipliesRatesOnceABlock(t *testing.T) {
	spec, _ := vision.Lookup("vit_s") // 4 blocks
	s, err := parse(spec, map[string]space.Value{"layer_decay": space.Float(0.5), "pct_to_freeze": space.Float(0.2)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := source("vit_s")
	tr, err := newTrial(s, stripes(9, 3), w, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]float64{"head": 1, "blocks.3": 0.5, "blocks.2": 0.25, "blocks.1": 0.125, "blocks.0": 0.0625, "norm": 0.5}
	for _, slot := range tr.opt.slots {
		prefix := strings.Join(strings.SplitN(slot.Name, ".", 3)[:min(2, strings.Count(slot.Name, "."))], ".")
		if strings.HasPrefix(slot.Name, "blocks") && slot.scale != want[prefix] || slot.scale != want[prefix] && want[prefix] != 0 {
			t.Errorf("%s: %g", slot.Name, slot.scale)
		}
	}
}

func TestSettingsReachTheNetwork(t *testing.T) {
	spec, _ := vision.Lookup("residual_xs")
	s, err := parse(spec, everything("residual_xs"), 10)
	if err != nil {
		t.Fatal(err)
	}
	w, _ := source("residual_xs")
	tr, err := newTrial(s, stripes(9, 3), w, 1)
	if err != nil {
		t.Fatal(err)
	}
	if tr.net.Drop.P != 0.2 {
		t.Errorf("dropout %g", tr.net.Drop.P)
	}
	norms := 0
	for _, b := range tr.net.Blocks[tr.first:] {
		layers.Visit(b.Layer, func(l layers.Layer[float32]) {
			if n, ok := l.(*layers.BatchNorm[float32]); ok {
				norms++
				if n.Stochastic != 0.5 {
					t.Errorf("a norm's probability is %g", n.Stochastic)
				}
			}
		})
	}
	if norms == 0 || tr.pretrained == nil || tr.sourceHead == nil || tr.opt.beta2 != 0.99 {
		t.Error("a strategy is missing")
	}
}

func TestTheCurveCapEndsACurve(t *testing.T) {
	// The clock ticks once a look: an epoch trains for one second and is
	// evaluated in another one.
	for _, c := range []struct {
		limit  float64
		epochs int
		end    metadataset.End
	}{{0, 5, metadataset.EndCompleted}, {1, 1, metadataset.EndTimeCapped}, {4, 1, metadataset.EndTimeCapped}, {5, 2, metadataset.EndTimeCapped}, {100, 5, metadataset.EndCompleted}} {
		r := request("plain_xs", 5, nil)
		r.CurveCap = c.limit
		records, end := train(t, stripes(12, 3), r)
		if len(records) != c.epochs || end.End != c.end {
			t.Errorf("cap %g: %d epochs, %s", c.limit, len(records), end.End)
		}
	}
}

func TestADivergingTrialEndsAsDiverged(t *testing.T) {
	_, end := train(t, stripes(24, 3), request("mixer_xs", 5, map[string]space.Value{
		"lr": space.Float(1e30), "batch_size": space.Int(4), "opt": space.String("momentum"), "sched": space.String("none"),
	}))
	if end.End != metadataset.EndDiverged || !strings.Contains(end.Reason, "not finite") {
		t.Errorf("%+v", end)
	}
}

func TestWrongRequests(t *testing.T) {
	d := stripes(12, 3)
	ok := request("plain_xs", 1, nil)
	for name, c := range map[string]struct {
		change func(r *Request, d *Images)
		want   string
	}{
		"unknown model":    {func(r *Request, _ *Images) { r.Model = "resnet" }, "no network is called"},
		"no epochs":        {func(r *Request, _ *Images) { r.Epochs = 0 }, "0 epochs"},
		"late until":       {func(r *Request, _ *Images) { r.Until = 2 }, "until 2"},
		"one class":        {func(_ *Request, d *Images) { d.Classes = 1 }, "1 classes"},
		"empty split":      {func(_ *Request, d *Images) { d.Test = Split{} }, "no test images"},
		"wrong label":      {func(_ *Request, d *Images) { d.Classes = 2 }, "label 2"},
		"missing pixels":   {func(_ *Request, d *Images) { d.Train.Pixels = d.Train.Pixels[1:] }, "bytes instead of"},
		"negative cap":     {func(r *Request, _ *Images) { r.CurveCap = -1 }, "curve cap"},
		"file as a folder": {func(r *Request, _ *Images) { r.Checkpoint = "embedded_test.go" }, "embedded_test.go"},
	} {
		r, images := ok, *d
		c.change(&r, &images)
		if _, err := embedded(&images).Train(t.Context(), r, func(Record) error { return nil }); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := errors.New("stop")
	if _, err := embedded(d).Train(t.Context(), ok, func(Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("emit's error: %v", err)
	}
	// What the configuration gets wrong is the trial's end, not an error.
	for _, config := range []map[string]space.Value{
		{"lr": space.String("fast")}, {"speed": space.Int(1)}, {"opt": space.String("lion")}, {"opt_betas": space.String("[2, 3]")}, {"linear_probing": space.Int(1)},
	} {
		r := ok
		r.Config = config
		if _, end := train(t, d, r); end.End != metadataset.EndFailed || end.Reason == "" {
			t.Errorf("%v: %+v", config, end)
		}
	}
	r := request("mixer_xs", 1, map[string]space.Value{"stoch_norm": space.Bool(true)})
	if _, end := train(t, d, r); end.End != metadataset.EndFailed {
		t.Errorf("stochastic norm without batch norm: %+v", end)
	}
}

func TestEveryConfigurationOfTheSpaceCanBeTrained(t *testing.T) {
	s, err := Space(7)
	if err != nil {
		t.Fatal(err)
	}
	models := map[string]bool{}
	for i := range 2000 {
		m := s.Map(s.Sample(stream.New("test/space", 1, uint64(i))))
		name := m["model"].Text()
		models[name] = true
		spec, err := vision.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if m["epochs"] != space.Int(7) {
			t.Fatalf("epochs %v", m["epochs"])
		}
		got, err := parse(spec, m, 7)
		if err != nil {
			t.Fatalf("%v: %v", m, err)
		}
		if got.linearProbing && got.freeze != 1 {
			t.Error("linear probing freezes the body")
		}
	}
	if len(models) != len(vision.Specs) {
		t.Errorf("%d of %d networks were drawn", len(models), len(vision.Specs))
	}
	if _, err := Space(0); err == nil {
		t.Error("a space of 0 epochs")
	}
}

func TestProtocolRoundTrip(t *testing.T) {
	r := Request{Trial: "a", Model: "m", Dataset: "d", Epochs: 5, Until: 2, Seed: 1<<63 + 1, CurveCap: 1.5, Checkpoint: "c",
		Config: map[string]space.Value{"lr": space.Float(1e-3), "n": space.Int(3), "clip": space.None, "opt": space.String("sgd"), "on": space.Bool(true)}}
	data, err := EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeRequest(data); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
	var b bytes.Buffer
	e := NewEncoder(&b)
	records := []Record{{"a", 1, 2.5, 1, 0.5, 0.25, 0.1, 3, 1}, {Trial: "a", Epoch: 2, ValAccuracy: 1}}
	for _, rec := range records {
		if err := e.Record(rec); err != nil {
			t.Fatal(err)
		}
	}
	end := End{"a", metadataset.EndDiverged, "why"}
	if err := e.End(end); err != nil {
		t.Fatal(err)
	}
	var got []Record
	gotEnd, err := Decode(&b, "a", func(r Record) error { got = append(got, r); return nil })
	if err != nil || gotEnd != end || !slices.Equal(got, records) {
		t.Errorf("%+v %+v %v", got, gotEnd, err)
	}
}

func TestProtocolRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"nothing":          {"", "without an end"},
		"no end":           {`{"type":"record","trial":"a","epoch":1}`, "after epoch 1 without an end"},
		"no JSON":          {"hello", "line 1"},
		"another trial":    {`{"type":"end","trial":"b","end":"completed"}`, `trial "b"`},
		"order":            {"{\"type\":\"record\",\"trial\":\"a\",\"epoch\":2}\n{\"type\":\"record\",\"trial\":\"a\",\"epoch\":2}", "epoch 2 after epoch 2"},
		"epoch":            {`{"type":"record","trial":"a","epoch":0}`, "not at least 1"},
		"accuracy":         {`{"type":"record","trial":"a","epoch":1,"val_accuracy":50}`, "val_accuracy"},
		"negative seconds": {`{"type":"record","trial":"a","epoch":1,"train_seconds":-1}`, "train_seconds"},
		"end":              {`{"type":"end","trial":"a","end":"tired"}`, "unknown end"},
		"type":             {`{"type":"hello","trial":"a"}`, "unknown type"},
		"error":            {`{"type":"error","trial":"a","reason":"no GPU"}`, "no GPU"},
	} {
		if _, err := Decode(strings.NewReader(c.text), "a", func(Record) error { return nil }); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeCheckpoint(f *testing.F) {
	dir := f.TempDir()
	if err := writeCheckpoint(dir, checkpointHeader{Request: "r", Epoch: 1, Records: []Record{{Trial: "t", Epoch: 1}}}, [][]float32{{1, 2}, {3}}); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, checkpointName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, false)
	f.Add(good[:20], true)
	f.Fuzz(func(t *testing.T, data []byte, sign bool) {
		if sign { // so that the fuzzer gets past the checksum
			data = binary.LittleEndian.AppendUint32(slices.Clone(data), crc32.Checksum(data, castagnoli))
		}
		h, numbers, ok := decodeCheckpoint(data)
		if ok && (len(numbers) != 4*h.Numbers || len(h.Records) != h.Epoch) {
			t.Errorf("%+v with %d bytes", h, len(numbers))
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"type":"record","trial":"a","epoch":1,"val_accuracy":0.5}` + "\n" + `{"type":"end","trial":"a","end":"completed"}`))
	f.Add([]byte(`{"type":"error","trial":"a"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		last := 0
		end, err := Decode(bytes.NewReader(data), "a", func(r Record) error {
			if r.Epoch <= last || r.ValAccuracy < 0 || r.ValAccuracy > 1 || r.TrainSeconds < 0 {
				t.Errorf("%+v", r)
			}
			last = r.Epoch
			return nil
		})
		if err == nil && (end.Trial != "a" || !ends[end.End]) {
			t.Errorf("%+v", end)
		}
	})
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add([]byte(`{"type":"request","trial":"a","model":"m","config":{"lr":0.1},"dataset":"d","epochs":5,"seed":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRequest(data)
		if err != nil {
			return
		}
		again, err := EncodeRequest(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeRequest(again); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%+v became %+v, %v", r, got, err)
		}
	})
}

// BenchmarkFineTune is the speed of fine-tuning in images a second, with
// everything that an epoch does but evaluation, at batches of 32.
func BenchmarkFineTune(b *testing.B) {
	d := stripes(256, 4)
	for _, s := range vision.Specs {
		b.Run(s.Name, func(b *testing.B) {
			set, err := parse(s, map[string]space.Value{"opt": space.String("adamw")}, 1)
			if err != nil {
				b.Fatal(err)
			}
			w, _ := source(s.Name)
			tr, err := newTrial(set, d, w, 1)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := tr.epoch(b.Context(), 1, 1e-3); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*d.Train.Len())/b.Elapsed().Seconds(), "images/s")
		})
	}
}

func TestPretrainingIsDeterministicAndLearns(t *testing.T) {
	d := stripes(96, 4)
	p := Pretraining{Model: "separable_xs", Epochs: 6, Rate: 5e-3, Seed: 3}
	var losses []float64
	a, err := Pretrain(t.Context(), p, d, func(_ int, loss float64) { losses = append(losses, loss) })
	if err != nil {
		t.Fatal(err)
	}
	if len(losses) != 6 || losses[5] >= losses[0] || a.SourceAccuracy < 0.5 || a.Source != "stripes" || a.Classes != 4 {
		t.Errorf("losses %v, accuracy %g on %s", losses, a.SourceAccuracy, a.Source)
	}
	b, err := Pretrain(t.Context(), p, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(a, b) {
		t.Error("the same pretraining gave other weights")
	}
	// The weights serve a data set of other classes.
	e := &Embedded{Images: func(string) (*Images, error) { return stripes(12, 3), nil }, Weights: func(string) (*vision.Weights, error) { return a, nil }}
	if end, err := e.Train(t.Context(), request("separable_xs", 1, everything("separable_xs")), func(Record) error { return nil }); err != nil || end.End != metadataset.EndCompleted {
		t.Errorf("%+v, %v", end, err)
	}
	for _, wrong := range []Pretraining{{Model: "resnet", Epochs: 1}, {Model: "plain_xs"}} {
		if _, err := Pretrain(t.Context(), wrong, d, nil); err == nil {
			t.Errorf("%+v was accepted", wrong)
		}
	}
}

// The kernels of all instruction sets, and plain Go, train to the same bits.
func TestEveryInstructionSetGivesTheSameRecords(t *testing.T) {
	before := blas.Active()
	defer func() { _ = blas.Select(before) }()
	d := stripes(12, 3)
	for _, model := range []string{"separable_xs", "convmixer_xs", "mixer_xs", "vit_xs"} {
		var want []Record
		for _, p := range blas.Available() {
			if p == blas.Gonum {
				continue // rounds differently
			}
			if err := blas.Select(p); err != nil {
				t.Fatal(err)
			}
			got, _ := train(t, d, request(model, 2, everything(model)))
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, %v:\n%+v\n%+v", model, p, got, want)
			}
		}
	}
}
