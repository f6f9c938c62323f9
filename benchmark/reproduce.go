package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"quicktune/benchmark/replay"
	"quicktune/internal/cli"
	"quicktune/metadataset"
	"quicktune/search"
)

// settings are the flags of a comparison that change its traces, as a manifest
// keeps them.
type settings struct {
	Data      string   `json:"data"` // where the meta-dataset lay, "" for the shipped one
	Budget    string   `json:"budget,omitempty"`
	Methods   string   `json:"methods"`
	Set       []string `json:"set,omitempty"`
	Compat    string   `json:"compat,omitempty"`
	Model     string   `json:"model,omitempty"`
	FoldsSeed uint32   `json:"folds_seed"`
	HoldOut   string   `json:"hold_out,omitempty"`
	Seeds     int      `json:"seeds"`
	Workers   int      `json:"workers"`
	Datasets  string   `json:"datasets,omitempty"`
	Exclude   string   `json:"exclude,omitempty"`
	Clock     string   `json:"clock"`
	Against   string   `json:"against,omitempty"`
}

func (f compareFlags) settings() *settings {
	return &settings{
		Data: filepath.ToSlash(f.data), Budget: f.budget, Methods: f.methods.list, Set: f.methods.set, Compat: f.methods.compat,
		Model: filepath.ToSlash(f.methods.model), FoldsSeed: f.learn.shuffle, HoldOut: f.learn.holdOut, Seeds: f.seeds, Workers: f.workers,
		Datasets: f.datasets, Exclude: f.exclude, Clock: f.clock, Against: f.against,
	}
}

// flags are those that made the run.
func (s *settings) flags() compareFlags {
	return compareFlags{
		data: filepath.FromSlash(s.Data), budget: s.Budget,
		methods: methodFlags{list: s.Methods, set: s.Set, compat: s.Compat, model: filepath.FromSlash(s.Model)},
		learn:   learnFlags{shuffle: s.FoldsSeed, holdOut: s.HoldOut}, seeds: s.Seeds, workers: s.Workers,
		datasets: s.Datasets, exclude: s.Exclude, clock: s.Clock, against: s.Against,
	}
}

// reproduceFlags are the flags of reproduce.
type reproduceFlags struct {
	data, datasets, methods, cache string
	seeds, parallel                int
}

func newReproduce(stdout, stderr io.Writer) *cobra.Command {
	var f reproduceFlags
	c := &cobra.Command{
		Use:   "reproduce MANIFEST",
		Short: "make the runs of a manifest again and compare them, trace by trace",
		Long: `Reproduce reads the manifest of a comparison (or the directory that holds it),
checks that the traces beside it and the meta-dataset are those that it pins, runs
the comparison again and compares every run, step by step. It prints "identical",
or what differs and from which step on, and then exits with 1.

A part is made again with --datasets, --methods and --seeds. Traces do not depend
on the machine, its vector instructions or the number of threads; other versions
of Go or of the libraries are named.`,
		Example: `  go run ./benchmark reproduce results/runs/first/manifest.json
  go run ./benchmark reproduce results/runs/first --datasets BCT,DOG --methods asha --seeds 2`,
		Args: cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(c *cobra.Command, args []string) error {
			return runReproduce(c.Context(), args[0], f, stdout, stderr)
		},
	}
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "where the meta-dataset lies now (default: where it lay)")
	p.StringVar(&f.datasets, "datasets", "", "data sets to make again, such as BCT,DOG (default: all)")
	p.StringVar(&f.methods, "methods", "", "methods to make again (default: all)")
	p.IntVar(&f.seeds, "seeds", 0, "seeds to make again, the first ones (default: all)")
	p.StringVar(&f.cache, "cache", "", "directory that keeps what methods learnt (default: quicktune/models in the user's cache)")
	p.IntVar(&f.parallel, "parallel", 0, "replays that run at the same time (default: one for each CPU)")
	return c
}

