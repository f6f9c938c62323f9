package images

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"pgregory.net/rapid"

	"quicktune/generate/trainer"
	"quicktune/internal/realdata"
)

// picture encodes a small picture that is different for every number.
func picture(n int, encode func(io.Writer, image.Image) error) []byte {
	m := image.NewNRGBA(image.Rect(0, 0, 9, 7))
	for i := range m.Pix {
		m.Pix[i] = uint8(n*37 + i*11)
		if i%4 == 3 {
			m.Pix[i] = 255
		}
	}
	var b bytes.Buffer
	if err := encode(&b, m); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func pngOf(n int) []byte { return picture(n, png.Encode) }

type tree map[string][]byte

// folder writes a tree into a directory.
func (t tree) folder(tb testing.TB, name string) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), name)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		tb.Fatal(err)
	}
	for f, data := range t {
		full := filepath.Join(dir, filepath.FromSlash(f))
		if strings.HasSuffix(f, "/") {
			if err := os.MkdirAll(full, 0o777); err != nil {
				tb.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o777); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(full, data, 0o666); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// archive writes a tree into a zip archive, under a folder if prefix is given.
func (t tree) archive(tb testing.TB, name, prefix string) string {
	tb.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	names := make([]string, 0, len(t))
	for f := range t {
		names = append(names, f)
	}
	slices.Sort(names)
	for _, f := range names {
		w, err := z.Create(prefix + f)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(t[f]); err != nil {
			tb.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	full := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(full, b.Bytes(), 0o666); err != nil {
		tb.Fatal(err)
	}
	return full
}

// animals is a set of class folders with 12 pictures.
func animals() tree {
	t := make(tree)
	for i := range 6 {
		t[fmt.Sprintf("cat/%d.png", i)] = pngOf(i)
		t[fmt.Sprintf("größer Hund/a b %d.PNG", i)] = pngOf(100 + i)
	}
	return t
}

// album is the same in the Meta-Album layout.
func album() tree {
	t := make(tree)
	var csv strings.Builder
	csv.WriteString("FILE_NAME,CATEGORY,SUPER_CATEGORY\n")
	for name, data := range animals() {
		class, file, _ := strings.Cut(name, "/")
		t["images/"+class+" "+file] = data
		fmt.Fprintf(&csv, "%s %s,%s,x\n", class, file, class)
	}
	t["labels.csv"] = []byte(csv.String())
	t["info.json"] = []byte(`{"images_column_name":"FILE_NAME","category_column_name":"CATEGORY"}`)
	return t
}

func TestAllLayoutsGiveTheSameSet(t *testing.T) {
	want := ""
	for _, path := range []string{
		animals().folder(t, "animals"),
		animals().archive(t, "animals.zip", ""),
		animals().archive(t, "animals.ZIP", "wrapped in/"),
		album().folder(t, "animals"),
		album().archive(t, "animals.zip", "images of/"),
	} {
		s, err := Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Name != "animals" || s.Len() != 12 || !slices.Equal(s.Classes, []string{"cat", "größer Hund"}) || s.Width != 9 || s.Channels != 3 || len(s.Warnings) > 0 {
			t.Fatalf("%s: %+v", path, *s)
		}
		if want == "" {
			want = s.Hash()
		}
		if s.Hash() != want {
			t.Errorf("%s differs from the class folders", path)
		}
	}
}

func TestNamesInOldEncodingsAreKept(t *testing.T) {
	a := make(tree)
	for i := range 3 {
		a[fmt.Sprintf("caf\x82/%d.png", i)] = pngOf(i)
		a[fmt.Sprintf("back\\slash\\%d.png", i)] = pngOf(10 + i)
	}
	s, err := Load(t.Context(), a.archive(t, "old.zip", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.Classes, []string{"back", "caf\u0082"}) {
		t.Errorf("classes %q", s.Classes)
	}
}

func TestLinksAreFollowed(t *testing.T) {
	dir := animals().folder(t, "animals")
	linked := filepath.Join(t.TempDir(), "linked")
	if err := os.MkdirAll(linked, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{"cat", "größer Hund"} {
		if err := os.Symlink(filepath.Join(dir, class), filepath.Join(linked, class)); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	s, err := Load(t.Context(), linked)
	if err != nil || s.Len() != 12 {
		t.Errorf("%v, %v", s, err)
	}
	if err := os.Symlink(linked, filepath.Join(linked, "ring")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), linked); err == nil || !strings.Contains(err.Error(), "deep") {
		t.Errorf("a ring of links gives %v", err)
	}
}

func TestWhatIsWrongIsToldInOneLine(t *testing.T) {
	with := func(base tree, change func(tree)) tree {
		change(base)
		return base
	}
	for _, c := range []struct {
		name  string
		files tree
		want  string
	}{
		{"nothing", tree{"readme.txt": nil}, "neither class folders nor a labels.csv"},
		{"loose pictures", tree{"1.png": pngOf(1)}, "put the pictures of each class in a folder"},
		{"one class", tree{"a/1.png": pngOf(1), "a/2.png": pngOf(2)}, `one class, "a"`},
		{"one class left", tree{"a/1.png": pngOf(1), "a/2.png": pngOf(2), "b/": nil}, `one class, "a"`},
		{"too few", tree{"a/1.png": pngOf(1), "b/2.png": pngOf(2)}, "at least 5"},
		{"all empty", tree{"a/": nil, "b/": nil}, "no pictures"},
		{"ready-made parts", tree{"train/a/1.png": pngOf(1), "test/a/2.png": pngOf(2)}, "are parts, not classes"},
		{"mostly broken", with(animals(), func(t tree) { t["cat/0.png"], t["cat/1.png"] = []byte("x"), []byte("y") }), "2 of 12 pictures cannot be read; the first: cat/0.png: not a picture"},
		{"empty table", with(album(), func(t tree) { t["labels.csv"] = nil }), "labels.csv: the file is empty"},
		{"no rows", with(album(), func(t tree) { t["labels.csv"] = []byte("FILE_NAME,CATEGORY\n") }), "no rows"},
		{"no column", with(album(), func(t tree) { t["labels.csv"] = []byte("FILE,CATEGORY\nx,y\n") }), "no column FILE_NAME"},
		{"ragged", with(album(), func(t tree) { t["labels.csv"] = append(t["labels.csv"], "x\n"...) }), "record on line 14: wrong number of fields"},
		{"missing picture", with(album(), func(t tree) { t["labels.csv"] = append(t["labels.csv"], "x.png,cat,x\n"...) }), "row 14: there is no picture images/x.png"},
		{"no class", with(album(), func(t tree) { t["labels.csv"] = append(t["labels.csv"], "x.png,,x\n"...) }), "row 14: picture x.png has no class"},
		{"twice", with(album(), func(t tree) { t["labels.csv"] = append(t["labels.csv"], "x.png,a,x\nx.png,b,x\n"...) }), "row 15: picture x.png is in row 14 already"},
		{"leads out", with(album(), func(t tree) { t["labels.csv"] = append(t["labels.csv"], "../x.png,a,x\n"...) }), `row 14: "../x.png" is no picture in images`},
		{"other format", with(album(), func(t tree) { t["labels.csv"] = append(t["labels.csv"], "x.txt,a,x\n"...) }), "row 14: x.txt is not in a format"},
		{"bad info", with(album(), func(t tree) { t["info.json"] = []byte("{") }), "info.json: "},
		{"no images", tree{"labels.csv": []byte("FILE_NAME,CATEGORY\nx.png,y\n")}, "the folder images cannot be read"},
	} {
		for _, path := range []string{c.files.folder(t, "set"), c.files.archive(t, "set.zip", "")} {
			_, err := Load(t.Context(), path)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s, %s: error %v, want %q", c.name, filepath.Base(path), err, c.want)
			}
		}
	}
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "nowhere"):             "no such file",
		tree{"x": []byte("no zip")}.folder(t, "d") + "/x": "not a zip archive",
		animals().archive(t, "out.zip", "../"):            "does not lie inside the archive",
		animals().archive(t, "absolute.zip", "/"):         "does not lie inside the archive",
		animals().archive(t, "windows.zip", `..\`):        "does not lie inside the archive",
	} {
		if _, err := Load(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
	}
}

func TestLittleThingsAreWarnedOf(t *testing.T) {
	a := animals()
	for i := range 20 {
		a[fmt.Sprintf("fish/%02d.png", i)] = pngOf(200 + i)
	}
	a["fish/00.png"] = a["fish/00.png"][:60]
	a["empty/"] = nil
	a["stray.png"] = pngOf(1)
	a["__MACOSX/cat/._0.png"] = []byte("resource fork")
	a["cat/.hidden.png"] = []byte("x")
	a["cat/notes.txt"] = []byte("x")
	for _, path := range []string{a.folder(t, "set"), a.archive(t, "set.zip", "")} {
		s, err := Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != 31 || len(s.Classes) != 3 {
			t.Errorf("%d pictures in classes %q", s.Len(), s.Classes)
		}
		all := strings.Join(s.Warnings, "\n")
		for _, want := range []string{"broken picture fish/00.png", `class "empty" has no picture`, "1 pictures beside the class folders"} {
			if !strings.Contains(all, want) {
				t.Errorf("warnings %q, want %q", all, want)
			}
		}
	}
	b := album()
	b["images/unlabelled.png"] = pngOf(9)
	s, err := Load(t.Context(), b.folder(t, "set"))
	if err != nil || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "images/unlabelled.png, are not in labels.csv") {
		t.Errorf("%v, %v", s.Warnings, err)
	}
}

// A 1 x 1 picture in WebP, lossless, of transparent black.
const webp1x1 = "UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA=="

func TestAllFormatsAreRead(t *testing.T) {
	webp, err := base64.StdEncoding.DecodeString(webp1x1)
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for name, data := range map[string][]byte{
		"a.png":  pngOf(1),
		"a.jpeg": picture(1, func(w io.Writer, m image.Image) error { return jpeg.Encode(w, m, nil) }),
		"a.gif":  picture(1, func(w io.Writer, m image.Image) error { return gif.Encode(w, m, nil) }),
		"a.bmp":  picture(1, bmp.Encode),
		"a.tiff": picture(1, func(w io.Writer, m image.Image) error { return tiff.Encode(w, m, nil) }),
		"a.webp": webp,
	} {
		files[name] = &fstest.MapFile{Data: data}
		d, err := decode(files, name)
		if err != nil || len(d.pix) != trainer.Pixels {
			t.Errorf("%s: %d bytes, %v", name, len(d.pix), err)
		}
	}
	exact, _ := decode(files, "a.png")
	for _, name := range []string{"a.bmp", "a.tiff"} {
		if d, _ := decode(files, name); !bytes.Equal(d.pix, exact.pix) {
			t.Errorf("%s differs from the PNG of the same picture", name)
		}
	}
	if d, _ := decode(files, "a.webp"); !d.grey || d.pix[0] != 255 {
		t.Errorf("a transparent picture became %v, want white", d.pix[:3])
	}
}

// A header that promises more pixels than anyone has memory for.
func TestAPictureBombIsRefusedBeforeItIsUnpacked(t *testing.T) {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		t.Fatal(err)
	}
	data := b.Bytes()
	copy(data[16:], []byte{0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0}) // 100,000 x 100,000
	files := fstest.MapFS{"bomb.png": {Data: fixPNG(data)}}
	if _, err := decode(files, "bomb.png"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v", err)
	}
}

// fixPNG makes the checksum of the header right again.
func fixPNG(data []byte) []byte {
	crc := uint32(0xffffffff)
	for _, b := range data[12:29] {
		crc ^= uint32(b)
		for range 8 {
			if crc&1 == 1 {
				crc = crc>>1 ^ 0xedb88320
			} else {
				crc >>= 1
			}
		}
	}
	crc = ^crc
	copy(data[29:], []byte{byte(crc >> 24), byte(crc >> 16), byte(crc >> 8), byte(crc)})
	return data
}

func TestTransparencyIsDrawnOnWhite(t *testing.T) {
	for _, c := range []struct {
		in   color.Color
		want [3]uint8
	}{
		{color.NRGBA{0, 0, 0, 0}, [3]uint8{255, 255, 255}},
		{color.NRGBA{200, 100, 0, 255}, [3]uint8{200, 100, 0}},
		{color.NRGBA{0, 0, 0, 128}, [3]uint8{127, 127, 127}}, // 255·(1-128/255)
		{color.Gray16{0x80ff}, [3]uint8{0x80, 0x80, 0x80}},
		{color.CMYK{0, 255, 255, 0}, [3]uint8{255, 0, 0}},
	} {
		m := image.NewNRGBA64(image.Rect(3, 4, 5, 6))
		for i := range 4 {
			m.Set(3+i%2, 4+i/2, c.in)
		}
		got := Fit(m)
		if [3]uint8(got[:3]) != c.want {
			t.Errorf("%v became %v, want %v", c.in, got[:3], c.want)
		}
	}
}

// A picture of the right size stays as it is, one colour stays one colour, and
// the result lies within the range of the source.
func TestResizeProperties(t *testing.T) {
	same := bitmap{trainer.Side, trainer.Side, make([]uint8, trainer.Pixels)}
	for i := range same.pix {
		same.pix[i] = uint8(i * 7)
	}
	if !bytes.Equal(resize(same), same.pix) {
		t.Error("a picture of the right size was changed")
	}
	rapid.Check(t, func(t *rapid.T) {
		b := bitmap{width: rapid.IntRange(1, 90).Draw(t, "width"), height: rapid.IntRange(1, 90).Draw(t, "height")}
		lo := rapid.Uint8().Draw(t, "lo")
		hi := rapid.Uint8Range(lo, 255).Draw(t, "hi")
		b.pix = rapid.SliceOfN(rapid.Uint8Range(lo, hi), b.width*b.height*3, b.width*b.height*3).Draw(t, "pixels")
		out := resize(b)
		if slices.Min(out) < lo || slices.Max(out) > hi {
			t.Fatalf("levels from %d to %d became %d to %d", lo, hi, slices.Min(out), slices.Max(out))
		}
	})
}

// Halving averages with weights 1, 3, 3, 1; doubling interpolates with 1, 3.
func TestResizeWeights(t *testing.T) {
	taps, sums := triangle(64, 32)
	if got, want := fmt.Sprint(taps[5], sums[5]), "[{9 32} {10 96} {11 96} {12 32}] 256"; got != want {
		t.Errorf("64 to 32: %s, want %s", got, want)
	}
	taps, sums = triangle(16, 32)
	if got, want := fmt.Sprint(taps[5], sums[5]), "[{2 48} {3 16}] 64"; got != want {
		t.Errorf("16 to 32: %s, want %s", got, want)
	}
}

// The released descriptors count the training pictures of 26 sets; the totals
// are those of Meta-Album.
func TestSplitSizesAreThoseOfThePaper(t *testing.T) {
	for _, c := range [][2]int{{800, 480}, {760, 456}, {1320, 792}, {12600, 7560}, {840, 504}, {1596, 958}} {
		train, validation, test := Sizes(c[0])
		if train != c[1] || train+validation+test != c[0] || validation != test {
			t.Errorf("%d pictures: %d, %d, %d, want %d for training", c[0], train, validation, test, c[1])
		}
	}
}

func TestSplitKeepsEveryPictureOnce(t *testing.T) {
	s, err := Load(t.Context(), animals().folder(t, "animals"))
	if err != nil {
		t.Fatal(err)
	}
	one, err := s.Split()
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.Split()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Train.Pixels, two.Train.Pixels) || !bytes.Equal(one.Test.Pixels, two.Test.Pixels) {
		t.Error("two splits differ")
	}
	var got, want []string
	for _, p := range []trainer.Split{one.Train, one.Validation, one.Test} {
		for i, l := range p.Labels {
			got = append(got, fmt.Sprint(l, p.Pixels[i*trainer.Pixels:(i+1)*trainer.Pixels]))
		}
	}
	for i, l := range s.Labels {
		want = append(want, fmt.Sprint(l, s.Picture(i)))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error("the parts are not a partition of the set")
	}
}

func TestASplitWithOneClassToTrainOnIsRefused(t *testing.T) {
	s := &Set{Name: "x", Classes: []string{"a", "b"}, Labels: make([]int, 5), Pixels: make([]uint8, 5*trainer.Pixels)}
	seen := false
	for i := range s.Labels {
		s.Labels[i] = 1
		_, err := s.Split()
		seen = seen || err != nil && strings.Contains(err.Error(), `are of class "a"`)
		s.Labels[i] = 0
	}
	if !seen {
		t.Error("no error, wherever the one picture of the second class is")
	}
}

// Two classes of flat colours: everything can be worked out by hand.
func TestFeaturesOfFlatPictures(t *testing.T) {
	part := func(n int) trainer.Split {
		var p trainer.Split
		for i := range n {
			level := uint8(255 * (i % 2))
			p.Pixels = append(p.Pixels, bytes.Repeat([]uint8{level}, trainer.Pixels)...)
			p.Labels = append(p.Labels, i%2)
		}
		return p
	}
	got := Features(&trainer.Images{Classes: 2, Train: part(8), Validation: part(4), Test: part(4)})
	want := []float64{1, 0.5, 0.5, 0, 0, 0, 0.5, 1, 1, 1}
	if !slices.Equal(got, want) || len(got) != len(FeatureNames) {
		t.Errorf("%v, want %v for %v", got, want, FeatureNames)
	}
}

func TestCacheLoadsOnceAndForgetsTheOldest(t *testing.T) {
	var mu sync.Mutex
	loads := make(map[string]int)
	fail := errors.New("no disk")
	c := NewCache(2, func(_ context.Context, name string) (*trainer.Images, error) {
		mu.Lock()
		defer mu.Unlock()
		loads[name]++
		if name == "bad" {
			return nil, fail
		}
		return &trainer.Images{Name: name}, nil
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if im, err := c.Get(context.Background(), "a"); err != nil || im.Name != "a" {
				t.Errorf("%v, %v", im, err)
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"b", "a", "c", "a", "b"} {
		if im, err := c.Get(t.Context(), name); err != nil || im.Name != name {
			t.Errorf("%v, %v", im, err)
		}
	}
	for range 2 {
		if _, err := c.Get(t.Context(), "bad"); !errors.Is(err, fail) {
			t.Errorf("error %v", err)
		}
	}
	if got, want := fmt.Sprint(loads), "map[a:1 b:2 bad:2 c:1]"; got != want {
		t.Errorf("loads %s, want %s", got, want)
	}
}

// A few bytes that name an offset of gigabytes do not make the decoder reserve
// them.
func TestAFarOffsetTakesNoMemory(t *testing.T) {
	data := []byte("II*\x00\x00\x00\x00\xf0\x00\x00")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := decode(fstest.MapFS{"x": {Data: data}}, "x")
	runtime.ReadMemStats(&after)
	if err == nil {
		t.Error("it is taken for a picture")
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d MB are reserved for %d bytes", grown>>20, len(data))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(pngOf(1))
	f.Add(picture(1, bmp.Encode))
	f.Add(picture(1, func(w io.Writer, m image.Image) error { return tiff.Encode(w, m, nil) }))
	f.Add([]byte("RIFF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := decode(fstest.MapFS{"x": {Data: data}}, "x")
		if err == nil && (len(d.pix) != trainer.Pixels || d.width < 1) {
			t.Errorf("%d bytes, width %d", len(d.pix), d.width)
		}
	})
}

func FuzzParseLabels(f *testing.F) {
	f.Add([]byte("FILE_NAME,CATEGORY\na.png,x\n"))
	f.Add([]byte("\ufeffCATEGORY,FILE_NAME\nx,\"a b.png\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := parseLabels(data, "FILE_NAME", "CATEGORY")
		if err == nil && len(list) == 0 {
			t.Error("neither rows nor an error")
		}
		for _, l := range list {
			if !fs.ValidPath(l.file) || !strings.HasPrefix(l.file, "images/") || l.class == "" {
				t.Errorf("accepted %+v", l)
			}
		}
	})
}

// The real sets that may be at hand: layout, size and repeatability.
func TestRealSets(t *testing.T) {
	dir := sharedImages(t)
	for _, c := range []struct {
		file              string
		pictures, classes int
		width, channels   int
	}{
		{"cifar10.zip", 1200, 10, 32, 3}, {"clothing.zip", 1200, 10, 64, 3}, {"fashion_mnist.zip", 1200, 10, 28, 1},
		{"flowers5.zip", 1200, 5, 64, 3}, {"bccd_crops.zip", 1133, 3, 64, 3}, {"coil20_32.zip", 1000, 20, 32, 1},
		{"medical_mnist.zip", 1200, 6, 64, 1}, {"neu_det.zip", 1200, 6, 64, 1}, {"gtsrb.zip", 1161, 43, 32, 3},
		{"rsscn7.zip", 1197, 7, 64, 3}, {"sign_digits.zip", 1200, 10, 64, 3}, {"omniglot.zip", 4840, 242, 64, 1},
	} {
		s, err := Load(t.Context(), filepath.Join(dir, c.file))
		if err != nil {
			t.Fatal(err)
		}
		if s.Len() != c.pictures || len(s.Classes) != c.classes || s.Width != c.width || s.Channels != c.channels || len(s.Warnings) > 0 {
			t.Errorf("%s: %d pictures, %d classes, width %d, %d channels, %q", c.file, s.Len(), len(s.Classes), s.Width, s.Channels, s.Warnings)
		}
	}
}

// sharedImages finds the real image sets, which are not part of the project.
func sharedImages(t testing.TB) string {
	t.Helper()
	return realdata.Path(t, "images")
}

func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(sharedImages(b), "rsscn7.zip")
	for b.Loop() {
		s, err := Load(b.Context(), path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(s.Len()), "pictures")
	}
}
