package importers

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// entry is one entry of a handmade archive.
type entry struct {
	name    string
	content string
	mode    fs.FileMode
	raw     *zip.FileHeader // written as it is, with content as the compressed bytes
}

func makeZip(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		var w io.Writer
		var err error
		if e.raw != nil {
			w, err = z.CreateRaw(e.raw)
		} else {
			h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
			if e.mode != 0 {
				h.SetMode(e.mode)
			}
			w, err = z.CreateHeader(h)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// importZip imports an archive called data.zip.
func importZip(t testing.TB, archive []byte, opts Options) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "data.zip")
	if err := os.WriteFile(file, archive, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := Import(context.Background(), file, opts)
	return err
}

func TestUnsafeArchivesAreRefused(t *testing.T) {
	good := compactFiles(sampleRuns(1)).zip(t, "extended")
	lying := func(h zip.FileHeader, content string) []byte {
		h.CRC32 = 1
		return makeZip(t, entry{content: content, raw: &h})
	}
	for _, c := range []struct {
		name    string
		archive []byte
		limits  Limits
		want    string
	}{
		{"parent", makeZip(t, entry{name: "../perf.json"}), Limits{}, `data.zip: entry "../perf.json" has a name that leaves the archive: the archive is unsafe`},
		{"inner parent", makeZip(t, entry{name: "a/../../perf.json"}), Limits{}, `data.zip: entry "a/../../perf.json" has a name that leaves the archive: the archive is unsafe`},
		{"absolute", makeZip(t, entry{name: "/etc/passwd"}), Limits{}, `data.zip: entry "/etc/passwd" has a name that leaves the archive: the archive is unsafe`},
		{"backslash", makeZip(t, entry{name: `..\perf.json`}), Limits{}, `data.zip: entry "..\\perf.json" has a name that is no path: the archive is unsafe`},
		{"drive", makeZip(t, entry{name: "C:perf.json"}), Limits{}, `data.zip: entry "C:perf.json" has a name that is no path: the archive is unsafe`},
		{"link", makeZip(t, entry{name: "perf.json", content: "/etc/passwd", mode: fs.ModeSymlink | 0o777}), Limits{}, `data.zip: entry "perf.json" is a link or a device: the archive is unsafe`},
		{"twice", makeZip(t, entry{name: "perf.json"}, entry{name: "perf.json"}), Limits{}, `data.zip: entry "perf.json" occurs twice`},
		{"encrypted", lying(zip.FileHeader{Name: "perf.json", Flags: 1}, "x"), Limits{}, `data.zip: entry "perf.json" is encrypted: unpack it first`},
		{"bomb", makeZip(t, entry{name: "perf.json", content: strings.Repeat("0", 4<<20)}), Limits{}, `data.zip: entry "perf.json" unpacks to more than 200 times its size: a zip bomb`},
		{"large file", good, Limits{File: 1000}, `data.zip: entry "extended/cost.json" unpacks to more than the limit of 1000 bytes`},
		{"large in all", good, Limits{Total: 3000}, `data.zip: unpacks to more than the limit of 2.93 KiB`},
		{"many files", good, Limits{Files: 3}, `data.zip: 4 entries, more than the limit of 3`},
		{"truncated", good[:len(good)/2], Limits{}, `data.zip: is not a valid zip file: truncated?`},
		{"damaged", damaged(good), Limits{}, `data.zip/extended/cost.json: does not match its checksum: the archive is damaged`},
		{"empty", makeZip(t), Limits{}, `data.zip: no known layout found: looked for perf.json, for eval_top1.json, for curve.csv, and for TaskSet JSON`},
		{"zip in a zip", makeZip(t, entry{name: "extended.zip", content: string(good)}), Limits{}, `data.zip: no layout found, but data.zip/extended.zip may hold one: import that file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := importZip(t, c.archive, Options{Limits: c.limits})
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v\nwant  %s", err, c.want)
			}
		})
	}
}

// damaged flips a bit in the middle of the stored content.
func damaged(archive []byte) []byte {
	z, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		panic(err)
	}
	// Stored, a flipped bit changes the content but not the structure.
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			panic(err)
		}
		out, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Store})
		if err != nil {
			panic(err)
		}
		if _, err := io.Copy(out, r); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	data := b.Bytes()
	// The first entry by name, cost.json, holds this digit string's start.
	at := bytes.Index(data, []byte(`": [`)) + 8
	data[at] ^= 1
	return data
}

// A header that announces less than the entry holds must not make the reader
// read on for ever: this entry announces 2 MiB and unpacks to 64 MiB.
func TestArchivesThatAnnounceTooLittleAreRefused(t *testing.T) {
	var packed bytes.Buffer
	z := zip.NewWriter(&packed)
	w, err := z.Create("x")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, `{"DOG": {`+strings.Repeat(" ", 64<<20))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.File[0].OpenRaw()
	if err != nil {
		t.Fatal(err)
	}
	deflated, err := io.ReadAll(raw)
	if err != nil {
		t.Fatal(err)
	}
	h := zip.FileHeader{Name: perfFile, Method: zip.Deflate, CompressedSize64: uint64(len(deflated)), UncompressedSize64: 2 << 20}
	archive := makeZip(t, entry{content: string(deflated), raw: &h}, entry{name: costFile, content: "{}"},
		entry{name: tableFile, content: "id\n"}, entry{name: descriptorsFile, content: "{}"})
	err = importZip(t, archive, Options{})
	want := "data.zip/perf.json: holds something else than the archive announces: the archive is damaged"
	if err == nil || err.Error() != want {
		t.Errorf("error %v\nwant  %s", err, want)
	}
}

func TestSourcesThatAreNoneAreExplained(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	missing := filepath.Join(dir, "nothing")
	lfs := write("lfs.zip", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
	html := write("page.zip", "\n<!DOCTYPE html><html></html>")
	half := compactFiles(sampleRuns(1)).with(costFile, "")
	tables := half.with(perfFile, "")
	for _, c := range []struct {
		from string
		opts Options
		want string
	}{
		{missing, Options{}, missing + ": no such file or directory"},
		{lfs, Options{}, "lfs.zip: is a Git LFS pointer, not the file itself: fetch it with git lfs pull or use its download address"},
		{html, Options{}, "page.zip: is a web page, not a zip or JSON file: use the address of the file itself (on GitHub: Download raw file)"},
		{write("void.zip", ""), Options{}, "void.zip: is empty"},
		{write("a.txt", "hello"), Options{}, "a.txt: is neither a zip nor a JSON file"},
		{write("b.json", `{"x": 1}`), Options{}, ".: no known layout found: looked for perf.json, for eval_top1.json, for curve.csv, and for TaskSet JSON"},
		{half.dir(t, "half"), Options{}, "half: no cost.json beside perf.json"},
		{tables.dir(t, "tables"), Options{}, "tables: configurations without curves: no perf.json and no cost.json beside table.csv"},
		{half.dir(t, "half"), Options{Format: TaskSet}, "half: no taskset layout found"},
		{dir, Options{SHA256: strings.Repeat("0", 64)}, dir + ": a folder has no checksum: give one only for a file or a URL"},
		{lfs, Options{SHA256: "12"}, `expected checksum "12" is not a SHA-256 in hexadecimal`},
		{lfs, Options{SHA256: strings.Repeat("0", 64)}, "lfs.zip: SHA-256 is " + shaOf("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n") + ", not the expected " + strings.Repeat("0", 64)},
		{"ftp://example.org/a.zip", Options{}, "ftp://example.org/a.zip: cannot fetch ftp addresses: use http or https"},
		{dir, Options{Format: "hdf5"}, `unknown layout "hdf5": use compact, released, qtt, taskset`},
		{dir, Options{Version: "huge"}, `unknown version "huge": use extended, micro, mini`},
		{dir, Options{CurveCap: -1}, `time cap of a curve is -1: use a number of seconds above 0`},
	} {
		_, _, err := Import(context.Background(), c.from, c.opts)
		if err == nil || err.Error() != c.want {
			t.Errorf("error %v\nwant  %s", err, c.want)
		}
	}
}

func shaOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

// flaky serves one file and misbehaves as told.
type flaky struct {
	content []byte
	etag    string
	// serve, if set, answers instead of the file.
	serve    func(w http.ResponseWriter, r *http.Request)
	requests []string // method, Range and If-Range of each
}

func (s *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests = append(s.requests, strings.TrimSpace(r.Header.Get("Range")+" "+r.Header.Get("If-Range")+r.Header.Get("If-None-Match")))
	if s.etag != "" {
		w.Header().Set("ETag", s.etag)
	}
	if s.serve != nil {
		s.serve(w, r)
		return
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(s.content))
}

// cut sends the announced length but only the first n bytes, then closes.
func (s *flaky) cut(n int) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(s.content)))
		w.Write(s.content[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func serve(t testing.TB, s *flaky) string {
	t.Helper()
	server := httptest.NewServer(s)
	server.Config.ErrorLog = nil
	t.Cleanup(server.Close)
	return server.URL + "/extended.zip"
}

// fetch imports a URL that serves the compact layout and returns the error
// without its address.
func fetch(t testing.TB, url string, opts Options) string {
	t.Helper()
	in, _, err := Import(context.Background(), url, opts)
	if err == nil {
		if len(in.Curves) != 8 {
			t.Errorf("%d curves, want 8", len(in.Curves))
		}
		return ""
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %v", err)
	}
	return strings.TrimPrefix(err.Error(), url+": ")
}

// names lists what a cache holds.
func names(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name()[strings.Index(e.Name(), "-")+1:])
	}
	return out
}

func TestDownloadContinuesWhereItEnded(t *testing.T) {
	s := &flaky{content: compactFiles(sampleRuns(1)).zip(t, "extended"), etag: `"v1"`}
	url := serve(t, s)
	cache := t.TempDir()
	n := len(s.content)
	first, second := n/3, n/2
	s.serve = s.cut(first)
	want := fmt.Sprintf("the connection ended after %s of %s: run again to continue", formatBytes(int64(first)), formatBytes(int64(n)))
	if got := fetch(t, url, Options{CacheDir: cache}); got != want {
		t.Fatalf("error %q\nwant  %q", got, want)
	}
	if diff := cmp.Diff([]string{"extended.zip.json", "extended.zip.lock", "extended.zip.part"}, names(t, cache)); diff != "" {
		t.Errorf("cache (-want +got):\n%s", diff)
	}
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, n-1, n))
		w.Header().Set("Content-Length", fmt.Sprint(n-first))
		w.WriteHeader(http.StatusPartialContent)
		w.Write(s.content[first:second])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	if got := fetch(t, url, Options{CacheDir: cache}); !strings.Contains(got, "ended after "+formatBytes(int64(second))) {
		t.Fatalf("error %q, want the end after %s", got, formatBytes(int64(second)))
	}
	s.serve = nil
	if got := fetch(t, url, Options{CacheDir: cache, SHA256: shaOf(string(s.content))}); got != "" {
		t.Fatal(got)
	}
	// Once whole, the server is only asked whether the file changed; with a
	// checksum it is not asked at all.
	if got := fetch(t, url, Options{CacheDir: cache}); got != "" {
		t.Fatal(got)
	}
	if got := fetch(t, url, Options{CacheDir: cache, SHA256: shaOf(string(s.content))}); got != "" {
		t.Fatal(got)
	}
	wantRequests := []string{"", fmt.Sprintf(`bytes=%d- "v1"`, first), fmt.Sprintf(`bytes=%d- "v1"`, second), `"v1"`}
	if diff := cmp.Diff(wantRequests, s.requests); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"extended.zip", "extended.zip.json", "extended.zip.lock"}, names(t, cache)); diff != "" {
		t.Errorf("cache (-want +got):\n%s", diff)
	}
}

