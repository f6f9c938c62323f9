package safetensors

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pack builds a file from a header and the number of data bytes.
func pack(header string, body int) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), make([]byte, body)...)
}

// The bytes are those of the Python package safetensors 0.8.0: save({"a":
// float64 [1.5], "b": float32 [[1, -2]]}, {"k": "v"}).
func TestReadsWhatThePythonPackageWrote(t *testing.T) {
	header := `{"__metadata__":{"k":"v"},"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}} `
	data := pack(header, 0)
	body, err := hex.DecodeString("000000000000f83f" + "0000803f" + "000000c0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Decode(append(data, body...))
	if err != nil {
		t.Fatal(err)
	}
	want := &File{Metadata: map[string]string{"k": "v"}, Tensors: []Tensor{
		{"a", F64, []int{1}, []float64{1.5}}, {"b", F32, []int{1, 2}, []float64{1, -2}},
	}}
	if !reflect.DeepEqual(f, want) {
		t.Fatalf("got %+v", f)
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "too few", nil},
		{"short length", "too few", []byte{1, 2, 3}},
		{"header beyond the file", "truncated", pack("{}", 0)[:9]},
		{"absurd header length", "limit", binary.LittleEndian.AppendUint64(nil, math.MaxUint64)},
		{"no JSON", "JSON", pack("hello", 0)},
		{"an array", "JSON", pack("[]", 0)},
		{"unfinished", "JSON", pack(`{"a":`, 0)},
		{"second object", "follow", pack(`{}{}`, 0)},
		{"unknown type", "BF16", pack(`{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}`, 2)},
		{"wrong size", "needs 8 bytes", pack(`{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,4]}}`, 4)},
		{"truncated data", "truncated", pack(`{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}`, 7)},
		{"bytes left over", "after the last", pack(`{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}`, 9)},
		{"gap", "begins at byte 4", pack(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8)},
		{"overlap", "begins at byte 0", pack(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, 8)},
		{"same name twice", "twice", pack(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8)},
		{"negative dimension", "negative", pack(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4)},
		{"overflowing shape", "too large", pack(`{"a":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,4]}}`, 4)},
		{"one offset", "data_offsets", pack(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, 4)},
		{"fractional offset", "not a place", pack(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0.5,4.5]}}`, 4)},
		{"negative offset", "not a place", pack(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, 4)},
		{"end before begin", "bytes", pack(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,0]}}`, 0)},
	} {
		if _, err := Decode(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v does not tell of %q", c.name, err, c.want)
		}
	}
}

func TestUnwritableFilesAreRefused(t *testing.T) {
	for _, ts := range [][]Tensor{
		{{"a", F64, []int{2}, []float64{1}}},
		{{"a", "I8", []int{1}, []float64{1}}},
		{{"a", F64, nil, []float64{1}}, {"a", F64, nil, []float64{1}}},
		{{metadataKey, F64, nil, []float64{1}}},
		{{"a", F64, []int{-1}, nil}},
	} {
		if _, err := Encode(File{Tensors: ts}); err == nil {
			t.Errorf("%v was written", ts)
		}
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		f := File{Metadata: rapid.MapOfN(rapid.String(), rapid.String(), 1, 4).Draw(t, "metadata")}
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z.0-9]{1,8}`), 0, 5, rapid.ID).Draw(t, "names")
		for _, name := range names {
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 1, 3).Draw(t, "shape")
			n, _ := elements(shape)
			d := F64
			data := rapid.SliceOfN(rapid.Float64(), n, n).Draw(t, "data")
			if rapid.Bool().Draw(t, "narrow") {
				d = F32
				for i := range data {
					data[i] = float64(float32(data[i]))
				}
			}
			f.Tensors = append(f.Tensors, Tensor{name, d, shape, data})
		}
		path := filepath.Join(dir, "x.safetensors")
		if err := WriteFile(path, f); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Metadata, f.Metadata) || len(got.Tensors) != len(f.Tensors) {
			t.Fatalf("wrote %+v, read %+v", f, *got)
		}
		for _, want := range f.Tensors {
			if x := got.Lookup(want.Name); x == nil || !reflect.DeepEqual(*x, want) {
				t.Fatalf("wrote %+v, read %+v", want, x)
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(pack(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4))
	f.Add(pack(`{"__metadata__":{"k":"v"},"a":{"dtype":"F64","shape":[],"data_offsets":[0,8]}}`, 8))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := Decode(data)
		if err != nil {
			return
		}
		again, err := Encode(*x)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if _, err := Decode(again); err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
	})
}