func runReproduce(ctx context.Context, path string, f reproduceFlags, stdout, stderr io.Writer) error {
	log := cli.Logger(stderr)
	dir := path
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		dir = filepath.Dir(path)
	}
	m, err := readManifest(dir)
	if err != nil {
		return cli.Input(err)
	}
	switch {
	case !m.Finished:
		return cli.Inputf("%s is not finished; the command that began it goes on", dir)
	case m.Settings == nil:
		return cli.Inputf("%s says not how to run it again; its command was %s", dir, cmp.Or(m.Command, "not kept"))
	case m.Clock == string(replay.Decision):
		return cli.Inputf("%s counts the real time of decisions, which no run repeats", dir)
	}
	_, all, err := replay.Load(dir)
	if err != nil {
		return cli.Input(err)
	}
	stored, differences := m.check(all)
	flags := m.Settings.flags()
	flags.learn.cache, flags.parallel = f.cache, f.parallel
	flags.data = cmp.Or(f.data, flags.data)
	if flags.datasets = cmp.Or(f.datasets, flags.datasets); f.datasets != "" && flags.learn.holdOut != "" {
		return cli.Inputf("--datasets: the run held data sets out, which are made again together")
	}
	if f.seeds > flags.seeds {
		return cli.Inputf("--seeds %d: the manifest has %d", f.seeds, flags.seeds)
	}
	flags.seeds = cmp.Or(f.seeds, flags.seeds)
	if f.methods != "" {
		flags.methods = flags.methods.only(f.methods)
	}

	s, err := openData(flags.data)
	if err != nil {
		return err
	}
	x, _, err := experiment(flags, s)
	if err != nil {
		return err
	}
	part := f.datasets != "" || f.methods != ""
	differences = append(differences, m.checkSettings(x, cli.TimeUnit(s.Manifest.TimeUnit), part)...)
	differences = append(differences, m.checkData(s, x.Tables)...)
	for _, note := range m.versions() {
		log.Info(note)
	}
	if len(differences) == 0 {
		if x.Methods, _, err = learn(ctx, s, x.Methods, flags.learn.options(tested(x.Tables), f.parallel), stderr, log); err != nil {
			return err
		}
		differences = append(differences, m.checkMethods(x.Methods)...)
	}
	if len(differences) > 0 {
		// Other data or settings cannot give the same traces: what differs is
		// known before anything is run.
		return different(stdout, differences, "the run was not made again")
	}
	traces, _, err := replayGrid(ctx, x, nil, func() display { return &bar{stderr: stderr, log: log, label: "replay"} }, log)
	if err != nil {
		return err
	}
	for _, t := range traces {
		if d := firstDifference(stored[t.Key], t); d != "" {
			differences = append(differences, d)
		}
	}
	if len(differences) > 0 {
		return different(stdout, differences, fmt.Sprintf("%d of %s differ", len(differences), count(len(traces), "run")))
	}
	fmt.Fprintf(stdout, "identical: %s, trace hash %s\n", count(len(traces), "run"), replay.Hash(traces))
	return nil
}

// shownDifferences is how many differences are printed.
const shownDifferences = 20

func different(stdout io.Writer, differences []string, summary string) error {
	for i, d := range differences {
		if i == shownDifferences {
			fmt.Fprintf(stdout, "and %d more\n", len(differences)-i)
			break
		}
		fmt.Fprintln(stdout, d)
	}
	return errors.New("not identical: " + summary)
}

// only keeps some methods of a list with their settings.
func (f methodFlags) only(list string) methodFlags {
	f.list = list
	names := strings.Split(list, ",")
	f.set = slices.DeleteFunc(slices.Clone(f.set), func(s string) bool {
		method, _, _ := strings.Cut(s, ".")
		return !slices.Contains(names, method)
	})
	if !slices.Contains(names, referenceName) {
		f.model = ""
	}
	return f
}

