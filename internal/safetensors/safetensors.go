// Package safetensors reads and writes tensors in the safetensors format: an
// 8-byte little-endian length, a JSON header that names type, shape and place of
// each tensor, and their bytes. Format: https://huggingface.co/docs/safetensors
//
// It handles F32 and F64 and refuses every other type, as it refuses a file
// whose tensors overlap, leave gaps, exceed the file or occur twice: a file that
// is read is a file whose every byte was accounted for.
package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
)

// DType is the type of a tensor's elements in the file.
type DType string

// The types that this package handles.
const (
	F32 DType = "F32"
	F64 DType = "F64"
)

func (d DType) size() int {
	switch d {
	case F32:
		return 4
	case F64:
		return 8
	}
	return 0
}

// Tensor is a named array, row-major. Data is float64 in memory whatever the
// type in the file: reading F32 is exact, writing F32 rounds to nearest.
type Tensor struct {
	Name  string
	Type  DType
	Shape []int // empty for a single number
	Data  []float64
}

// File is the content of a safetensors file.
type File struct {
	Metadata map[string]string
	Tensors  []Tensor
}

// Lookup returns the tensor of that name, or nil.
func (f *File) Lookup(name string) *Tensor {
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			return &f.Tensors[i]
		}
	}
	return nil
}

// maxHeader is the longest header that is read, the limit of the reference
// implementation.
const maxHeader = 100_000_000

const metadataKey = "__metadata__"

