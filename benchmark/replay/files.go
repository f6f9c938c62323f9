package replay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"quicktune/internal/atomicfile"
)

// The files of a folder of traces. docs/format-traces.md describes them down to the column.
const (
	TracesFile    = "traces.parquet"    // one row an incumbent change
	RunsFile      = "runs.parquet"      // one row a run
	DecisionsFile = "decisions.parquet" // one row a run: measured real time
	// SumsFile holds the SHA-256 of the other three in the form of sha256sum.
	// It is written last, so a folder without it holds nothing finished.
	SumsFile = "SHA256SUMS"

	tracesVersion = "1"
)

// Provenance says what traces were made from. Traces of different provenance
// must not be mixed.
type Provenance struct {
	Data    string // hash of the meta-dataset
	Exclude string // which part of it was kept from the methods, "" if none
}

// The keys of the Parquet files' own metadata.
const (
	versionKey = "quicktune.format_version"
	dataKey    = "quicktune.data"
	excludeKey = "quicktune.exclude"
)

type traceRow struct {
	Run       int32   `parquet:"run,delta,zstd"` // row of RunsFile, from 0
	Dataset   string  `parquet:"dataset,dict,zstd"`
	Method    string  `parquet:"method,dict,zstd"`
	Seed      uint64  `parquet:"seed,delta,zstd"`
	Budget    float64 `parquet:"budget,dict,zstd"`
	Seconds   float64 `parquet:"seconds,split,zstd"`
	Epochs    int32   `parquet:"epochs,delta,zstd"`
	Candidate int32   `parquet:"candidate,delta,zstd"`
	ID        string  `parquet:"candidate_id,dict,zstd"`
	Epoch     int32   `parquet:"epoch,delta,zstd"`
	Score     float64 `parquet:"score,split,zstd"`
	Regret    float64 `parquet:"regret,split,zstd"`
}

type runRow struct {
	Run             int32   `parquet:"run,delta,zstd"`
	Dataset         string  `parquet:"dataset,dict,zstd"`
	Method          string  `parquet:"method,dict,zstd"`
	Details         string  `parquet:"details,dict,zstd"`
	Seed            uint64  `parquet:"seed,delta,zstd"`
	Budget          float64 `parquet:"budget,dict,zstd"`
	Workers         int32   `parquet:"workers,delta,zstd"`
	Clock           string  `parquet:"clock,dict,zstd"`
	Best            float64 `parquet:"best,dict,zstd"`
	Worst           float64 `parquet:"worst,dict,zstd"`
	Start           float64 `parquet:"start,dict,zstd"`
	Points          int32   `parquet:"points,delta,zstd"`
	Epochs          int32   `parquet:"epochs,delta,zstd"`
	Trials          int32   `parquet:"trials,delta,zstd"`
	Decisions       int32   `parquet:"decisions,delta,zstd"`
	TrainSeconds    float64 `parquet:"train_seconds,split,zstd"`
	CutSeconds      float64 `parquet:"cut_seconds,split,zstd"`
	IdleSeconds     float64 `parquet:"idle_seconds,split,zstd"`
	End             float64 `parquet:"end,split,zstd"`
	SpentCandidates []int32 `parquet:"spent_candidates,list,zstd"`
	SpentEpochs     []int32 `parquet:"spent_epochs,list,zstd"`
}

type decisionRow struct {
	Run             int32   `parquet:"run,delta,zstd"`
	Dataset         string  `parquet:"dataset,dict,zstd"`
	Method          string  `parquet:"method,dict,zstd"`
	Seed            uint64  `parquet:"seed,delta,zstd"`
	Budget          float64 `parquet:"budget,dict,zstd"`
	Decisions       int32   `parquet:"decisions,delta,zstd"`
	DecisionSeconds float64 `parquet:"decision_seconds,split,zstd"`
}

