package images

import (
	"archive/zip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"quicktune/generate/trainer"
)

// The files of the Meta-Album layout (Ullah et al., "Meta-Album: Multi-domain
// Meta-Dataset for Few-Shot Image Classification", NeurIPS 2022).
const (
	albumImages = "images"
	albumLabels = "labels.csv"
	albumInfo   = "info.json"
)

const (
	// maxArchiveBytes bounds what the pictures of an archive may unpack to.
	maxArchiveBytes = 64 << 30
	// maxTableBytes bounds labels.csv and info.json.
	maxTableBytes = 256 << 20
	// maxBroken is the share of broken pictures, one in maxBroken, beyond which
	// a data set is refused.
	maxBroken = 10
	// maxNamed is the number of broken pictures that are named each.
	maxNamed = 5
)

// labelled is a picture that is still a file.
type labelled struct{ file, class string }

// Load reads a directory or a zip archive, in one of two layouts:
//
//   - class folders: one folder a class, named as the class, with its pictures
//     in it or in folders below;
//   - Meta-Album: the pictures in images/, a table labels.csv with the columns
//     FILE_NAME and CATEGORY, and an optional info.json that names these columns
//     otherwise.
//
// One folder around either is looked through. The name of the set is that of
// the directory or archive, without .zip. Pictures are PNG, JPEG, GIF, BMP, TIFF
// or WebP; each is drawn on white where it is transparent and resized, whole, to
// the side that trainers take.
//
// A broken picture is left out and named in Warnings; more than one in ten is an
// error. So is a labels.csv that names a picture that is not there, or one
// twice. A class folder without pictures is left out with a warning. Two classes
// must remain.
//
// Pictures count as symmetric, as in the released code of Quick-Tune, which
// mirrors half of them whatever they show.
func Load(ctx context.Context, name string) (*Set, error) {
	s, err := load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("images %s: %w", name, err)
	}
	return s, nil
}

func load(ctx context.Context, name string) (*Set, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, plain(err)
	}
	s := &Set{Name: filepath.Base(filepath.Clean(name)), Symmetric: true}
	var files fs.FS
	if info.IsDir() {
		if s.Name == "." || s.Name == ".." || s.Name == string(filepath.Separator) {
			if full, err := filepath.Abs(name); err == nil {
				s.Name = filepath.Base(full)
			}
		}
		files = os.DirFS(name)
	} else {
		if !info.Mode().IsRegular() {
			return nil, errors.New("neither a directory nor a zip archive")
		}
		z, err := zip.OpenReader(name)
		if err != nil {
			return nil, fmt.Errorf("not a zip archive that can be read: %w", err)
		}
		defer z.Close()
		if err := checkArchive(&z.Reader); err != nil {
			return nil, err
		}
		if ext := path.Ext(s.Name); strings.EqualFold(ext, ".zip") {
			s.Name = strings.TrimSuffix(s.Name, ext)
		}
		files = &z.Reader
	}
	s.Name = strings.ToValidUTF8(s.Name, "?")
	return s, s.read(ctx, files)
}