func TestDownloadBeginsAnewWhenTheFileChanged(t *testing.T) {
	old := compactFiles(sampleRuns(1)).zip(t, "extended")
	s := &flaky{content: old, etag: `"v1"`}
	url := serve(t, s)
	cache := t.TempDir()
	s.serve = s.cut(len(old) / 2)
	fetch(t, url, Options{CacheDir: cache})
	s.content, s.etag, s.serve = compactFiles(sampleRuns(2)).zip(t, "extended"), `"v2"`, nil
	if got := fetch(t, url, Options{CacheDir: cache, SHA256: shaOf(string(s.content))}); got != "" {
		t.Fatal(got)
	}
	// And when a whole file changed.
	s.content, s.etag = old, `"v3"`
	if got := fetch(t, url, Options{CacheDir: cache, SHA256: shaOf(string(old))}); got != "" {
		t.Fatal(got)
	}
}

func TestDownloadBeginsAnewWhenTheServerAnswersAnotherRange(t *testing.T) {
	for name, wrong := range map[string]func(w http.ResponseWriter){
		"another start": func(w http.ResponseWriter) {
			w.Header().Set("Content-Range", "bytes 0-1/2")
			w.WriteHeader(http.StatusPartialContent)
		},
		"no range": func(w http.ResponseWriter) { w.WriteHeader(http.StatusPartialContent) },
		"not satisfiable": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &flaky{content: compactFiles(sampleRuns(1)).zip(t, "extended"), etag: `"v1"`}
			url := serve(t, s)
			cache := t.TempDir()
			s.serve = s.cut(100)
			fetch(t, url, Options{CacheDir: cache})
			s.serve = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Range") != "" {
					wrong(w)
					return
				}
				w.Write(s.content)
			}
			if got := fetch(t, url, Options{CacheDir: cache}); got != "" {
				t.Error(got)
			}
		})
	}
}

