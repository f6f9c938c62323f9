package metadataset

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"pgregory.net/rapid"
)

// FuzzOpen puts any bytes in place of one file of a good meta-dataset, lists
// them in the manifest with their true hash and row count, and opens it. That
// must end without a panic, without memory beyond all measure, and, if it
// succeeds, with a store that can be written and read again.
func FuzzOpen(f *testing.F) {
	good, _ := writeTiny(f)
	names := []string{manifestFile, datasetsFile, modelsFile, configsFile, endsFile, partZero}
	files := make(map[string][]byte)
	for i, name := range names {
		data, err := os.ReadFile(filepath.Join(good, name))
		if err != nil {
			f.Fatal(err)
		}
		files[name] = data
		f.Add(byte(i), data)
	}
	for i, name := range names[1:] { // without compression a changed byte is a changed value
		for version := 1; version <= 2; version++ {
			var out bytes.Buffer
			readRaw(f, files[name]).write(&out, parquet.Compression(&parquet.Uncompressed), parquet.DataPageVersion(version))
			f.Add(byte(i+1), out.Bytes())
		}
	}
	dir := filepath.Join(f.TempDir(), "fuzzed")
	if err := os.MkdirAll(filepath.Join(dir, curvesDir), 0o777); err != nil {
		f.Fatal(err)
	}
	put := func(t testing.TB, name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, file byte, data []byte) {
		for name, content := range files {
			put(t, name, content)
		}
		name := names[int(file)%len(names)]
		put(t, name, data)
		if name != manifestFile {
			rows := 0
			if pq, err := openParquet(data); err == nil {
				rows = pq.rows
			}
			editManifest(t, dir, func(m *Manifest) {
				old, _ := m.part(name)
				relist(m, name, data, rows)
				switch name {
				case datasetsFile:
					m.Counts.Datasets = rows
				case modelsFile:
					m.Counts.Models = rows
				case partZero:
					m.Counts.Epochs += rows - old.Rows
				}
			})
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := Open(dir)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
			t.Errorf("opening %d bytes allocated %d", len(data), grown)
		}
		if err != nil {
			return
		}
		for d := range s.Datasets {
			s.Stats(d)
		}
		again := filepath.Join(t.TempDir(), "again")
		if err := Write(again, asInput(s)); err != nil {
			t.Fatalf("a store that opens cannot be written: %v", err)
		}
		wantNoProblem(t, again)
	})
}

// FuzzDecoders gives any bytes to the decoders of pages.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte{3, 0xff, 2, 1}, uint8(1), uint16(9))
	f.Add([]byte{0x80, 1, 4, 5, 0, 2, 0, 0, 0, 0}, uint8(3), uint16(5))
	f.Fuzz(func(t *testing.T, data []byte, width uint8, n uint16) {
		ints, longs := make([]int32, n), make([]int64, n)
		_, _ = decodeHybrid(ints, data, int(width))
		_ = decodeDelta(ints, data)
		_ = decodeDelta(longs, data)
		_ = decodeSplit(make([]float32, n), data)
		_ = decodePlainBools(make([]bool, n), data, width%2 == 0)
		_ = decodePlainStrings(make([]string, n), data)
		if size, err := measureThrift(data); err == nil && size > len(data) {
			t.Errorf("a structure of %d bytes in %d", size, len(data))
		}
	})
}

func TestHybridRunsAtTheEdges(t *testing.T) {
	for _, c := range []struct {
		name  string
		src   []byte
		width int
		want  []int32 // nil: an error
		n     int
	}{
		{"one run", []byte{5 << 1, 7}, 3, []int32{7, 7, 7, 7, 7}, 5},
		{"bits of no width", []byte{1<<1 | 1}, 0, []int32{0, 0, 0}, 3},
		{"run of no width", []byte{3 << 1}, 0, []int32{0, 0, 0}, 3},
		{"packed", []byte{1<<1 | 1, 0b10_001_000, 0b1_100_011_0, 0b111_110_10}, 3, []int32{0, 1, 2, 3, 4, 5, 6, 7}, 8},
		{"padding of the last group", []byte{1<<1 | 1, 0b11}, 1, []int32{1, 1, 0}, 3},
		{"groups of padding", []byte{3<<1 | 1, 0b11, 0, 0}, 1, []int32{1, 1, 0}, 3},
		{"no run", nil, 1, nil, 1},
		{"empty run", []byte{0, 0}, 1, nil, 1},
		{"run beyond the end", []byte{6 << 1, 1}, 1, nil, 5},
		{"run without its value", []byte{5 << 1}, 1, nil, 5},
		{"groups without their bytes", []byte{2<<1 | 1, 0}, 1, nil, 16},
		{"2^60 groups", []byte{0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20}, 1, nil, 5},
		{"too wide", []byte{5 << 1, 0, 0, 0, 0, 0}, 33, nil, 5},
	} {
		got := make([]int32, c.n)
		_, err := decodeHybrid(got, c.src, c.width)
		if (err != nil) != (c.want == nil) || err == nil && !slices.Equal(got, c.want) {
			t.Errorf("%s: %v with error %v, want %v", c.name, got, err, c.want)
		}
	}
}

// TestDecodersAgreeWithTheLibrary decodes what the Parquet library encodes.
func TestDecodersAgreeWithTheLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 31).Draw(t, "bits")
		runs := rapid.SliceOfN(rapid.Int32Range(0, int32(uint32(1)<<width-1)), 1, 40).Draw(t, "values")
		repeat := rapid.IntRange(1, 20).Draw(t, "repeat")
		var ints []int32
		var longs []int64
		for _, v := range runs {
			for range repeat {
				ints = append(ints, v)
				longs = append(longs, int64(v)*math.MaxInt32*int64(1-2*(v&1)))
			}
		}
		data, err := (&rle.Encoding{BitWidth: width}).EncodeInt32(nil, ints)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]int32, len(ints))
		if rest, err := decodeHybrid(got, data, width); err != nil || len(rest) != 0 || !slices.Equal(got, ints) {
			t.Fatalf("hybrid: %v with %v left and error %v, want %v", got, rest, err, ints)
		}
		for i := range ints {
			ints[i] -= 1 << 30
		}
		if data, err = (&delta.BinaryPackedEncoding{}).EncodeInt32(nil, ints); err != nil {
			t.Fatal(err)
		}
		if err := decodeDelta(got, data); err != nil || !slices.Equal(got, ints) {
			t.Fatalf("delta: %v with error %v, want %v", got, err, ints)
		}
		if data, err = (&delta.BinaryPackedEncoding{}).EncodeInt64(nil, longs); err != nil {
			t.Fatal(err)
		}
		gotLongs := make([]int64, len(longs))
		if err := decodeDelta(gotLongs, data); err != nil || !slices.Equal(gotLongs, longs) {
			t.Fatalf("delta: %v with error %v, want %v", gotLongs, err, longs)
		}
		for cut := range len(data) {
			if err := decodeDelta(gotLongs, data[:cut]); err == nil && len(longs) > 1 && cut < len(data)-8 {
				t.Fatalf("%d of %d bytes decode without error", cut, len(data))
			}
		}
	})
}
