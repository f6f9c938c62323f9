package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"quicktune/internal/cli"
	"quicktune/metadataset"
)

func newVerify(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "verify DIR",
		Short: "check every file, row and number of a meta-dataset",
		Long: `Verify reads a meta-dataset completely and prints each problem that it finds on
a line of its own, with file, row and reason. It exits with 2 if there is one.`,
		Example: "  go run ./benchmark verify results/extended",
		Args:    cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			problems := metadataset.Verify(args[0])
			for _, p := range problems {
				fmt.Fprintln(stdout, p)
			}
			if n := len(problems); n > 0 {
				return cli.Inputf("%s: %s", args[0], count(n, "problem"))
			}
			s, err := metadataset.Open(args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(stdout, "%s\nno problem found\n", summary(s))
			return nil
		},
	}
}

// datasetInfo is what info --json prints of one data set.
type datasetInfo struct {
	Name         string                  `json:"name"`
	TrainSamples int                     `json:"train_samples"`
	Classes      int                     `json:"classes"`
	Curves       int                     `json:"curves"`
	Epochs       int                     `json:"epochs"`
	SingleEpoch  int                     `json:"single_epoch_curves"`
	FullLength   int                     `json:"full_length_curves"`
	Time         float64                 `json:"time"`
	Best         float64                 `json:"best_score"`
	Worst        float64                 `json:"worst_score"`
	Ends         map[metadataset.End]int `json:"ends"`
}

// storeInfo is what info --json prints.
type storeInfo struct {
	Hash     string             `json:"hash"`
	Metric   metadataset.Metric `json:"metric"`
	TimeUnit string             `json:"time_unit"`
	Counts   metadataset.Counts `json:"counts"`
	Time     float64            `json:"time"`
	Notes    []string           `json:"notes"`
	Datasets []datasetInfo      `json:"datasets"`
}

func newInfo(stdout io.Writer) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "info DIR",
		Short:   "describe a meta-dataset and each of its data sets",
		Example: "  go run ./benchmark info results/extended",
		Args:    cli.Arguments(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := metadataset.Open(args[0])
			if err != nil {
				return cli.Input(err)
			}
			if asJSON {
				enc := json.NewEncoder(stdout)
				enc.SetIndent("", "  ")
				return enc.Encode(describe(s))
			}
			return printInfo(stdout, s)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON for a program to read")
	return c
}

func describe(s *metadataset.Store) storeInfo {
	info := storeInfo{
		Hash:     s.Manifest.Hash,
		Metric:   s.Manifest.Metric,
		TimeUnit: s.Manifest.TimeUnit,
		Counts:   s.Manifest.Counts,
		Notes:    s.Manifest.Notes,
	}
	for d, ds := range s.Datasets {
		st := s.Stats(d)
		info.Time += st.Seconds
		info.Datasets = append(info.Datasets, datasetInfo{
			Name: ds.Name, TrainSamples: ds.TrainSamples, Classes: ds.Classes,
			Curves: st.Curves, Epochs: st.Epochs, SingleEpoch: st.SingleEpoch, FullLength: st.FullLength,
			Time: st.Seconds, Best: st.Best, Worst: st.Worst, Ends: st.Ends,
		})
	}
	return info
}

func printInfo(stdout io.Writer, s *metadataset.Store) error {
	info := describe(s)
	fmt.Fprintf(stdout, "%s\n", summary(s))
	fmt.Fprintf(stdout, "made by %s\nmetric %s (%s), hash %s\n", s.Manifest.Generator, info.Metric.Column, info.Metric.Goal, info.Hash)
	for _, note := range info.Notes {
		fmt.Fprintf(stdout, "note: %s\n", note)
	}
	ends := map[metadataset.End]int{}
	w := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\ndata set\ttrain\tclasses\tcurves\tfull\tsingle\tepochs\t%s\tbest\tworst\t\n", timeHeading(info.TimeUnit))
	for _, d := range info.Datasets {
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%.4f\t%.4f\t\n", d.Name, known(d.TrainSamples), known(d.Classes),
			d.Curves, d.FullLength, d.SingleEpoch, d.Epochs, formatTime(d.Time, info.TimeUnit), d.Best, d.Worst)
		for end, n := range d.Ends {
			ends[end] += n
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprint(stdout, "\ncurves by end:")
	for _, end := range slices.Sorted(maps.Keys(ends)) {
		fmt.Fprintf(stdout, " %s %d", end, ends[end])
	}
	fmt.Fprintln(stdout)
	return nil
}

// summary is the line that every command prints about the meta-dataset it
// works on.
func summary(s *metadataset.Store) string {
	n := s.Manifest.Counts
	epochs, total := 0, 0.0
	single := 0
	for d := range s.Datasets {
		st := s.Stats(d)
		epochs += st.Epochs
		total += st.Seconds
		single += st.SingleEpoch
	}
	text := fmt.Sprintf("%s, %s, %s", count(n.Datasets, "data set"), count(n.Curves, "curve"), count(epochs, "epoch"))
	if s.Manifest.TimeUnit == string(cli.Seconds) {
		text += fmt.Sprintf(", %s hours", group(strconv.FormatFloat(total/3600, 'f', 1, 64)))
	}
	if single > 0 {
		text += fmt.Sprintf(" (%s of a single epoch)", count(single, "curve"))
	}
	return text
}

func timeHeading(unit string) string {
	if unit == string(cli.Seconds) {
		return "hours"
	}
	return "units"
}

func formatTime(t float64, unit string) string {
	if unit == string(cli.Seconds) {
		return strconv.FormatFloat(t/3600, 'f', 1, 64)
	}
	return strconv.FormatFloat(t, 'f', 0, 64)
}

func known(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// count writes a number of things: 1 curve, 3,555 curves.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return group(strconv.Itoa(n)) + " " + thing
}

// group puts a comma between thousands of a non-negative decimal number.
func group(digits string) string {
	whole, fraction, _ := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction == "" {
		return whole
	}
	return whole + "." + fraction
}
