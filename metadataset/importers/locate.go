package importers

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"
)

// spot is where a layout was found.
type spot struct {
	format Format
	dir    string
	files  []string // TaskSet: the task files
}

// Files of the layouts.
const (
	perfFile        = "perf.json"
	costFile        = "cost.json"
	tableFile       = "table.csv"
	descriptorsFile = "descriptors.json"

	evalTop1File    = "eval_top1.json"
	evalTimeFile    = "eval_time.json"
	trainTimeFile   = "train_time.json"
	argsFile        = "args.json"
	metaFeatureFile = "meta-features.json"

	configFile   = "config.csv"
	pipelineFile = "pipeline.csv" // an older name of config.csv
	curveFile    = "curve.csv"
	metaFile     = "meta.csv"
	qttCostFile  = "cost.csv"
)

// argsTables are the names of the cached table of arguments, best first.
var argsTables = []string{"unnormalized_args_table.csv", "args_table.csv"}

// signature tells what files make a layout: every group needs one of its
// files. A folder that holds a file of the first group is meant to be one.
type signature struct {
	format Format
	groups [][]string
}

var signatures = []signature{
	{Compact, [][]string{{perfFile}, {costFile}, {tableFile}, {descriptorsFile}}},
	{Released, [][]string{{evalTop1File}, {evalTimeFile}, {trainTimeFile}, append([]string{argsFile}, argsTables...)}},
	{QTT, [][]string{{curveFile}, {configFile, pipelineFile}, {qttCostFile}}},
}

// missing lists the groups of which dir has no file.
func (s signature) missing(t *tree, dir string) []string {
	var out []string
	for _, group := range s.groups {
		if !slices.ContainsFunc(group, func(f string) bool { return t.has(path.Join(dir, f)) }) {
			out = append(out, strings.Join(group, " or "))
		}
	}
	return out
}

// locate finds the one layout in the tree. format and version narrow the
// choice if they are not empty.
func locate(t *tree, format Format, version string) (spot, error) {
	var spots []spot
	var incomplete []string
	for _, sig := range signatures {
		if format != "" && format != sig.format {
			continue
		}
		for _, file := range t.files {
			if !slices.Contains(sig.groups[0], path.Base(file)) {
				continue
			}
			dir := path.Dir(file)
			if missing := sig.missing(t, dir); len(missing) > 0 {
				incomplete = append(incomplete, fmt.Sprintf("%s: no %s beside %s", t.label(dir), strings.Join(missing, ", no "), path.Base(file)))
				continue
			}
			spots = append(spots, spot{format: sig.format, dir: dir})
		}
	}
	if len(spots) > 1 && version != "" {
		named := slices.DeleteFunc(slices.Clone(spots), func(s spot) bool { return versionOfPath(s.dir) != version })
		if len(named) > 0 {
			spots = named
		}
	}
	if len(spots) == 0 && (format == "" || format == TaskSet) {
		found, err := locateTaskSet(t)
		if err != nil {
			return spot{}, err
		}
		spots = append(spots, found...)
	}
	switch {
	case len(spots) == 1:
		return spots[0], nil
	case len(spots) > 1:
		var words []string
		for _, s := range spots {
			words = append(words, fmt.Sprintf("%s (%s)", s.dir, s.format))
		}
		return spot{}, fmt.Errorf("%s: holds %d meta-datasets, %s: choose one by its version, its layout or its folder",
			t.name, len(spots), strings.Join(words, ", "))
	case len(incomplete) > 0:
		return spot{}, fmt.Errorf("%s", incomplete[0])
	}
	return spot{}, nothingFound(t, format)
}

// nothingFound explains why a tree holds no layout.
func nothingFound(t *tree, format Format) error {
	for _, file := range t.files {
		dir := path.Dir(file)
		if (format == "" || format == Compact) && path.Base(file) == tableFile && t.has(path.Join(dir, descriptorsFile)) {
			return fmt.Errorf("%s: configurations without curves: no %s and no %s beside %s", t.label(dir), perfFile, costFile, tableFile)
		}
	}
	for _, file := range t.files {
		if path.Ext(file) == ".zip" {
			return fmt.Errorf("%s: no layout found, but %s may hold one: import that file", t.name, t.label(file))
		}
	}
	if format != "" {
		return fmt.Errorf("%s: no %s layout found", t.name, format)
	}
	return fmt.Errorf("%s: no known layout found: looked for %s, for %s, for %s, and for TaskSet JSON", t.name,
		perfFile, evalTop1File, curveFile)
}

// sniffed is how many bytes of a JSON file decide whether it is a task.
const sniffed = 4096

// isTaskSet reports whether a document begins like a TaskSet file: a list
// whose first element has the key hp, train, valid or test.
func isTaskSet(head []byte) bool {
	s := newScanner("", head)
	if !s.consume('[') {
		return false
	}
	if s.consume(']') {
		return true // an empty list: the importer will say so
	}
	if !s.consume('{') {
		return false
	}
	key, err := s.text()
	return err == nil && (key == "hp" || key == "train" || key == "valid" || key == "test")
}

// locateTaskSet finds the folder of task files.
func locateTaskSet(t *tree) ([]spot, error) {
	byDir := map[string][]string{}
	for _, file := range t.files {
		if !strings.EqualFold(path.Ext(file), ".json") {
			continue
		}
		head, err := t.head(file, sniffed)
		if err != nil {
			return nil, err
		}
		if isTaskSet(head) {
			byDir[path.Dir(file)] = append(byDir[path.Dir(file)], file)
		}
	}
	var spots []spot
	for dir, files := range byDir {
		spots = append(spots, spot{format: TaskSet, dir: dir, files: files})
	}
	slices.SortFunc(spots, func(a, b spot) int { return strings.Compare(a.dir, b.dir) })
	return spots, nil
}

// versionOfPath returns the version that a path names, "" if it names none.
func versionOfPath(p string) string {
	parts := strings.FieldsFunc(strings.ToLower(p), func(r rune) bool {
		return r == '/' || r == '\\' || r == '_' || r == '-' || r == '.'
	})
	slices.Reverse(parts)
	for _, part := range parts {
		if _, ok := versionCaps[part]; ok {
			return part
		}
	}
	return ""
}

// notData explains content that is neither a zip file nor JSON, "" if it may
// be JSON.
func notData(head []byte) string {
	text := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))))
	switch {
	case len(text) == 0:
		return "is empty"
	case bytes.HasPrefix(text, []byte("<")):
		return "is a web page, not a zip or JSON file: use the address of the file itself (on GitHub: Download raw file)"
	case bytes.HasPrefix(text, []byte("version https://git-lfs")):
		return "is a Git LFS pointer, not the file itself: fetch it with git lfs pull or use its download address"
	case text[0] == '[' || text[0] == '{':
		return ""
	}
	return "is neither a zip nor a JSON file"
}
