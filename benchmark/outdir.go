package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"golang.org/x/sync/errgroup"

	"quicktune/benchmark/replay"
	"quicktune/benchmark/report"
	"quicktune/internal/atomicfile"
	"quicktune/internal/cli"
)

// The files of a directory of results, beside those of package replay.
const (
	manifestFile = "manifest.json"
	reportStem   = "report" // .md and .html
	jsonFile     = "report.json"
	figuresDir   = "figures" // NAME.svg and NAME.png
	tablesDir    = "tables"  // NAME.csv
)

// manifestFormat marks a directory of results as made by this command.
const manifestFormat = "quicktune benchmark results"

// manifest says what a directory of results holds and how to make it again.
type manifest struct {
	Format        string   `json:"format"`
	FormatVersion int      `json:"format_version"`
	Finished      bool     `json:"finished"` // false while runs are missing
	Data          string   `json:"data_hash"`
	Exclude       string   `json:"exclude"`
	Traces        string   `json:"trace_hash,omitempty"` // of all runs of the grid
	Runs          int      `json:"runs"`
	Datasets      []string `json:"datasets,omitempty"`
	Methods       []string `json:"methods,omitempty"` // with their settings
	Budgets       []string `json:"budgets,omitempty"`
	Seeds         []uint64 `json:"seeds,omitempty"`
	Workers       int      `json:"workers,omitempty"`
	Clock         string   `json:"clock,omitempty"`
	Command       string   `json:"command,omitempty"`
	Go            string   `json:"go,omitempty"`

	// Settings are the flags that made the traces, nil if another command than
	// the comparison did.
	Settings      *settings         `json:"settings,omitempty"`
	DatasetHashes map[string]string `json:"data_set_hashes,omitempty"` // of the curves that could be chosen
	TraceHashes   map[string]string `json:"trace_hashes,omitempty"`    // by method

	Learning     []report.Learning `json:"learning,omitempty"`     // what methods learnt from
	Dependencies map[string]string `json:"dependencies,omitempty"` // versions
}

// outDir is a directory of results that this command may write to.
type outDir struct {
	dir      string
	from     replay.Provenance
	previous []*replay.Trace
}

// claim makes dir a directory of results, or continues the one that is there.
// It refuses a directory that holds anything else, or results from other data.
func claim(dir string, from replay.Provenance) (*outDir, error) {
	o := &outDir{dir: dir, from: from}
	old, err := readManifest(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
			return nil, cli.Inputf("--out %s holds files that this command did not make; choose another directory", dir)
		}
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, cli.Inputf("--out: %w", err)
		}
		return o, o.writeManifest(manifest{})
	case err != nil:
		return nil, cli.Inputf("--out: %w; choose another directory", err)
	case old.Data != from.Data || old.Exclude != from.Exclude:
		return nil, cli.Inputf("--out %s holds results on other data (%.12s, exclude %q); choose another directory", dir, old.Data, old.Exclude)
	}
	if _, err := os.Stat(filepath.Join(dir, replay.SumsFile)); errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	_, o.previous, err = replay.Load(dir)
	if err != nil {
		return nil, cli.Inputf("--out: %w; move the directory away to start again", err)
	}
	return o, nil
}

// save keeps the runs that are finished so far.
func (o *outDir) save(traces []*replay.Trace) error {
	return replay.Save(o.dir, o.from, traces)
}

// publish writes everything about a comparison whose runs are all finished: the
// traces of its grid and of further runs that the directory held before, the
// report and, last, the manifest. flags are those to run it again, nil if that
// takes another command.
func (o *outDir) publish(r *report.Report, x *replay.Experiment, flags *settings, traces, finished []*replay.Trace) error {
	inGrid := make(map[replay.Key]bool, len(traces))
	for _, t := range traces {
		inGrid[t.Key] = true
	}
	all := slices.Clone(traces)
	for _, t := range finished {
		if !inGrid[t.Key] {
			all = append(all, t)
		}
	}
	if err := o.save(all); err != nil {
		return err
	}
	if err := writePage(o.dir, reportStem, r.Page()); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(o.dir, jsonFile), r.JSON); err != nil {
		return err
	}
	files := make(map[string]func(io.Writer) error)
	for _, t := range r.Tables() {
		files[t.Name+".csv"] = t.Write
	}
	if err := fillFolder(filepath.Join(o.dir, tablesDir), files); err != nil {
		return err
	}
	m := manifest{
		Finished: true, Traces: r.TraceHash, Runs: len(traces), Seeds: x.Seeds,
		Workers: x.Workers, Clock: string(x.Clock), Command: r.Command, Go: runtime.Version(),
		Learning: r.Learning, Settings: flags, DatasetHashes: tableHashes(x.Tables), TraceHashes: methodHashes(traces),
		Dependencies: dependencies(),
	}
	for _, t := range x.Tables {
		m.Datasets = append(m.Datasets, t.Task.Name)
	}
	for _, method := range x.Methods {
		m.Methods = append(m.Methods, methodLine(method.Name, method.Details))
	}
	for _, b := range x.Budgets {
		m.Budgets = append(m.Budgets, cli.FormatBudget(b, r.Data.Unit))
	}
	return o.writeManifest(m)
}

// dependencies are the versions of the libraries in this program.
func dependencies() map[string]string {
	out := make(map[string]string)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			out[d.Path] = d.Version
		}
	}
	return out
}

// writePage writes a page as STEM.md and STEM.html, with its figures in a folder of their
// own.
func writePage(dir, stem string, p *report.Page) error {
	figures := make(map[string]func(io.Writer) error)
	for _, f := range p.Figures() {
		figures[f.Name+".svg"], figures[f.Name+".png"] = f.SVG, f.PNG
	}
	if err := fillFolder(filepath.Join(dir, figuresDir), figures); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, stem+".md"), func(w io.Writer) error { return p.Markdown(w, figuresDir) }); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, stem+".html"), p.HTML)
}

// fillFolder writes files to a folder and removes what an earlier report left
// there.
func fillFolder(dir string, files map[string]func(io.Writer) error) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	old, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range old {
		if files[e.Name()] == nil {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	// Each file waits for the disk.
	var group errgroup.Group
	group.SetLimit(8)
	for name, fill := range files {
		group.Go(func() error { return atomicfile.Write(filepath.Join(dir, name), fill) })
	}
	return group.Wait()
}

func readManifest(dir string) (manifest, error) {
	path := filepath.Join(dir, manifestFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return manifest{}, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	if m.Format != manifestFormat || m.FormatVersion != 1 {
		return manifest{}, fmt.Errorf("%s: format %q version %d, want %q version 1", path, m.Format, m.FormatVersion, manifestFormat)
	}
	return m, nil
}

// writeManifest completes m and writes it.
func (o *outDir) writeManifest(m manifest) error {
	m.Format, m.FormatVersion = manifestFormat, 1
	m.Data, m.Exclude = o.from.Data, o.from.Exclude
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(o.dir, manifestFile), append(data, '\n'))
}
