package main

import (
	"context"
	"path/filepath"
	"testing"

	"quicktune"
	"quicktune/benchmark/crossval"
	"quicktune/metadataset"
	"quicktune/search"
)

// The comparison without flags learns nothing: what Quick-Tune learns from the
// shipped curves comes with them.
func TestWhatComesLearntIsOfTheShippedCurves(t *testing.T) {
	s, err := metadataset.Open(filepath.Join("..", filepath.FromSlash(shippedData)))
	if err != nil {
		t.Fatal(err)
	}
	rounds := 0
	o := crossval.Options{Cache: t.TempDir(), Shipped: filepath.Join("..", filepath.FromSlash(shippedLearnt))}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Progress = func(p crossval.Progress) {
		switch {
		case p.Finished && p.Cached:
			rounds++
		case p.Done > 0:
			cancel()
		}
	}
	_, err = crossval.Learn(ctx, s, []search.Method{quicktune.PlannerMethod(nil)}, o)
	if err != nil || rounds != 5 {
		t.Errorf("%d of 5 rounds come learnt (%v): go run ./benchmark --methods quicktune --seeds 1 --cache %s makes them again", rounds, err, shippedLearnt)
	}
}