// check compares the traces of a directory with what its manifest pins, and
// returns them by key. Those of the comparison come first; a directory may hold
// others.
func (m *manifest) check(all []*replay.Trace) (stored map[replay.Key]*replay.Trace, out []string) {
	stored = make(map[replay.Key]*replay.Trace)
	for _, t := range all {
		stored[t.Key] = t
	}
	if len(all) < m.Runs {
		return stored, []string{fmt.Sprintf("%s lie beside the manifest, which has %d", count(len(all), "run"), m.Runs)}
	}
	grid := all[:m.Runs]
	seeds := make(map[uint64]bool)
	var unknown []string
	for _, t := range grid {
		seeds[t.Seed] = true
		for what, known := range map[string]bool{
			fmt.Sprintf("seed %d", t.Seed):                     slices.Contains(m.Seeds, t.Seed),
			fmt.Sprintf("data set %s", t.Dataset):              slices.Contains(m.Datasets, t.Dataset),
			fmt.Sprintf("method %s (%s)", t.Method, t.Details): slices.Contains(m.Methods, methodLine(t.Method, t.Details)),
			count(t.Workers, "simulated worker"):               t.Workers == m.Workers,
			fmt.Sprintf("%s clock", t.Clock):                   string(t.Clock) == m.Clock,
		} {
			if !known && !slices.Contains(unknown, what) {
				unknown = append(unknown, what)
			}
		}
	}
	slices.Sort(unknown)
	for _, what := range unknown {
		out = append(out, "the stored runs have "+what+", the manifest has not")
	}
	for _, seed := range m.Seeds {
		if !seeds[seed] {
			out = append(out, fmt.Sprintf("the manifest has seed %d, no stored run has", seed))
		}
	}
	byMethod := methodHashes(grid)
	for _, name := range slices.Sorted(maps.Keys(m.TraceHashes)) {
		if byMethod[name] != m.TraceHashes[name] {
			out = append(out, fmt.Sprintf("the stored runs of %s have the hash %.12s, the manifest has %.12s", name, byMethod[name], m.TraceHashes[name]))
		}
	}
	if h := replay.Hash(grid); h != m.Traces {
		out = append(out, fmt.Sprintf("the stored runs have the hash %.12s, the manifest has %.12s", h, m.Traces))
	}
	return stored, out
}

// checkSettings compares the flags of a manifest with what it says of the runs.
func (m *manifest) checkSettings(x *replay.Experiment, unit cli.TimeUnit, part bool) []string {
	var out []string
	say := func(what string, flag, pinned any) {
		out = append(out, fmt.Sprintf("setting %s: the flags of the manifest say %v, its runs %v", what, flag, pinned))
	}
	if m.Settings.Workers != m.Workers {
		say("workers", m.Settings.Workers, m.Workers)
	}
	if m.Settings.Clock != m.Clock {
		say("clock", m.Settings.Clock, m.Clock)
	}
	if m.Settings.Exclude != m.Exclude {
		say("exclude", m.Settings.Exclude, m.Exclude)
	}
	if want := seeds(m.Settings.Seeds); !slices.Equal(want, m.Seeds) {
		say("seeds", want, m.Seeds)
	}
	var budgets []string
	for _, b := range x.Budgets {
		budgets = append(budgets, cli.FormatBudget(b, unit))
	}
	if !slices.Equal(budgets, m.Budgets) {
		say("budget", budgets, m.Budgets)
	}
	if names := tested(x.Tables); !part && !slices.Equal(names, m.Datasets) {
		say("datasets", names, m.Datasets)
	}
	if n := len(x.Methods); !part && n != len(m.Methods) {
		say("methods", m.Settings.Methods, m.Methods)
	}
	return out
}

func methodLine(name, details string) string { return name + ": " + details }

// methodHashes are the trace hashes of each method.
func methodHashes(traces []*replay.Trace) map[string]string {
	byMethod := make(map[string][]*replay.Trace)
	for _, t := range traces {
		byMethod[t.Method] = append(byMethod[t.Method], t)
	}
	out := make(map[string]string)
	for name, list := range byMethod {
		out[name] = replay.Hash(list)
	}
	return out
}

// checkData compares the meta-dataset with the one that the manifest pins.
func (m *manifest) checkData(s *metadataset.Store, tables []*replay.Table) []string {
	if s.Manifest.Hash == m.Data {
		return nil
	}
	out := []string{fmt.Sprintf("the meta-dataset %s has the hash %.12s, the manifest %.12s", s.Dir, s.Manifest.Hash, m.Data)}
	now := tableHashes(tables)
	for _, name := range slices.Sorted(maps.Keys(now)) {
		switch was := m.DatasetHashes[name]; {
		case was == "":
			out = append(out, fmt.Sprintf("data set %s is not in the manifest", name))
		case was != now[name]:
			out = append(out, fmt.Sprintf("data set %s: its configurations, scores or costs are others", name))
		}
	}
	return out
}

