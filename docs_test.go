package quicktune_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the outputs in the documents")

// documents are the pages whose commands a reader would type, in the order in
// which they are read: later ones use what earlier ones imported.
var documents = []string{"README.md", "docs/import.md", "docs/format-metadataset.md", "docs/format-traces.md",
	"docs/format-space.md", "docs/adding-a-method.md", "docs/adding-a-model.md", "docs/adding-a-dataset.md", "docs/tune.md", "docs/numbers.md"}

// fence is a fenced block of a document.
type fence struct {
	language   string
	path       string // the second word beside the language, "" if there is none
	text       string
	line       int // of its first line, from 1
	start, end int // of the text, in bytes
}

// fences returns the fenced blocks of a Markdown page.
func fences(page string) []fence {
	var out []fence
	var open *fence
	at := 0
	for i, line := range strings.SplitAfter(page, "\n") {
		if rest, ok := strings.CutPrefix(line, "```"); ok {
			if open == nil {
				open = &fence{line: i + 2, start: at + len(line)}
				open.language, open.path, _ = strings.Cut(strings.TrimSpace(rest), " ")
			} else {
				open.end = at
				open.text = page[open.start:open.end]
				out = append(out, *open)
				open = nil
			}
		}
		at += len(line)
	}
	return out
}

// goCommand stands for the go command: it runs the commands of this module from
// the binaries that the test built, and real tests with the files of the page.
const goCommand = `#!/bin/sh
case "$1 $2" in
"run ./benchmark" | "run ./generate" | "run ./tune") b=$BIN/${2#./}; shift 2; exec "$b" "$@" ;;
"test ./...") exit 0 ;;
"test "*) shift; cd "$ROOT" && exec "$REAL_GO" test -overlay "$OVERLAY" "$@" ;;
esac
echo "the test of the documents does not know: go $*" >&2
exit 1
`

// TestExamplesOfTheDocumentsRun runs every block of shell commands in the
// documents, from top to bottom, and compares the block of text that follows
// with what they print: results are the same to the last bit everywhere, so a
// page that shows anything else is out of date.
//
//	go test . -run Documents -update
//
// rewrites the pages. A line "..." stands for any number of lines.
func TestExamplesOfTheDocumentsRun(t *testing.T) {
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(root, "..", "shared", "data", "quicktune", "extended")
	if _, err := os.Stat(data); err != nil {
		missing(t, "the released curves that the examples import", err)
	}
	for _, tool := range []string{"go", "bash"} {
		if _, err := exec.LookPath(tool); err != nil {
			missing(t, tool, err)
		}
	}
	reader := newReader(t, root, data)
	for _, name := range documents {
		t.Run(name, func(t *testing.T) { reader.follow(t, filepath.Join(root, filepath.FromSlash(name))) })
	}
}

// missing skips the test for want of something, or fails in CI.
func missing(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s must be there in CI: %v", what, err)
	}
	t.Skipf("%s: not here: %v", what, err)
}

// reader is a person who follows the documents in a fresh clone.
type reader struct {
	root, tmp string
	env       []string
	replace   *strings.Replacer // of what stands for the reader's own
}

func newReader(t *testing.T, root, data string) *reader {
	t.Helper()
	tmp := t.TempDir()
	clone := filepath.Join(tmp, "main")
	must(t, os.MkdirAll(filepath.Join(tmp, "path"), 0o755))
	must(t, os.MkdirAll(clone, 0o755))
	must(t, os.WriteFile(filepath.Join(tmp, "path", "go"), []byte(goCommand), 0o755))
	shared, err := filepath.Abs(filepath.Join(root, "..", "shared"))
	must(t, err)
	must(t, os.Symlink(shared, filepath.Join(tmp, "shared")))
	must(t, os.MkdirAll(filepath.Join(clone, "results"), 0o755))
	for _, part := range []string{"embedded", "learnt"} {
		must(t, os.Symlink(filepath.Join(root, "results", part), filepath.Join(clone, "results", part)))
	}
	writeSamples(t, filepath.Join(clone, "downloads"))
	writePhotos(t, filepath.Join(clone, "photos"))

	archive := zipped(t, data)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := w.Write(archive); err != nil {
			t.Logf("serving the curves: %v", err)
		}
	}))
	t.Cleanup(server.Close)
	sum := sha256.Sum256(archive)

	realGo, err := exec.LookPath("go")
	must(t, err)
	built, err := exec.Command(realGo, "env", "GOCACHE").Output() // lies in XDG_CACHE_HOME otherwise
	must(t, err)
	return &reader{
		root: root, tmp: tmp,
		env: append(os.Environ(), "ROOT="+root, "REAL_GO="+realGo, "GOCACHE="+strings.TrimSpace(string(built)), "XDG_CACHE_HOME="+filepath.Join(tmp, "cache"),
			"PATH="+filepath.Join(tmp, "path")+string(os.PathListSeparator)+os.Getenv("PATH")),
		replace: strings.NewReplacer("https://example.org", server.URL, "SUM", hex.EncodeToString(sum[:])),
	}
}

