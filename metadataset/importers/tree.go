package importers

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Limits bound what an import reads, so that a hostile or mistaken source
// cannot fill memory or disk. Sizes are bytes after decompression.
type Limits struct {
	Files    int     // entries of an archive or a folder
	File     int64   // one file
	Total    int64   // all entries of an archive; all files that are read
	Ratio    float64 // decompressed over compressed size of an entry above 1 MiB
	Download int64   // a download
}

// DefaultLimits returns the limits that zero fields take: 200,000 files, 1 GiB
// a file, 8 GiB in all, a ratio of 200, 8 GiB a download. The largest real
// archive, all three versions of Quick-Tune, stays far below.
func DefaultLimits() Limits {
	return Limits{Files: 200_000, File: 1 << 30, Total: 8 << 30, Ratio: 200, Download: 8 << 30}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Files == 0 {
		l.Files = d.Files
	}
	if l.File == 0 {
		l.File = d.File
	}
	if l.Total == 0 {
		l.Total = d.Total
	}
	if l.Ratio == 0 {
		l.Ratio = d.Ratio
	}
	if l.Download == 0 {
		l.Download = d.Download
	}
	return l
}

// ratioFloor is the decompressed size up to which any ratio is harmless.
const ratioFloor = 1 << 20

// tree is the list of files of a source and the way to read them.
type tree struct {
	name   string           // of the source, for messages
	files  []string         // slash-separated paths, sorted
	sizes  map[string]int64 // announced sizes
	open   func(file string) (io.ReadCloser, error)
	limits Limits
	total  int64 // bytes read so far
}

// newTree lists the files of a file system. Hidden files and folders are left
// out.
func newTree(name string, fsys fs.FS, limits Limits) (*tree, error) {
	t := &tree{name: name, sizes: map[string]int64{}, limits: limits,
		open: func(file string) (io.ReadCloser, error) { return fsys.Open(file) }}
	entries := 0
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entries++; entries > limits.Files {
			return fmt.Errorf("more than %d files", limits.Files)
		}
		if base := path.Base(p); p != "." && (strings.HasPrefix(base, ".") || base == "__MACOSX") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() {
			return nil
		}
		info, err := fs.Stat(fsys, p) // follows a link to a file
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		t.files = append(t.files, p)
		t.sizes[p] = info.Size()
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	slices.Sort(t.files)
	return t, nil
}

// newZipTree checks the directory of an archive and lists its files.
func newZipTree(name string, z *zip.Reader, limits Limits) (*tree, error) {
	t := &tree{name: name, sizes: map[string]int64{}, limits: limits}
	if len(z.File) > limits.Files {
		return nil, fmt.Errorf("%s: %d entries, more than the limit of %d", name, len(z.File), limits.Files)
	}
	byName := make(map[string]*zip.File, len(z.File))
	var total uint64
	for _, f := range z.File {
		if err := checkEntry(f, limits); err != nil {
			return nil, fmt.Errorf("%s: entry %q %w", name, f.Name, err)
		}
		if total += f.UncompressedSize64; total > uint64(limits.Total) {
			return nil, fmt.Errorf("%s: unpacks to more than the limit of %s", name, formatBytes(limits.Total))
		}
		if f.FileInfo().IsDir() {
			continue
		}
		if byName[f.Name] != nil {
			return nil, fmt.Errorf("%s: entry %q occurs twice", name, f.Name)
		}
		byName[f.Name] = f
		if hidden(f.Name) {
			continue
		}
		t.files = append(t.files, f.Name)
		t.sizes[f.Name] = int64(f.UncompressedSize64)
	}
	slices.Sort(t.files)
	t.open = func(file string) (io.ReadCloser, error) {
		f := byName[file]
		if f == nil {
			return nil, fs.ErrNotExist
		}
		r, err := f.Open()
		if errors.Is(err, zip.ErrAlgorithm) {
			return nil, fmt.Errorf("compressed with method %d, which is not supported: pack it again with deflate", f.Method)
		}
		return r, err
	}
	return t, nil
}