type entry struct {
	DType   DType     `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets []float64 `json:"data_offsets"`
}

// elements is the product of a shape, or an error if it is negative or does not
// fit an int.
func elements(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v has a negative dimension", shape)
		}
		hi, lo := bits.Mul64(uint64(n), uint64(d))
		if hi != 0 || lo > math.MaxInt64/8 {
			return 0, fmt.Errorf("shape %v is too large", shape)
		}
		n = int(lo)
	}
	return n, nil
}

// Encode returns the bytes of a file. Tensors keep their order; metadata are
// sorted, so equal files have equal bytes.
func Encode(f File) ([]byte, error) {
	var head bytes.Buffer
	head.WriteByte('{')
	field := func(key string, value any) error {
		if head.Len() > 1 {
			head.WriteByte(',')
		}
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		v, err := json.Marshal(value)
		if err != nil {
			return err
		}
		head.Write(k)
		head.WriteByte(':')
		head.Write(v)
		return nil
	}
	if len(f.Metadata) > 0 {
		if err := field(metadataKey, f.Metadata); err != nil {
			return nil, err
		}
	}
	at, seen := 0, map[string]bool{metadataKey: true}
	for _, t := range f.Tensors {
		n, err := elements(t.Shape)
		switch {
		case seen[t.Name]:
			return nil, fmt.Errorf("safetensors: tensor name %q is used twice or reserved", t.Name)
		case t.Type.size() == 0:
			return nil, fmt.Errorf("safetensors: tensor %q: type %q is not one of F32, F64", t.Name, t.Type)
		case err != nil:
			return nil, fmt.Errorf("safetensors: tensor %q: %w", t.Name, err)
		case n != len(t.Data):
			return nil, fmt.Errorf("safetensors: tensor %q: shape %v needs %d numbers, there are %d", t.Name, t.Shape, n, len(t.Data))
		}
		seen[t.Name] = true
		end := at + n*t.Type.size()
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		if err := field(t.Name, entry{t.Type, shape, []float64{float64(at), float64(end)}}); err != nil {
			return nil, err
		}
		at = end
	}
	head.WriteByte('}')
	for head.Len()%8 != 0 {
		head.WriteByte(' ')
	}
	out := make([]byte, 0, 8+head.Len()+at)
	out = binary.LittleEndian.AppendUint64(out, uint64(head.Len()))
	out = append(out, head.Bytes()...)
	for _, t := range f.Tensors {
		for _, v := range t.Data {
			if t.Type == F32 {
				out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
			} else {
				out = binary.LittleEndian.AppendUint64(out, math.Float64bits(v))
			}
		}
	}
	return out, nil
}

// Decode reads a file from its bytes. Tensors come in the order of their data.
func Decode(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("safetensors: %d bytes are too few for a header", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader {
		return nil, fmt.Errorf("safetensors: header of %d bytes is longer than the limit of %d: not a safetensors file?", n, maxHeader)
	}
	if n > uint64(len(data)-8) {
		return nil, fmt.Errorf("safetensors: header of %d bytes, but the file has %d after the length: truncated?", n, len(data)-8)
	}
	head, body := data[8:8+n], data[8+n:]
	f, entries, err := decodeHeader(head)
	if err != nil {
		return nil, err
	}
	names := slices.SortedFunc(maps.Keys(entries), func(a, b string) int {
		x, y := entries[a], entries[b]
		// Empty tensors may share a place; their names then decide.
		return compare(x.Offsets[0], y.Offsets[0], compare(x.Offsets[1], y.Offsets[1], bytes.Compare([]byte(a), []byte(b))))
	})
	at := 0
	for _, name := range names {
		e := entries[name]
		count, err := elements(e.Shape)
		if err != nil {
			return nil, fmt.Errorf("safetensors: tensor %q: %w", name, err)
		}
		lo, hi := int(e.Offsets[0]), int(e.Offsets[1])
		switch {
		case lo != at:
			return nil, fmt.Errorf("safetensors: tensor %q begins at byte %d of the data, but the one before ends at %d", name, lo, at)
		case hi > len(body):
			return nil, fmt.Errorf("safetensors: tensor %q ends at byte %d of the data, of which there are %d: truncated?", name, hi, len(body))
		case hi-lo != count*e.DType.size():
			return nil, fmt.Errorf("safetensors: tensor %q: shape %v of %s needs %d bytes, it has %d", name, e.Shape, e.DType, count*e.DType.size(), hi-lo)
		}
		t := Tensor{Name: name, Type: e.DType, Shape: e.Shape, Data: make([]float64, count)}
		src := body[lo:hi]
		for i := range t.Data {
			if e.DType == F32 {
				t.Data[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:])))
			} else {
				t.Data[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
			}
		}
		f.Tensors = append(f.Tensors, t)
		at = hi
	}
	if at != len(body) {
		return nil, fmt.Errorf("safetensors: %d bytes after the last tensor", len(body)-at)
	}
	return f, nil
}

func compare(a, b float64, otherwise int) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return otherwise
}

// decodeHeader reads the header key by key: a key that occurs twice, which a map
// would hide, is an error.
func decodeHeader(head []byte) (*File, map[string]entry, error) {
	dec := json.NewDecoder(bytes.NewReader(head))
	bad := func(err error) error {
		return fmt.Errorf("safetensors: header is not the expected JSON object: %w", err)
	}
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, nil, bad(errors.Join(err, fmt.Errorf("it begins with %v", tok)))
	}
	f, entries, seen := &File{}, map[string]entry{}, map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, nil, bad(err)
		}
		name := tok.(string) // keys of an object are strings
		if seen[name] {
			return nil, nil, fmt.Errorf("safetensors: tensor %q occurs twice", name)
		}
		seen[name] = true
		if name == metadataKey {
			if err := dec.Decode(&f.Metadata); err != nil {
				return nil, nil, bad(err)
			}
			continue
		}
		var e entry
		if err := dec.Decode(&e); err != nil {
			return nil, nil, bad(err)
		}
		if e.DType.size() == 0 {
			return nil, nil, fmt.Errorf("safetensors: tensor %q: type %q is not one of F32, F64", name, e.DType)
		}
		if len(e.Offsets) != 2 {
			return nil, nil, fmt.Errorf("safetensors: tensor %q has %d data_offsets instead of 2", name, len(e.Offsets))
		}
		for _, o := range e.Offsets {
			if !(o >= 0 && o <= 1<<53) || o != math.Trunc(o) {
				return nil, nil, fmt.Errorf("safetensors: tensor %q: data offset %v is not a place in a file", name, o)
			}
		}
		entries[name] = e
	}
	if _, err := dec.Token(); err != nil {
		return nil, nil, bad(err)
	}
	if rest := bytes.Trim(head[dec.InputOffset():], " "); len(rest) > 0 {
		return nil, nil, fmt.Errorf("safetensors: %d bytes follow the header's JSON", len(rest))
	}
	return f, entries, nil
}

// ReadFile reads a file.
func ReadFile(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// WriteFile writes a file atomically: readers see the old content or the new.
func WriteFile(path string, f File) error {
	data, err := Encode(f)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
