package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"quicktune/benchmark/crossval"
	"quicktune/benchmark/report"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/search"
)

// shippedLearnt is what Quick-Tune learns from the meta-dataset that comes with
// the program, where the program runs in its source tree. It is made by
//
//	go run ./benchmark --methods quicktune --seeds 1 --cache results/learnt
const shippedLearnt = "results/learnt"

// learnFlags say how methods learn from other data sets.
type learnFlags struct {
	shuffle uint32
	holdOut string
	cache   string
}

func (f *learnFlags) add(p *pflag.FlagSet) {
	p.Uint32Var(&f.shuffle, "folds-seed", crossval.DefaultShuffle, "seed of the shuffle that deals data sets to the five folds that methods learn from and are tested on")
	p.StringVar(&f.holdOut, "hold-out", "", "data sets that methods are tested on after learning from all others, such as PNU,DOG, instead of the folds")
	p.StringVar(&f.cache, "cache", "", "directory that keeps what methods learnt (default: quicktune/models in the user's cache)")
}

// held lists the data sets of --hold-out.
func (f *learnFlags) held() []string {
	if f.holdOut == "" {
		return nil
	}
	var names []string
	for name := range strings.SplitSeq(f.holdOut, ",") {
		names = append(names, strings.TrimSpace(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// words are the flags that change what is learnt, as on a command line.
func (f *learnFlags) words() []string {
	var out []string
	if f.shuffle != crossval.DefaultShuffle {
		out = append(out, "--folds-seed", strconv.FormatUint(uint64(f.shuffle), 10))
	}
	if held := f.held(); held != nil {
		out = append(out, "--hold-out", strings.Join(held, ","))
	}
	return out
}

// options are those of crossval, for tests on the given data sets.
func (f *learnFlags) options(test []string, parallel int) crossval.Options {
	shipped, err := inRepository(shippedLearnt)
	if err != nil {
		shipped = "" // it is learnt again
	}
	return crossval.Options{Shuffle: &f.shuffle, HoldOut: f.held(), Test: test, Cache: f.cache, Shipped: shipped, Parallel: parallel}
}

// learn lets the methods that learn from other data sets do so, and lists what
// they learnt from.
func learn(ctx context.Context, s *metadataset.Store, methods []search.Method, o crossval.Options, stderr io.Writer, log *slog.Logger) ([]search.Method, []report.Learning, error) {
	view := newLearning(methods, stderr, log)
	o.Progress = view.tell
	out, err := crossval.Learn(ctx, s, methods, o)
	return out, view.finish(), view.explain(err)
}

// learning shows the progress of methods that learn and keeps what they tell.
type learning struct {
	methods int // that learn
	stderr  io.Writer
	log     *slog.Logger
	bar     *cli.Progress
	share   map[string]float64 // learnt, by method and round
	told    []report.Learning
	cached  int
	kept    bool // something was begun
	started time.Time
}

// progressUnit is what one method counts in one round.
const progressUnit = 1000

func newLearning(methods []search.Method, stderr io.Writer, log *slog.Logger) *learning {
	l := &learning{stderr: stderr, log: log, share: make(map[string]float64), started: time.Now()}
	for _, m := range methods {
		if m.Learn != nil {
			l.methods++
		}
	}
	return l
}

func (l *learning) tell(p crossval.Progress) {
	total := int64(l.methods * p.Rounds * progressUnit)
	if !p.Finished && p.Done > 0 && l.bar == nil {
		l.log.Info("learning from other data sets; an interrupt keeps what is done", "methods", l.methods, "rounds", p.Rounds)
		l.bar = cli.NewProgress(l.stderr, l.log, "learn", total, false)
	}
	at := fmt.Sprintf("%s %d", p.Method, p.Round)
	switch {
	case p.Finished:
		l.share[at] = 1
		l.told = append(l.told, report.Learning{
			Method: p.Method, Test: p.Split.Test, Train: p.Split.Train, Validation: p.Split.Validation, Key: p.Key, Seconds: p.Seconds,
		})
		if p.Cached {
			l.cached++
			break
		}
		l.log.Info("learnt", "method", p.Method, "round", fmt.Sprintf("%d of %d", p.Round, p.Rounds), "seconds", fmt.Sprintf("%.1f", p.Seconds), "key", p.Key)
	case p.Total > 0:
		l.kept = true
		l.share[at] = float64(p.Done) / float64(p.Total)
	}
	if l.bar != nil {
		var sum float64
		for _, share := range l.share {
			sum += share
		}
		l.bar.Set(int64(sum*progressUnit), total)
	}
}

// finish ends the display and returns what was learnt, in the order of the
// methods' names and the rounds.
func (l *learning) finish() []report.Learning {
	if l.bar != nil {
		l.bar.Finish()
	}
	if len(l.told) > 0 {
		l.log.Info("what other data sets teach is there", "rounds", len(l.told), "of them learnt before", l.cached, "in", time.Since(l.started).Round(time.Millisecond))
	}
	slices.SortFunc(l.told, func(a, b report.Learning) int {
		return slices.Compare([]string{a.Method, strings.Join(a.Test, " ")}, []string{b.Method, strings.Join(b.Test, " ")})
	})
	return l.told
}

// explain tells an interrupt from what the data do not allow.
func (l *learning) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled) && l.kept:
		return cli.Interruptedf("interrupted while learning from other data sets; what is done is kept, the same command continues")
	}
	return cli.Input(err)
}