// checkEntry refuses entries that would leave the archive, that cannot be
// read, or that unpack to more than the limits.
func checkEntry(f *zip.File, limits Limits) error {
	name := strings.TrimSuffix(f.Name, "/")
	switch {
	case name == "" || strings.ContainsAny(name, "\\:") || strings.ContainsFunc(name, unicode.IsControl):
		return errors.New("has a name that is no path: the archive is unsafe")
	case !fs.ValidPath(name):
		return errors.New("has a name that leaves the archive: the archive is unsafe")
	case f.Mode()&fs.ModeType&^fs.ModeDir != 0:
		return errors.New("is a link or a device: the archive is unsafe")
	case f.Flags&1 != 0:
		return errors.New("is encrypted: unpack it first")
	case f.UncompressedSize64 > uint64(limits.File):
		return fmt.Errorf("unpacks to more than the limit of %s", formatBytes(limits.File))
	case f.UncompressedSize64 > ratioFloor && float64(f.UncompressedSize64) > limits.Ratio*float64(f.CompressedSize64):
		return fmt.Errorf("unpacks to more than %g times its size: a zip bomb", limits.Ratio)
	}
	return nil
}

// hidden reports whether a path has a part that begins with a dot, or is
// macOS' shadow of the real files.
func hidden(file string) bool {
	for part := range strings.SplitSeq(file, "/") {
		if strings.HasPrefix(part, ".") || part == "__MACOSX" {
			return true
		}
	}
	return false
}

// label returns the path of a file for messages: the source, then the file.
func (t *tree) label(file string) string {
	if t.name == "." {
		return file
	}
	if file == "." {
		return t.name
	}
	return path.Join(t.name, file)
}

// has reports whether the tree holds a file.
func (t *tree) has(file string) bool {
	_, ok := t.sizes[file]
	return ok
}

// chunk is how much is read between two looks at the context.
const chunk = 1 << 20

// read returns the content of a file and calls progress with the number of
// bytes of each piece. More data than announced or allowed is an error.
func (t *tree) read(ctx context.Context, file string, progress func(n int64)) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("%s: %w", t.label(file), plain(err)) }
	announced := t.sizes[file]
	if announced > t.limits.File {
		return fail(fmt.Errorf("%s, more than the limit of %s", formatBytes(announced), formatBytes(t.limits.File)))
	}
	r, err := t.open(file)
	if err != nil {
		return fail(err)
	}
	defer r.Close()
	data := make([]byte, 0, min(announced, 64<<20)+1)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		data = slices.Grow(data, 1)
		n, err := r.Read(data[len(data):min(cap(data), len(data)+chunk)])
		data = data[:len(data)+n]
		t.total += int64(n)
		if int64(len(data)) > announced {
			return fail(fmt.Errorf("holds more than the announced %s: is it being written?", formatBytes(announced)))
		}
		if t.total > t.limits.Total {
			return fail(fmt.Errorf("read more than the limit of %s in all", formatBytes(t.limits.Total)))
		}
		if n > 0 && progress != nil {
			progress(int64(n))
		}
		switch {
		case err == io.EOF:
			return data, nil
		case errors.Is(err, zip.ErrFormat):
			return fail(errors.New("holds something else than the archive announces: the archive is damaged"))
		case err != nil:
			return fail(err)
		}
	}
}

// head returns the first bytes of a file, at most n.
func (t *tree) head(file string, n int) ([]byte, error) {
	r, err := t.open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.label(file), plain(err))
	}
	defer r.Close()
	data := make([]byte, n)
	got, err := io.ReadFull(r, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return nil, fmt.Errorf("%s: %w", t.label(file), plain(err))
	}
	return data[:got], nil
}

// plain strips the path that an error of the operating system repeats, and
// says what an early end means.
func plain(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("ends early: truncated?")
	case errors.Is(err, zip.ErrChecksum):
		return errors.New("does not match its checksum: the archive is damaged")
	case errors.Is(err, zip.ErrFormat):
		return errors.New("is not a valid zip file: truncated?")
	}
	return err
}

// clip makes a name fit a message: short and on one line.
func clip(name string) string {
	const most = 100
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		name = strconv.Quote(name)
	}
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "..."
	}
	return name
}

// formatBytes writes a size as a person would.
func formatBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d bytes", n)
	}
	x, i := float64(n)/unit, 0
	for x >= unit && i < 3 {
		x /= unit
		i++
	}
	return fmt.Sprintf("%.4g %ciB", x, "KMGT"[i])
}