// plain drops the name of the file from an error that is about the path itself.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// checkArchive refuses archives that try to be more than a folder of pictures.
// Nothing is ever extracted, so a name that leads out of the archive could do no
// harm; it still means that somebody tried. Names in an old encoding become
// UTF-8, byte by byte.
func checkArchive(z *zip.Reader) error {
	var total uint64
	for _, f := range z.File {
		f.Name = strings.ReplaceAll(f.Name, `\`, "/")
		if !utf8.ValidString(f.Name) {
			runes := make([]rune, len(f.Name))
			for i := range len(f.Name) {
				runes[i] = rune(f.Name[i])
			}
			f.Name = string(runes)
		}
		if !fs.ValidPath(strings.TrimSuffix(f.Name, "/")) {
			return fmt.Errorf("the entry %q does not lie inside the archive", f.Name)
		}
		if total += f.UncompressedSize64; total > maxArchiveBytes || f.UncompressedSize64 > maxArchiveBytes {
			return fmt.Errorf("the archive unpacks to more than %d GiB", maxArchiveBytes>>30)
		}
	}
	return nil
}

func (s *Set) read(ctx context.Context, files fs.FS) error {
	files, err := unwrap(files)
	if err != nil {
		return err
	}
	var list []labelled
	if _, err := fs.Stat(files, albumLabels); err == nil {
		list, err = s.album(files)
		if err != nil {
			return err
		}
	} else if list, err = s.folders(files); err != nil {
		return err
	}
	return s.decode(ctx, files, list)
}

// entries lists the folders and the pictures of a directory, sorted, with links
// followed. Hidden entries and the __MACOSX folder of archives are left out.
func entries(files fs.FS, dir string) (folders, pictures []string, err error) {
	list, err := fs.ReadDir(files, dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range list {
		name := path.Join(dir, e.Name())
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "__MACOSX" {
			continue
		}
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			if info, err := fs.Stat(files, name); err == nil {
				isDir = info.IsDir()
			}
		}
		switch {
		case isDir:
			folders = append(folders, name)
		case isPicture(name):
			pictures = append(pictures, name)
		}
	}
	return folders, pictures, nil
}

// unwrap steps into a single folder that is around a data set.
func unwrap(files fs.FS) (fs.FS, error) {
	for range 4 {
		folders, pictures, err := entries(files, ".")
		if err != nil {
			return nil, err
		}
		if _, err := fs.Stat(files, albumLabels); err == nil || len(folders) != 1 || len(pictures) > 0 {
			return files, nil
		}
		inner, err := fs.Sub(files, folders[0])
		if err != nil {
			return nil, err
		}
		_, err = fs.Stat(inner, albumLabels)
		below, _, dirErr := entries(inner, ".")
		if dirErr != nil {
			return nil, dirErr
		}
		if err != nil && len(below) == 0 {
			return files, nil // one class
		}
		files = inner
	}
	return files, nil
}

// ready are the names of the parts that others split their data into.
var ready = []string{"train", "training", "val", "valid", "validation", "test", "testing"}

// folders lists the pictures of class folders.
func (s *Set) folders(files fs.FS) ([]labelled, error) {
	classes, loose, err := entries(files, ".")
	if err != nil {
		return nil, err
	}
	if len(classes) == 0 {
		if len(loose) > 0 {
			return nil, fmt.Errorf("%d pictures, but neither class folders nor a %s: put the pictures of each class in a folder of its name", len(loose), albumLabels)
		}
		return nil, fmt.Errorf("neither class folders nor a %s", albumLabels)
	}
	if len(classes) > 1 && !slices.ContainsFunc(classes, func(c string) bool { return !slices.Contains(ready, strings.ToLower(c)) }) {
		return nil, fmt.Errorf("the folders %s are parts, not classes: a data set is split here; name the folder with the classes, or put the parts together", strings.Join(classes, ", "))
	}
	if len(loose) > 0 {
		s.warn("%d pictures beside the class folders, such as %s, have no class", len(loose), loose[0])
	}
	var list []labelled
	for _, class := range classes {
		found, err := pictures(files, class, 0)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			s.warn("class %q has no picture", class)
		}
		for _, f := range found {
			list = append(list, labelled{f, class})
		}
	}
	return list, nil
}

// maxDepth bounds how deep folders are looked through, should links form a ring.
const maxDepth = 16

func pictures(files fs.FS, dir string, depth int) ([]string, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: more than %d folders deep", dir, maxDepth)
	}
	folders, found, err := entries(files, dir)
	if err != nil {
		return nil, err
	}
	for _, f := range folders {
		below, err := pictures(files, f, depth+1)
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// readAll reads a small file whole.
func readAll(files fs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, plain(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxTableBytes+1))
	if err == nil && len(data) > maxTableBytes {
		err = fmt.Errorf("more than %d MiB", maxTableBytes>>20)
	}
	return data, plain(err)
}

// album lists the pictures that labels.csv names.
func (s *Set) album(files fs.FS) ([]labelled, error) {
	fileColumn, classColumn := "FILE_NAME", "CATEGORY"
	data, err := readAll(files, albumInfo)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("%s: %w", albumInfo, err)
	default:
		var info struct {
			Images string `json:"images_column_name"`
			Class  string `json:"category_column_name"`
		}
		if err := json.Unmarshal(data, &info); err != nil {
			return nil, fmt.Errorf("%s: %w", albumInfo, err)
		}
		if info.Images != "" {
			fileColumn = info.Images
		}
		if info.Class != "" {
			classColumn = info.Class
		}
	}
	data, err = readAll(files, albumLabels)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", albumLabels, err)
	}
	list, err := parseLabels(data, fileColumn, classColumn)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", albumLabels, err)
	}
	present, err := pictures(files, albumImages, 0)
	if err != nil {
		return nil, fmt.Errorf("%s names pictures, but the folder %s cannot be read: %w", albumLabels, albumImages, plain(err))
	}
	unlabelled := make(map[string]bool, len(present))
	for _, f := range present {
		unlabelled[f] = true
	}
	for i, l := range list {
		if !unlabelled[l.file] {
			// Rows are counted as lines of the file, with the header as the first.
			return nil, fmt.Errorf("%s, row %d: there is no picture %s", albumLabels, i+2, l.file)
		}
		delete(unlabelled, l.file)
	}
	if n := len(unlabelled); n > 0 {
		s.warn("%d pictures, such as %s, are not in %s", n, slices.Min(slices.Collect(maps.Keys(unlabelled))), albumLabels)
	}
	slices.SortFunc(list, func(a, b labelled) int { return strings.Compare(a.file, b.file) })
	return list, nil
}

// parseLabels reads the table of a Meta-Album set. It accepts a byte order mark
// and further columns, and refuses a picture that is named twice, leads out of
// the folder or has no class.
func parseLabels(data []byte, fileColumn, classColumn string) ([]labelled, error) {
	text := strings.TrimPrefix(string(data), "\ufeff")
	r := csv.NewReader(strings.NewReader(text))
	r.ReuseRecord = true
	r.FieldsPerRecord = 0
	header, err := r.Read()
	if err == io.EOF {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, err
	}
	file, class := slices.Index(header, fileColumn), slices.Index(header, classColumn)
	for _, c := range []struct {
		at   int
		name string
	}{{file, fileColumn}, {class, classColumn}} {
		if c.at < 0 {
			return nil, fmt.Errorf("no column %s; the header is %q", c.name, strings.Join(header, ","))
		}
	}
	var list []labelled
	seen := make(map[string]int)
	for row := 2; ; row++ {
		rec, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		fail := func(format string, args ...any) ([]labelled, error) {
			return nil, fmt.Errorf("row %d: %s", row, fmt.Sprintf(format, args...))
		}
		name := path.Join(albumImages, rec[file])
		switch {
		case rec[file] == "":
			return fail("no name of a picture")
		case rec[class] == "":
			return fail("picture %s has no class", rec[file])
		case !fs.ValidPath(name) || !strings.HasPrefix(name, albumImages+"/"):
			return fail("%q is no picture in %s", rec[file], albumImages)
		case !isPicture(name):
			return fail("%s is not in a format that can be read (%s)", rec[file], strings.Join(extensions, " "))
		case seen[name] > 0:
			return fail("picture %s is in row %d already", rec[file], seen[name])
		}
		seen[name] = row
		list = append(list, labelled{name, strings.Clone(rec[class])})
	}
	if len(list) == 0 {
		return nil, errors.New("no rows below the header")
	}
	return list, nil
}

func (s *Set) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, strings.ToValidUTF8(fmt.Sprintf(format, args...), "?"))
}

// decode reads the pictures on all cores and fills s with them in the order of
// the list.
func (s *Set) decode(ctx context.Context, files fs.FS, list []labelled) error {
	results := make([]decoded, len(list))
	failures := make([]error, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	const batch = 64
	for lo := 0; lo < len(list); lo += batch {
		g.Go(func() error {
			for i := lo; i < min(lo+batch, len(list)); i++ {
				if err := ctx.Err(); err != nil {
					return err
				}
				results[i], failures[i] = decode(files, list[i].file)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	broken := 0
	for i, err := range failures {
		if err == nil {
			continue
		}
		if broken++; broken <= maxNamed {
			s.warn("broken picture %s: %v", list[i].file, plain(err))
		}
	}
	if broken > maxNamed {
		s.warn("%d more broken pictures", broken-maxNamed)
	}
	if broken*maxBroken > len(list) {
		return fmt.Errorf("%d of %d pictures cannot be read; the first: %s", broken, len(list),
			strings.TrimPrefix(s.Warnings[slices.IndexFunc(s.Warnings, func(w string) bool { return strings.HasPrefix(w, "broken") })], "broken picture "))
	}
	count := make(map[string]int)
	for i, l := range list {
		count[l.class] += 0
		if failures[i] == nil {
			count[l.class]++
		}
	}
	index := make(map[string]int)
	for _, class := range slices.Sorted(maps.Keys(count)) {
		if count[class] == 0 {
			s.warn("class %q has no picture that can be read", class)
			continue
		}
		index[class] = len(s.Classes)
		s.Classes = append(s.Classes, class)
	}
	var widths []int
	s.Channels = 1
	s.Pixels = make([]uint8, 0, (len(list)-broken)*trainer.Pixels)
	for i, d := range results {
		if failures[i] != nil {
			continue
		}
		s.Pixels = append(s.Pixels, d.pix...)
		s.Labels = append(s.Labels, index[list[i].class])
		widths = append(widths, d.width)
		if !d.grey {
			s.Channels = 3
		}
		results[i] = decoded{}
	}
	if err := s.check(); err != nil {
		return err
	}
	slices.Sort(widths)
	s.Width = widths[len(widths)/2]
	return nil
}
