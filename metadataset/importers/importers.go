package importers

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"quicktune/metadataset"
)

// Format is a layout that the package reads.
type Format string

// The layouts; the package documentation describes them.
const (
	Compact  Format = "compact"  // perf.json, cost.json, table.csv, descriptors.json
	Released Format = "released" // the authors' eval_top1.json, eval_time.json, ...
	QTT      Format = "qtt"      // config.csv, curve.csv, cost.csv, meta.csv
	TaskSet  Format = "taskset"  // JSON lists of {hp, train, valid, test}
)

// Formats lists the layouts in the order in which they are looked for.
var Formats = []Format{Compact, Released, QTT, TaskSet}

// Versions of the Quick-Tune meta-dataset, with the time cap of one curve in
// seconds and the number of epochs that a curve is planned for.
var versionCaps = map[string]float64{"micro": 3600, "mini": 14400, "extended": 57600}

// quickTuneEpochs is the planned length of every Quick-Tune curve.
const quickTuneEpochs = 50

// Options say how to import. The zero value detects everything and bounds what
// is read by [DefaultLimits].
type Options struct {
	// Format is the layout; "" detects it.
	Format Format
	// Version is micro, mini or extended, for Compact and Released. It chooses
	// among several and is an error if the source says that it is another; ""
	// finds it from names and descriptors.
	Version string
	// CurveCap is the time limit of one curve in seconds, which tells curves
	// that it cut from others that ended early. 0 takes that of the version.
	CurveCap float64
	// Hessians adds the 7,680 numbers a data set that Released calls hessians
	// to the meta-features. Without it they are skipped.
	Hessians bool
	// TrimPadding drops epochs of QTT curves that repeat the last value to the
	// end, which some tools write behind a curve that ended early. Without it
	// they are kept and counted in a warning.
	TrimPadding bool

	// SHA256 is the expected checksum of the file or download in hexadecimal;
	// "" checks nothing.
	SHA256 string
	// CacheDir keeps downloads, so that an interrupted one is continued and a
	// finished one is not fetched again if the server says that it did not
	// change. "" downloads to a temporary folder that is removed.
	CacheDir string
	// Client makes the requests; nil means [http.DefaultClient].
	Client *http.Client
	// StallTimeout ends a download that brings no data for that long; 0 means
	// 30 seconds.
	StallTimeout time.Duration
	// Limits bound what is read; zero fields take those of [DefaultLimits].
	Limits Limits
	// Progress, if set, is called now and then from the importing goroutine.
	Progress func(Progress)
}

// Progress tells how far an import is.
type Progress struct {
	Phase string // "download" or "read"
	Done  int64  // bytes
	Total int64  // bytes, -1 if unknown
}

// Warning is something that a person should know about the source and that is
// no error.
type Warning struct {
	Place string // file, or "" for the whole source
	Text  string
}

// String returns the warning on one line, the place first.
func (w Warning) String() string {
	if w.Place == "" {
		return w.Text
	}
	return w.Place + ": " + w.Text
}

// Report tells what an import found.
type Report struct {
	Source  string // where it came from, without credentials
	Format  Format
	Version string // micro, mini or extended; "" if the source does not tell
	SHA256  string // of the zip or JSON file, "" for a folder
	Files   []string

	Datasets    int
	Curves      int
	Epochs      int
	Seconds     float64 // sum over all epochs, 0 if the source has no times
	SingleEpoch int     // curves of exactly one epoch
	Ends        map[metadataset.End]int

	Warnings []Warning
}

// warnf adds a warning.
func (r *Report) warnf(place, format string, args ...any) {
	r.Warnings = append(r.Warnings, Warning{Place: place, Text: fmt.Sprintf(format, args...)})
}

// count fills in the totals.
func (r *Report) count(in *metadataset.Input) {
	r.Datasets = len(in.Datasets)
	r.Curves = len(in.Curves)
	r.Ends = map[metadataset.End]int{}
	for i := range in.Curves {
		c := &in.Curves[i]
		n := 0
		for _, values := range c.Values {
			n = len(values)
			break
		}
		r.Epochs += n
		if n == 1 {
			r.SingleEpoch++
		}
		r.Ends[c.End]++
		for _, s := range c.Values[metadataset.Seconds] {
			r.Seconds += float64(s)
		}
	}
}

// Import reads the source from, a path or an http(s) URL. Every error is one
// line that names the file and, where there is one, the place in it; then the
// Input is empty.
func Import(ctx context.Context, from string, opts Options) (metadataset.Input, Report, error) {
	fail := func(err error) (metadataset.Input, Report, error) {
		return metadataset.Input{}, Report{}, err
	}
	if opts.Format != "" && !slices.Contains(Formats, opts.Format) {
		return fail(fmt.Errorf("unknown layout %q: use %s", opts.Format, join(Formats)))
	}
	if _, ok := versionCaps[opts.Version]; !ok && opts.Version != "" {
		return fail(fmt.Errorf("unknown version %q: use %s", opts.Version, join(slices.Sorted(maps.Keys(versionCaps)))))
	}
	if !(opts.CurveCap >= 0) {
		return fail(fmt.Errorf("time cap of a curve is %g: use a number of seconds above 0", opts.CurveCap))
	}
	src, err := openSource(ctx, from, &opts)
	if err != nil {
		return fail(err)
	}
	defer src.close()
	in, report, err := importTree(ctx, src.tree, &opts)
	if err != nil {
		return fail(err)
	}
	report.Source, report.SHA256 = src.display, src.sha256
	return in, report, nil
}

// importTree imports from an opened source.
func importTree(ctx context.Context, t *tree, opts *Options) (metadataset.Input, Report, error) {
	fail := func(err error) (metadataset.Input, Report, error) {
		return metadataset.Input{}, Report{}, err
	}
	spot, err := locate(t, opts.Format, opts.Version)
	if err != nil {
		return fail(err)
	}
	im := &importer{
		ctx: ctx, tree: t, spot: spot, opts: opts,
		report: Report{Format: spot.format},
	}
	var in metadataset.Input
	switch spot.format {
	case Compact:
		in, err = im.compact()
	case Released:
		in, err = im.released()
	case QTT:
		in, err = im.qtt()
	case TaskSet:
		in, err = im.taskSet()
	}
	if err != nil {
		return fail(err)
	}
	im.report.count(&in)
	return in, im.report, nil
}

// importer is one import under way.
type importer struct {
	ctx    context.Context
	tree   *tree
	spot   spot
	opts   *Options
	report Report

	readTotal int64 // bytes of the files that will be read
	readDone  int64
}

// plan announces the files that will be read, for the progress display.
func (im *importer) plan(files ...string) {
	for _, f := range files {
		im.readTotal += im.tree.sizes[f]
		im.report.Files = append(im.report.Files, f)
	}
}

// read returns the content of a file.
func (im *importer) read(file string) ([]byte, error) {
	return im.tree.read(im.ctx, file, func(n int64) {
		im.readDone += n
		if im.opts.Progress != nil {
			im.opts.Progress(Progress{Phase: "read", Done: im.readDone, Total: im.readTotal})
		}
	})
}

// scan returns a scanner on a file.
func (im *importer) scan(file string) (*scanner, error) {
	data, err := im.read(file)
	if err != nil {
		return nil, err
	}
	return newScanner(im.tree.label(file), data), nil
}

// join lists words for a message.
func join[T ~string](words []T) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(w))
	}
	return b.String()
}

// inDir returns the path of a file of the spot.
func (im *importer) inDir(name string) string { return path.Join(im.spot.dir, name) }
