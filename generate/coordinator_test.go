//go:build unix

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"

	"quicktune/generate/dispatch"
	"quicktune/generate/plan"
	"quicktune/generate/sweep"
	"quicktune/generate/sweep/sweeptest"
	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

// pulse is a trainer that needs a second for an epoch and nothing else.
type pulse struct{}

func (pulse) Train(ctx context.Context, r trainer.Request, emit func(trainer.Record) error) (trainer.End, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for e := 1; e <= r.Epochs; e++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return trainer.End{}, ctx.Err()
		}
		if err := emit(sweeptest.Curve(r, e)); err != nil {
			return trainer.End{}, err
		}
	}
	return trainer.End{Trial: r.Trial, End: metadataset.EndCompleted}, nil
}

// BenchmarkCoordinator works through a sweep with many workers, one second an
// epoch each, from the plan to the meta-dataset. It reports the cores that this
// takes at that pace, and the most memory that Go had from the system.
func BenchmarkCoordinator(b *testing.B) {
	for _, workers := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			const epochs = 10
			o := plan.Options{
				Space: sweeptest.Space(), ModelParam: sweeptest.ModelParam, Models: sweeptest.Hub(), Mode: plan.Stratified,
				Configs: 100, Epochs: epochs, Seed: 1, Trainer: "fake", Clock: plan.Measured, MetaFeatures: []string{"x"},
			}
			for d := range workers / o.Configs {
				o.Datasets = append(o.Datasets, plan.Dataset{Name: fmt.Sprintf("d%03d", d), Hash: "h", Train: 6, Validation: 2, Test: 2, Classes: 2, Width: 32, Channels: 3, MetaFeatures: []float64{1}})
			}
			p, err := plan.New(o)
			if err != nil {
				b.Fatal(err)
			}
			local := &dispatch.Local{}
			for i := range workers {
				local.Workers = append(local.Workers, dispatch.Worker{Name: fmt.Sprint(i), Trainer: pulse{}})
			}
			for b.Loop() {
				dir := filepath.Join(b.TempDir(), "sweep")
				if err := sweep.Claim(dir, p); err != nil {
					b.Fatal(err)
				}
				start, before := time.Now(), cpu()
				r, err := sweep.Run(b.Context(), sweep.Options{Dir: dir, Plan: p, Dispatcher: local, Generator: "benchmark"})
				if err != nil || r.Curves != workers || r.Epochs != workers*epochs {
					b.Fatalf("%+v, %v", r, err)
				}
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				// Epochs take a second, however long this machine was kept from it.
				b.ReportMetric((cpu()-before)/epochs, "cores")
				b.ReportMetric(float64(m.Sys)/1e6, "MB")
				b.ReportMetric(float64(r.Epochs)/time.Since(start).Seconds(), "epochs/s")
			}
		})
	}
}

// cpu is the time of all cores that this process has used, in seconds.
func cpu() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
