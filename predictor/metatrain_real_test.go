package predictor

import (
	"context"
	"testing"
	"time"
)

func TestTmpMetaTrainReal(t *testing.T) {
	x := realTasks(t)
	n := 0
	for _, k := range x.tasks {
		n += len(k.Scores)
	}
	t.Log(len(x.tasks), n)
	opt := ReferenceMetaTrain()
	opt.Iterations, opt.CostIterations = 2000, 2000
	start := time.Now()
	opt.Progress = func(p Progress) {
		if p.Iteration%400 == 0 {
			t.Logf("%v %+v", time.Since(start), p)
		}
	}
	m, err := MetaTrain(context.Background(), Reference(), x.tasks[:12], x.tasks[12:16], opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v %+v %+v", time.Since(start), m.Performance.Hyperparameters(), m.Info.Training)
}