func TestDownloadsThatFailSayWhy(t *testing.T) {
	content := compactFiles(sampleRuns(1)).zip(t, "extended")
	status := func(code int) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	for _, c := range []struct {
		name  string
		serve func(w http.ResponseWriter, r *http.Request)
		opts  Options
		want  string
		keeps bool // something to continue with
	}{
		{"stalls in the middle", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "3000")
			w.Write(content[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, Options{StallTimeout: 100 * time.Millisecond}, "no data for 100ms after 1000 bytes of 2.93 KiB: run again to continue", true},
		{"never answers", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			Options{StallTimeout: 100 * time.Millisecond}, "no data for 100ms", false},
		{"ends early without a length", func(w http.ResponseWriter, r *http.Request) {
			w.Write(content[:1000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, Options{}, "the connection ended after 1000 bytes: run again to continue", true},
		{"not found", status(http.StatusNotFound), Options{}, "the server answers 404 Not Found", false},
		{"no range was asked for", status(http.StatusRequestedRangeNotSatisfiable), Options{}, "the server answers 416 Requested Range Not Satisfiable", false},
		{"announces too much", func(w http.ResponseWriter, r *http.Request) { w.Write(content[:1000]) },
			Options{Limits: Limits{Download: 999}}, "is 1000 bytes, more than the limit of 999 bytes", false},
		{"brings too much", func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			w.Write(content[:1000])
		}, Options{Limits: Limits{Download: 999}}, "brings more than the limit of 999 bytes", true},
		{"is a web page", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>log in</html>") },
			Options{}, "extended.zip: is a web page, not a zip or JSON file: use the address of the file itself (on GitHub: Download raw file)", false},
		{"is something else", func(w http.ResponseWriter, r *http.Request) { w.Write(content) },
			Options{SHA256: strings.Repeat("ab", 32)}, "extended.zip: SHA-256 is " + shaOf(string(content)) + ", not the expected " + strings.Repeat("ab", 32), false},
		{"is a torn zip file", func(w http.ResponseWriter, r *http.Request) { w.Write(content[:1000]) },
			Options{}, "extended.zip: is not a valid zip file: truncated?", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &flaky{serve: c.serve, etag: `"v1"`}
			cache := t.TempDir()
			c.opts.CacheDir = cache
			if got := fetch(t, serve(t, s), c.opts); got != c.want {
				t.Errorf("error %q\nwant  %q", got, c.want)
			}
			left := names(t, cache)
			var kept []string
			for _, name := range left {
				if name != "extended.zip.lock" {
					kept = append(kept, name)
				}
			}
			var want []string
			if c.keeps {
				want = []string{"extended.zip.json", "extended.zip.part"}
			}
			if diff := cmp.Diff(want, kept); diff != "" {
				t.Errorf("cache (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDownloadWithoutCacheLeavesNothing(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := &flaky{content: compactFiles(sampleRuns(1)).zip(t, "extended"), etag: `"v1"`}
	url := serve(t, s)
	if got := fetch(t, url, Options{}); got != "" {
		t.Fatal(got)
	}
	s.serve = s.cut(100)
	want := fmt.Sprintf("the connection ended after 100 bytes of %s", formatBytes(int64(len(s.content))))
	if got := fetch(t, url, Options{}); got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if left := names(t, os.TempDir()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestDownloadDoesNotMixWithAnother(t *testing.T) {
	s := &flaky{content: compactFiles(sampleRuns(1)).zip(t, "extended")}
	arrived, proceed := make(chan struct{}), make(chan struct{})
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-proceed
		w.Write(s.content)
	}
	url := serve(t, s)
	cache := t.TempDir()
	first := make(chan string)
	go func() { first <- fetch(t, url, Options{CacheDir: cache}) }()
	<-arrived
	want := "another import is downloading this file to " + cache + ": wait for it or use another cache folder"
	if got := fetch(t, url, Options{CacheDir: cache}); got != want {
		t.Errorf("error %q\nwant  %q", got, want)
	}
	close(proceed)
	if got := <-first; got != "" {
		t.Error(got)
	}
}

func TestDownloadIsCancelled(t *testing.T) {
	s := &flaky{content: compactFiles(sampleRuns(1)).zip(t, "extended"), etag: `"v1"`}
	ctx, cancel := context.WithCancel(context.Background())
	s.serve = func(w http.ResponseWriter, r *http.Request) {
		w.Write(s.content[:500])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	}
	cache := t.TempDir()
	_, _, err := Import(ctx, serve(t, s), Options{CacheDir: cache})
	if err != context.Canceled {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestCredentialsStayOutOfMessages(t *testing.T) {
	s := &flaky{serve: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }}
	url := strings.Replace(serve(t, s), "http://", "http://user:secret@", 1)
	_, _, err := Import(context.Background(), url, Options{})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Errorf("error %v", err)
	}
}