// Save writes traces to the folder dir, which it makes if need be, in place of
// those that are there. The same traces give the same bytes, but for the
// measured times in DecisionsFile. A crash leaves the old traces, the new ones
// or, between two renames, a folder that Load reports as not finished.
func Save(dir string, from Provenance, traces []*Trace) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	var sums bytes.Buffer
	var written []*atomicfile.File
	defer func() {
		for _, f := range written {
			f.Discard()
		}
	}()
	write := func(name string, fill func(w io.Writer) error) error {
		f, err := atomicfile.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		written = append(written, f)
		h := sha256.New()
		if err := fill(io.MultiWriter(f, h)); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
		fmt.Fprintf(&sums, "%x  %s\n", h.Sum(nil), name)
		return f.Sync()
	}
	if err := write(TracesFile, func(w io.Writer) error { return writeTraceRows(w, from, traces) }); err != nil {
		return err
	}
	if err := write(RunsFile, func(w io.Writer) error { return writeRunRows(w, from, traces) }); err != nil {
		return err
	}
	if err := write(DecisionsFile, func(w io.Writer) error { return writeDecisionRows(w, from, traces) }); err != nil {
		return err
	}
	text := bytes.Clone(sums.Bytes())
	if err := write(SumsFile, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(dir, SumsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, f := range written {
		if err := f.Publish(); err != nil {
			return err
		}
	}
	return atomicfile.SyncDir(dir)
}

// rowWriter writes rows of one type in batches.
type rowWriter[T any] struct {
	w     *parquet.GenericWriter[T]
	batch []T
}

func newRowWriter[T any](w io.Writer, from Provenance) *rowWriter[T] {
	return &rowWriter[T]{
		w: parquet.NewGenericWriter[T](w,
			parquet.CreatedBy("quicktune", tracesVersion, ""),
			parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
			parquet.MaxRowsPerRowGroup(1<<17),
			parquet.KeyValueMetadata(versionKey, tracesVersion),
			parquet.KeyValueMetadata(dataKey, from.Data),
			parquet.KeyValueMetadata(excludeKey, from.Exclude),
		),
		batch: make([]T, 0, 1024),
	}
}

func (r *rowWriter[T]) add(row T) error {
	r.batch = append(r.batch, row)
	if len(r.batch) < cap(r.batch) {
		return nil
	}
	return r.flush()
}

func (r *rowWriter[T]) flush() error {
	_, err := r.w.Write(r.batch)
	r.batch = r.batch[:0]
	return err
}

func (r *rowWriter[T]) close() error {
	if err := r.flush(); err != nil {
		return err
	}
	return r.w.Close()
}

func writeTraceRows(w io.Writer, from Provenance, traces []*Trace) error {
	rows := newRowWriter[traceRow](w, from)
	for run, t := range traces {
		for _, p := range t.Points {
			if err := rows.add(traceRow{
				Run: int32(run), Dataset: t.Dataset, Method: t.Method, Seed: t.Seed, Budget: t.Budget,
				Seconds: p.Seconds, Epochs: int32(p.Epochs), Candidate: int32(p.Candidate), ID: p.ID,
				Epoch: int32(p.Epoch), Score: p.Score, Regret: t.Scale.Regret(p.Score),
			}); err != nil {
				return err
			}
		}
	}
	return rows.close()
}

func writeRunRows(w io.Writer, from Provenance, traces []*Trace) error {
	rows := newRowWriter[runRow](w, from)
	for run, t := range traces {
		row := runRow{
			Run: int32(run), Dataset: t.Dataset, Method: t.Method, Details: t.Details, Seed: t.Seed,
			Budget: t.Budget, Workers: int32(t.Workers), Clock: string(t.Clock),
			Best: t.Scale.Best, Worst: t.Scale.Worst, Start: t.Scale.Start,
			Points: int32(len(t.Points)), Epochs: int32(t.Epochs), Trials: int32(t.Trials), Decisions: int32(t.Decisions),
			TrainSeconds: t.TrainSeconds, CutSeconds: t.CutSeconds, IdleSeconds: t.IdleSeconds, End: t.End,
		}
		for _, s := range t.Spent {
			row.SpentCandidates = append(row.SpentCandidates, s.Candidate)
			row.SpentEpochs = append(row.SpentEpochs, s.Epochs)
		}
		if err := rows.add(row); err != nil {
			return err
		}
	}
	return rows.close()
}

func writeDecisionRows(w io.Writer, from Provenance, traces []*Trace) error {
	rows := newRowWriter[decisionRow](w, from)
	for run, t := range traces {
		if err := rows.add(decisionRow{
			Run: int32(run), Dataset: t.Dataset, Method: t.Method, Seed: t.Seed, Budget: t.Budget,
			Decisions: int32(t.Decisions), DecisionSeconds: t.Measured.DecisionSeconds,
		}); err != nil {
			return err
		}
	}
	return rows.close()
}

// Load reads what Save wrote, in the same order. An error wraps
// fs.ErrNotExist if dir holds no finished traces; any other names the file and
// the row. The files are decoded only if their hashes are those of SumsFile:
// the Parquet library can run wild on a corrupt file.
func Load(dir string) (Provenance, []*Trace, error) {
	sums, err := readSums(filepath.Join(dir, SumsFile))
	if err != nil {
		return Provenance{}, nil, err
	}
	content := make(map[string][]byte, 3)
	for _, name := range []string{TracesFile, RunsFile, DecisionsFile} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			return Provenance{}, nil, err
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != sums[name] {
			return Provenance{}, nil, fmt.Errorf("%s: its SHA-256 is not that of %s; remove the folder's traces and run again", path, SumsFile)
		}
		content[name] = data
	}
	from, traces, err := decode(content[TracesFile], content[RunsFile], content[DecisionsFile])
	if err != nil {
		return Provenance{}, nil, fmt.Errorf("%s: %w", dir, err)
	}
	return from, traces, nil
}