// follow runs the commands of one page.
func (r *reader) follow(t *testing.T, path string) {
	page, err := os.ReadFile(path)
	must(t, err)
	text := string(page)
	blocks := fences(text)
	if !slices.ContainsFunc(blocks, func(b fence) bool { return b.language == "sh" }) {
		return
	}
	env := r.build(t, blocks)
	type edit struct {
		fence
		now string
	}
	var edits []edit
	for i, b := range blocks {
		if b.language != "sh" {
			continue
		}
		c := exec.Command("bash", "-e", "-o", "pipefail", "-c", r.replace.Replace(b.text))
		c.Dir, c.Env = filepath.Join(r.tmp, "main"), env
		var stderr bytes.Buffer
		c.Stderr = &stderr
		stdout, err := c.Output()
		if err != nil {
			t.Fatalf("%s:%d: %v\n%s%s%s", filepath.Base(path), b.line, err, b.text, stdout, stderr.Bytes())
		}
		if i+1 == len(blocks) || blocks[i+1].language != "text" {
			continue
		}
		shown, printed := blocks[i+1], trimLines(string(stdout))
		if matches(trimLines(shown.text), printed) {
			continue
		}
		if *update && !strings.Contains(shown.text, "...\n") {
			edits = append(edits, edit{shown, printed})
			continue
		}
		t.Errorf("%s:%d shows\n%s\nbut the commands print\n%s\n(go test . -run Documents -update rewrites the page)",
			filepath.Base(path), shown.line, shown.text, printed)
	}
	slices.Reverse(edits)
	for _, e := range edits {
		text = text[:e.start] + e.now + text[e.end:]
	}
	if len(edits) > 0 {
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
}

// build makes the commands that a page runs, as it changes them: blocks of Go
// whose first line is a comment with a path, and blocks with a path beside their
// language, are new files; blocks of diff are changes to the file they name.
func (r *reader) build(t *testing.T, blocks []fence) (env []string) {
	t.Helper()
	dir := t.TempDir()
	replaced, changed := map[string]string{}, map[string]string{}
	add := func(name, content string) {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		must(t, os.WriteFile(file, []byte(content), 0o644))
		replaced[filepath.Join(r.root, filepath.FromSlash(name))] = file
	}
	for _, b := range blocks {
		switch {
		case b.language == "diff":
			source, ok := changed[b.path]
			if !ok {
				data, err := os.ReadFile(filepath.Join(r.root, filepath.FromSlash(b.path)))
				must(t, err)
				source = string(data)
			}
			changed[b.path] = patched(t, source, b.text)
			add(b.path, changed[b.path])
		case b.path != "":
			add(b.path, b.text)
		case b.language == "go":
			first, _, _ := strings.Cut(b.text, "\n")
			if name, ok := strings.CutPrefix(first, "// "); ok && strings.HasSuffix(name, ".go") {
				add(name, b.text)
			}
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	must(t, err)
	overlayFile := filepath.Join(dir, "overlay.json")
	must(t, os.WriteFile(overlayFile, overlay, 0o644))
	if len(replaced) == 0 {
		dir = filepath.Join(r.tmp, "path")
	}
	for _, command := range []string{"benchmark", "generate", "tune"} {
		binary := filepath.Join(dir, command)
		runs := func(b fence) bool { return b.language == "sh" && strings.Contains(b.text, "go run ./"+command) }
		if _, err := os.Stat(binary); err == nil || !slices.ContainsFunc(blocks, runs) {
			continue
		}
		c := exec.Command("go", "build", "-overlay", overlayFile, "-o", binary, "./"+command)
		c.Dir = r.root
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("go build ./%s: %v\n%s", command, err, out)
		}
	}
	return append(slices.Clone(r.env), "OVERLAY="+overlayFile, "BIN="+dir)
}

// patched applies a block of diff, whose lines begin with a space, + or -.
func patched(t *testing.T, source, diff string) string {
	t.Helper()
	var before, after strings.Builder
	for line := range strings.Lines(diff) {
		if line[0] != '+' {
			before.WriteString(line[1:])
		}
		if line[0] != '-' {
			after.WriteString(line[1:])
		}
	}
	if strings.Count(source, before.String()) != 1 {
		t.Fatalf("the change does not fit the source:\n%s", diff)
	}
	return strings.Replace(source, before.String(), after.String(), 1)
}

// trimLines removes spaces at the ends of lines.
func trimLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// matches reports whether the text that a page shows is what was printed.
func matches(shown, printed string) bool {
	parts := strings.Split(shown, "...\n")
	for i, part := range parts {
		at := strings.Index(printed, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		printed = printed[at+len(part):]
	}
	return printed == "" || len(parts) > 1 && parts[len(parts)-1] == ""
}

func TestShownTextMatchesWhatWasPrinted(t *testing.T) {
	for _, c := range []struct {
		shown, printed string
		want           bool
	}{
		{"a\nb\n", "a\nb\n", true},
		{"a\nb\n", "a\nb\nc\n", false},
		{"b\n", "a\nb\n", false},
		{"a\n...\n", "a\nb\nc\n", true},
		{"a\n...\nc\n", "a\nb\nc\n", true},
		{"a\n...\nd\n", "a\nb\nc\n", false},
		{"...\nc\n", "a\nb\nc\n", true},
		{"", "a\n", false},
	} {
		if got := matches(c.shown, c.printed); got != c.want {
			t.Errorf("%q shown, %q printed: %v, want %v", c.shown, c.printed, got, c.want)
		}
	}
}

// writePhotos writes pictures of two classes.
func writePhotos(t *testing.T, dir string) {
	t.Helper()
	for i := range 40 {
		picture := image.NewRGBA(image.Rect(0, 0, 24, 24))
		paint := []color.RGBA{{R: 200, G: uint8(3 * i), A: 255}, {B: 200, G: uint8(3 * i), A: 255}}[i%2]
		draw.Draw(picture, picture.Bounds(), image.NewUniform(paint), image.Point{}, draw.Src)
		var b bytes.Buffer
		must(t, png.Encode(&b, picture))
		class := filepath.Join(dir, []string{"red", "blue"}[i%2])
		must(t, os.MkdirAll(class, 0o755))
		must(t, os.WriteFile(filepath.Join(class, fmt.Sprintf("%02d.png", i)), b.Bytes(), 0o644))
	}
}

// writeSamples writes small files in the layouts that the examples import.
func writeSamples(t *testing.T, dir string) {
	t.Helper()
	var config, curve, cost strings.Builder
	config.WriteString(",model,lr,dataset\n")
	curve.WriteString(",1,2,3\n")
	cost.WriteString(",cost\n")
	var tasks []map[string]any
	for i := range 12 {
		fmt.Fprintf(&config, "%d,%s,%g,%s\n", i, []string{"small", "large"}[i%2], 0.001*float64(i+1), []string{"birds", "cars"}[i/6])
		last := fmt.Sprintf("%g", 0.4+0.02*float64(i))
		if i == 4 {
			last = "" // ended early
		}
		fmt.Fprintf(&curve, "%d,0.2,%g,%s\n", i, 0.3+0.01*float64(i), last)
		fmt.Fprintf(&cost, "%d,%d\n", i, 30+i)
		var losses []float64
		for e := range 10 {
			losses = append(losses, 2.3/(1+0.1*float64(i*e)))
		}
		tasks = append(tasks, map[string]any{"hp": map[string]any{"learning_rate": 0.001 * float64(i+1)}, "valid": map[string]any{"loss": losses}})
	}
	task, err := json.Marshal(tasks)
	must(t, err)
	for name, content := range map[string]string{
		"qtt/config.csv": config.String(), "qtt/curve.csv": curve.String(), "qtt/cost.csv": cost.String(),
		"taskset/FixedTextRNNClassification_imdb.json": string(task),
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(file), 0o755))
		must(t, os.WriteFile(file, []byte(content), 0o644))
	}
}

// zipped packs the files of a folder.
func zipped(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	must(t, errors.Join(w.AddFS(os.DirFS(dir)), w.Close()))
	return b.Bytes()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
