package predictor

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"quicktune/internal/nn"
	"quicktune/internal/realdata"
)

// tolerance of every comparison with the reference, relative to the largest
// number of the tensor, or to 1e-6 if all of it is smaller than that: the
// gradients of some biases are zero but for rounding.
const tolerance = 1e-8

// flat is a tensor of any depth, flattened row-major.
type flat []float64

func (f *flat) UnmarshalJSON(b []byte) error {
	var v any
	s := strings.ReplaceAll(string(b), "Infinity", "1e308")
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return err
	}
	*f = nil
	f.add(v)
	return nil
}

func (f *flat) add(v any) {
	switch v := v.(type) {
	case float64:
		*f = append(*f, v)
	case []any:
		for _, e := range v {
			f.add(e)
		}
	}
}

type goldenRows struct {
	Hps, Curve, Metafeatures [][]float64
	Budget, Target           []float64
}

type goldenCase struct {
	Extractor   map[string]flat
	GPRaw       map[string]flat `json:"gp_raw"`
	Cost        map[string]flat
	Train       goldenRows
	Query       goldenRows
	TrainZ      flat    `json:"embedding_train"`
	QueryZ      flat    `json:"embedding_query"`
	Loss        float64 `json:"neg_mll_per_point"`
	Gradients   map[string]flat
	Mean        flat `json:"posterior_mean"`
	Std         flat `json:"posterior_std_with_noise"`
	PredictCost flat `json:"predicted_cost"`
	Steps       flat `json:"neg_mll_during_10_adam_steps_lr_1e-3"`
}

func goldenCases(t testing.TB) map[string]goldenCase {
	t.Helper()
	data, err := os.ReadFile(realdata.Path(t, "predictor", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	// The file is Python's: it spells infinite bounds Infinity.
	var file map[string]json.RawMessage
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), "Infinity", "1e308")), &file); err != nil {
		t.Fatal(err)
	}
	out := map[string]goldenCase{}
	for _, name := range []string{"random_weights", "meta_trained"} {
		var c goldenCase
		if err := json.Unmarshal(file[name], &c); err != nil {
			t.Fatal(name, err)
		}
		out[name] = c
	}
	return out
}

func weights(m map[string]flat) Weights {
	w := Weights{}
	for k, v := range m {
		w[k] = v
	}
	return w
}

func (c goldenCase) kernel(t testing.TB) *DeepKernel {
	t.Helper()
	k := newDeepKernel(Reference())
	if err := k.SetReference(weights(c.Extractor), weights(c.GPRaw)); err != nil {
		t.Fatal(err)
	}
	return k
}

func (r goldenRows) batch(t testing.TB) *Batch {
	t.Helper()
	b := NewBatch(Reference())
	for i := range r.Hps {
		row := Row{Config: r.Hps[i], Meta: r.Metafeatures[i], Curve: r.Curve[i], Epoch: int(math.Round(r.Budget[i] * 50))}
		if err := b.Append(row); err != nil {
			t.Fatal(err)
		}
		if b.budget[i] != r.Budget[i] {
			t.Fatalf("row %d: budget %v became %v", i, r.Budget[i], b.budget[i])
		}
	}
	return b
}

func compare(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers instead of %d", what, len(got), len(want))
	}
	scale := 1e-6
	for _, v := range want {
		scale = math.Max(scale, math.Abs(v))
	}
	worst := 0.0
	for i := range got {
		e := math.Abs(got[i]-want[i]) / scale
		if !(e <= tolerance) {
			t.Errorf("%s[%d] = %v, the reference has %v", what, i, got[i], want[i])
			return
		}
		worst = math.Max(worst, e)
	}
	t.Logf("%s: %d numbers, largest difference %.1e", what, len(got), worst)
}

func TestGoldenPerformancePredictor(t *testing.T) {
	for name, c := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			k := c.kernel(t)
			train, query := c.Train.batch(t), c.Query.batch(t)
			z, err := k.Embed(train)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "embedding_train", z.Data, c.TrainZ)
			if z, err = k.Embed(query); err != nil {
				t.Fatal(err)
			}
			compare(t, "embedding_query", z.Data, c.QueryZ)

			loss, err := k.Loss(train, c.Train.Target, nil)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, "neg_mll", []float64{loss}, []float64{c.Loss})
			seen := 0
			for _, p := range k.params.Tensors {
				key := "gp." + p.Name
				if rest, ok := strings.CutPrefix(p.Name, "feature_extractor."); ok {
					key = "fe." + rest
				}
				want, ok := c.Gradients[key]
				if !ok {
					t.Fatalf("no gradient %s in the golden file", key)
				}
				compare(t, key, p.Grad, want)
				seen++
			}
			if seen != len(c.Gradients) {
				t.Fatalf("compared %d gradients of %d", seen, len(c.Gradients))
			}

			if err := k.Condition(train, c.Train.Target); err != nil {
				t.Fatal(err)
			}
			mean, std := make([]float64, query.Len()), make([]float64, query.Len())
			if err := k.Predict(mean, std, query, true); err != nil {
				t.Fatal(err)
			}
			compare(t, "posterior mean", mean, c.Mean)
			compare(t, "posterior std", std, c.Std)

			var adam nn.Adam
			var steps []float64
			for range c.Steps {
				loss, err := k.Loss(train, c.Train.Target, nil)
				if err != nil {
					t.Fatal(err)
				}
				steps = append(steps, loss)
				adam.Step(k.params.Value, k.params.Grad, 1e-3)
			}
			compare(t, "loss during Adam", steps, c.Steps)
		})
	}
}

func TestGoldenCostPredictor(t *testing.T) {
	for name, c := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			k := newCost(Reference(), CostOptions{})
			if err := k.SetReference(weights(c.Cost)); err != nil {
				t.Fatal(err)
			}
			query := c.Query.batch(t)
			got := make([]float64, query.Len())
			if err := k.Predict(got, query); err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i] /= CostUnit
			}
			compare(t, "predicted cost", got, c.PredictCost)
		})
	}
}