func readSums(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	sums := make(map[string]string)
	line := 0
	for text := range strings.Lines(string(data)) {
		line++
		sum, name, ok := strings.Cut(strings.TrimSuffix(text, "\n"), "  ")
		if _, err := hex.DecodeString(sum); err != nil || !ok || len(sum) != 2*sha256.Size {
			return nil, fmt.Errorf("%s: line %d is no SHA-256 and file name", path, line)
		}
		sums[name] = sum
	}
	return sums, nil
}

// decode turns the contents of the three Parquet files into traces.
func decode(traceData, runData, decisionData []byte) (from Provenance, traces []*Trace, err error) {
	from, runs, err := readRows[runRow](RunsFile, runData)
	if err != nil {
		return from, nil, err
	}
	traces = make([]*Trace, len(runs))
	texts := make(interned)
	for i, r := range runs {
		if traces[i], err = r.trace(i, texts); err != nil {
			return from, nil, fmt.Errorf("%s: row %d: %w", RunsFile, i+1, err)
		}
	}
	fromTraces, points, err := readRows[traceRow](TracesFile, traceData)
	if err != nil {
		return from, nil, err
	}
	for i, p := range points {
		if p.Run < 0 || int(p.Run) >= len(traces) || i > 0 && p.Run < points[i-1].Run {
			return from, nil, fmt.Errorf("%s: row %d: run %d is out of order or not among the %d runs", TracesFile, i+1, p.Run, len(traces))
		}
		if err := traces[p.Run].add(p, texts); err != nil {
			return from, nil, fmt.Errorf("%s: row %d: %w", TracesFile, i+1, err)
		}
	}
	for i, t := range traces {
		if int(runs[i].Points) != len(t.Points) {
			return from, nil, fmt.Errorf("%s: row %d: %d points, but %s has %d", RunsFile, i+1, runs[i].Points, TracesFile, len(t.Points))
		}
	}
	fromDecisions, decisions, err := readRows[decisionRow](DecisionsFile, decisionData)
	if err != nil {
		return from, nil, err
	}
	if len(decisions) != len(traces) {
		return from, nil, fmt.Errorf("%s: %d rows, but %s has %d", DecisionsFile, len(decisions), RunsFile, len(traces))
	}
	for i, d := range decisions {
		if d.Run != int32(i) || !(d.DecisionSeconds >= 0) || math.IsInf(d.DecisionSeconds, 1) {
			return from, nil, fmt.Errorf("%s: row %d: run %d with %v seconds", DecisionsFile, i+1, d.Run, d.DecisionSeconds)
		}
		traces[i].Measured.DecisionSeconds = d.DecisionSeconds
	}
	if fromTraces != from || fromDecisions != from {
		return from, nil, fmt.Errorf("%s, %s and %s were made from different data", RunsFile, TracesFile, DecisionsFile)
	}
	return from, traces, nil
}

// interned keeps one copy of each text.
type interned map[string]string

func (in interned) text(s string) string {
	if kept, ok := in[s]; ok {
		return kept
	}
	in[s] = s
	return s
}