// checkMethods compares the settings of methods with those that the manifest pins.
func (m *manifest) checkMethods(methods []search.Method) []string {
	var out []string
	for _, method := range methods {
		line := methodLine(method.Name, method.Details)
		if slices.Contains(m.Methods, line) {
			continue
		}
		was := slices.IndexFunc(m.Methods, func(l string) bool { return strings.HasPrefix(l, method.Name+": ") })
		if was < 0 {
			out = append(out, fmt.Sprintf("method %s is not in the manifest", method.Name))
			continue
		}
		out = append(out, fmt.Sprintf("method %s has the settings %q, in the manifest %q", method.Name, method.Details, strings.TrimPrefix(m.Methods[was], method.Name+": ")))
	}
	return out
}

// versions names what is another version than in the manifest.
func (m *manifest) versions() []string {
	var out []string
	if m.Go != runtime.Version() {
		out = append(out, fmt.Sprintf("made with %s, now %s", m.Go, runtime.Version()))
	}
	now := dependencies()
	for _, path := range slices.Sorted(maps.Keys(m.Dependencies)) {
		if v, ok := now[path]; ok && v != m.Dependencies[path] {
			out = append(out, fmt.Sprintf("made with %s %s, now %s", path, m.Dependencies[path], v))
		}
	}
	return out
}

// firstDifference says where two traces of one run part; "" if they do not.
func firstDifference(stored, now *replay.Trace) string {
	run := fmt.Sprintf("%s on %s, seed %d, budget %v", now.Method, now.Dataset, now.Seed, now.Budget)
	if stored == nil {
		return run + ": no such run is stored"
	}
	for i, p := range now.Points {
		if i == len(stored.Points) {
			return fmt.Sprintf("%s: stored are %d steps; step %d now is %s", run, i, i+1, step(p))
		}
		if was := stored.Points[i]; was != p {
			return fmt.Sprintf("%s: from step %d on: %s, stored %s", run, i+1, step(p), step(was))
		}
	}
	switch n := len(now.Points); {
	case len(stored.Points) > n:
		return fmt.Sprintf("%s: %d steps; step %d, %s, is only stored", run, n, n+1, step(stored.Points[n]))
	case stored.Totals != now.Totals:
		return fmt.Sprintf("%s: the same steps, but the totals are %+v, stored %+v", run, now.Totals, stored.Totals)
	case !slices.Equal(stored.Spent, now.Spent):
		return run + ": the same steps, but other candidates were trained"
	}
	return ""
}

func step(p replay.Point) string {
	return fmt.Sprintf("score %v of %s, epoch %d, after %v s and %s", p.Score, p.ID, p.Epoch, p.Seconds, count(p.Epochs, "epoch"))
}

// tableHashes are the SHA-256 of the tables, by data set.
func tableHashes(tables []*replay.Table) map[string]string {
	out := make(map[string]string, len(tables))
	for _, t := range tables {
		h := sha256.New()
		writeText(h, t.Task.Name)
		for c, id := range t.IDs {
			writeText(h, id)
			if t.Space != nil {
				writeText(h, t.Space.Format(t.Candidates[c]))
			}
			writeNumber(h, uint64(t.Ends[c]))
			writeNumber(h, uint64(len(t.Scores[c])))
			for e, v := range t.Scores[c] {
				writeNumber(h, uint64(math.Float32bits(v))<<32|uint64(math.Float32bits(t.Seconds[c][e])))
			}
		}
		out[t.Task.Name] = hex.EncodeToString(h.Sum(nil))
	}
	return out
}

func writeText(h hash.Hash, s string) {
	writeNumber(h, uint64(len(s)))
	io.WriteString(h, s)
}

func writeNumber(h hash.Hash, v uint64) {
	var buf [8]byte
	binary.LittleEndian.PutUint64(buf[:], v)
	h.Write(buf[:])
}
