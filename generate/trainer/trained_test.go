package trainer

import (
	"os"
	"path/filepath"
	"testing"

	"quicktune/internal/nn/layers"
	"quicktune/internal/vision"
)

func TestTrainedWeightsClassifyAsTheRecordSays(t *testing.T) {
	d := stripes(50, 3)
	for _, model := range []string{"residual_xs", "vit_xs"} {
		r := request(model, 3, everything(model))
		r.Checkpoint, r.Until = t.TempDir(), 2
		records, _ := train(t, d, r)
		w, epoch, err := Trained(r.Checkpoint, d.Classes)
		if err != nil {
			t.Fatal(err)
		}
		if epoch != 2 || w.Model != model || w.Classes != d.Classes || w.Source != d.Name {
			t.Errorf("%s: epoch %d of %s for %d classes of %q", model, epoch, w.Model, w.Classes, w.Source)
		}
		n, err := vision.New[float32](w.Model, w.Classes)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.SetBody(w); err != nil {
			t.Fatal(err)
		}
		if err := n.SetHead(w); err != nil {
			t.Fatal(err)
		}
		var c layers.Context[float32]
		logits := n.Classify(&c, n.Body(&c, Batch(d.Validation.Pixels)))
		_, right := layers.Evaluate(logits.Data, d.Validation.Labels)
		if got := float64(right) / float64(d.Validation.Len()); got != records[1].ValAccuracy {
			t.Errorf("%s classifies %g of the validation images as it should, its record says %g", model, got, records[1].ValAccuracy)
		}
	}
}

func TestTrainedRefusesWhatIsNoCheckpoint(t *testing.T) {
	d := stripes(20, 3)
	r := request("plain_xs", 1, nil)
	r.Checkpoint = t.TempDir()
	train(t, d, r)
	if _, _, err := Trained(r.Checkpoint, 10_000); err == nil {
		t.Error("a head for 10,000 classes was found in a checkpoint for 3")
	}
	path := filepath.Join(r.Checkpoint, checkpointName)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{r.Checkpoint, t.TempDir()} {
		if _, _, err := Trained(dir, 3); err == nil {
			t.Errorf("no error for %s", dir)
		}
	}
}