// trace starts the trace of row number i.
func (r *runRow) trace(i int, texts interned) (*Trace, error) {
	clock, err := ParseClock(r.Clock)
	switch {
	case err != nil:
		return nil, err
	case r.Run != int32(i):
		return nil, fmt.Errorf("run %d, want %d", r.Run, i)
	case r.Dataset == "" || r.Method == "":
		return nil, errors.New("no data set or no method")
	case !(r.Budget > 0):
		return nil, fmt.Errorf("budget %v", r.Budget)
	case r.Workers < 1:
		return nil, fmt.Errorf("%d workers", r.Workers)
	case !finite(r.Best) || !finite(r.Worst) || !finite(r.Start) || r.Best < r.Worst:
		return nil, fmt.Errorf("best score %v, worst %v, start %v", r.Best, r.Worst, r.Start)
	case r.Points < 0 || r.Points > r.Epochs || r.Trials < 0 || r.Decisions < r.Trials:
		return nil, fmt.Errorf("%d points, %d epochs, %d trials, %d decisions", r.Points, r.Epochs, r.Trials, r.Decisions)
	case !(r.TrainSeconds >= 0) || !(r.CutSeconds >= 0) || !(r.IdleSeconds >= 0) || !(r.End >= 0) || r.End > r.Budget:
		return nil, fmt.Errorf("%v s trained, %v s cut, %v s idle, end at %v s", r.TrainSeconds, r.CutSeconds, r.IdleSeconds, r.End)
	case len(r.SpentCandidates) != len(r.SpentEpochs):
		return nil, fmt.Errorf("%d candidates but %d counts of epochs", len(r.SpentCandidates), len(r.SpentEpochs))
	}
	t := &Trace{
		Key: Key{
			Dataset: texts.text(r.Dataset), Method: texts.text(r.Method), Details: texts.text(r.Details), Seed: r.Seed,
			Budget: r.Budget, Workers: int(r.Workers), Clock: clock,
		},
		Scale: Scale{Best: r.Best, Worst: r.Worst, Start: r.Start},
		Totals: Totals{
			Epochs: int(r.Epochs), Trials: int(r.Trials), Decisions: int(r.Decisions),
			TrainSeconds: r.TrainSeconds, CutSeconds: r.CutSeconds, IdleSeconds: r.IdleSeconds, End: r.End,
		},
	}
	total := int64(0)
	for k, c := range r.SpentCandidates {
		epochs := r.SpentEpochs[k]
		if c < 0 || epochs < 1 || k > 0 && c <= r.SpentCandidates[k-1] {
			return nil, fmt.Errorf("candidate %d with %d epochs", c, epochs)
		}
		t.Spent = append(t.Spent, Spent{Candidate: c, Epochs: epochs})
		total += int64(epochs)
	}
	if total != int64(r.Epochs) {
		return nil, fmt.Errorf("%d epochs, but those of the candidates sum to %d", r.Epochs, total)
	}
	return t, nil
}

// add checks a point against its trace and appends it.
func (t *Trace) add(r traceRow, texts interned) error {
	last := Point{Score: math.Inf(-1)}
	if n := len(t.Points); n > 0 {
		last = t.Points[n-1]
	}
	switch {
	case r.Dataset != t.Dataset || r.Method != t.Method || r.Seed != t.Seed || r.Budget != t.Budget:
		return fmt.Errorf("data set %q, method %q, seed %d and budget %v are not those of run %d", r.Dataset, r.Method, r.Seed, r.Budget, r.Run)
	case !(r.Seconds >= last.Seconds) || r.Seconds > t.End:
		return fmt.Errorf("time %v s after %v s in a run that ends at %v s", r.Seconds, last.Seconds, t.End)
	case int(r.Epochs) <= last.Epochs || int(r.Epochs) > t.Epochs:
		return fmt.Errorf("%d epochs after %d of %d", r.Epochs, last.Epochs, t.Epochs)
	case !(r.Score > last.Score) || r.Score > t.Scale.Best:
		return fmt.Errorf("incumbent %v after %v where %v is the best", r.Score, last.Score, t.Scale.Best)
	case r.Candidate < 0 || r.Epoch < 1:
		return fmt.Errorf("candidate %d, epoch %d", r.Candidate, r.Epoch)
	case r.Regret != t.Scale.Regret(r.Score):
		return fmt.Errorf("regret %v, but the scores make %v", r.Regret, t.Scale.Regret(r.Score))
	}
	t.Points = append(t.Points, Point{
		Seconds: r.Seconds, Epochs: int(r.Epochs), Candidate: int(r.Candidate), ID: texts.text(r.ID),
		Epoch: int(r.Epoch), Score: r.Score,
	})
	return nil
}

// readRows reads all rows of a Parquet file of ours. The Parquet library may
// panic on a corrupt file; that is an error here.
func readRows[T any](name string, data []byte) (from Provenance, rows []T, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%v", v)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return from, nil, err
	}
	version, _ := file.Lookup(versionKey)
	if version != tracesVersion {
		return from, nil, fmt.Errorf("format version %s, this program reads version %s", strconv.Quote(version), tracesVersion)
	}
	from.Data, _ = file.Lookup(dataKey)
	from.Exclude, _ = file.Lookup(excludeKey)
	if want := parquet.SchemaOf(*new(T)); !parquet.EqualNodes(file.Schema(), want) {
		return from, nil, errors.New("its columns are not those of this format version")
	}
	reader := parquet.NewGenericReader[T](file)
	defer reader.Close()
	batch := make([]T, 1024)
	for {
		n, err := reader.Read(batch)
		rows = append(rows, batch[:n]...)
		clear(batch) // a row's slices must not share memory with the next batch
		if errors.Is(err, io.EOF) {
			return from, rows, nil
		}
		if err == nil && n == 0 {
			err = io.ErrNoProgress
		}
		if err != nil {
			return from, nil, fmt.Errorf("after row %d: %w", len(rows), err)
		}
	}
}
