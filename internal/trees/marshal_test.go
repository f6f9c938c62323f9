package trees

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"testing"
)

// sealed returns the data with a right checksum at its end.
func sealed(data []byte) []byte {
	end := len(data) - 4
	binary.LittleEndian.PutUint32(data[end:], crc32.ChecksumIEEE(data[:end]))
	return data
}

func storedEnsemble(t testing.TB) (*Ensemble, []byte) {
	x, y := table(3, 200, 6)
	m, err := Boosting{Iterations: 3}.Fit(x, 6, y, nil)
	if err != nil {
		t.Fatal(err)
	}
	data, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return m, data
}

func TestStoredEnsemblePredictsTheSame(t *testing.T) {
	m, data := storedEnsemble(t)
	var read Ensemble
	if err := read.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	x, _ := table(4, 50, 6)
	for r, want := range m.PredictBatch(nil, x) {
		if got := read.Predict(x[r*6 : (r+1)*6]); got != want {
			t.Fatalf("row %d: %g, want %g", r, got, want)
		}
	}
	again, err := read.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, data) {
		t.Error("stored again, the ensemble differs")
	}
}

func TestCorruptEnsemblesAreRefused(t *testing.T) {
	m, data := storedEnsemble(t)
	firstNode := header + len(m.roots)*rootSize
	put := func(at int, v uint32) func([]byte) []byte {
		return func(d []byte) []byte {
			binary.LittleEndian.PutUint32(d[at:], v)
			return sealed(d)
		}
	}
	leaf := 0
	for m.nodes[leaf].left != 0 {
		leaf++
	}
	nan := math.Float64bits(math.NaN())
	for _, c := range []struct {
		name, want string
		change     func([]byte) []byte
	}{
		{"empty", "not a stored ensemble", func([]byte) []byte { return nil }},
		{"magic", "not a stored ensemble", put(0, 1)},
		{"version", "version 9", put(4, 9)},
		{"cut", "announces", func(d []byte) []byte { return d[:len(d)-5] }},
		{"longer", "announces", func(d []byte) []byte { return append(d, 0) }},
		{"flipped bit", "checksum", func(d []byte) []byte { d[firstNode] ^= 4; return d }},
		{"more trees", "announces", put(12, 1<<31)},
		{"fewer columns", "column", put(8, 1)},
		{"constant", "constant NaN", func(d []byte) []byte {
			binary.LittleEndian.PutUint64(d[20:], nan)
			return sealed(d)
		}},
		{"first root", "tree 0: nodes", put(header, 1)},
		{"root beyond", "tree 0: nodes", put(header+rootSize, 1<<20)},
		{"cycle", "left child", put(firstNode+nodeSize*1+8, 1)},
		{"child beyond", "left child", put(firstNode+8, uint32(m.roots[1])-1)},
		{"threshold", "threshold is not a number", func(d []byte) []byte {
			binary.LittleEndian.PutUint64(d[firstNode:], nan)
			return sealed(d)
		}},
		{"leaf", "leaf of value", func(d []byte) []byte {
			binary.LittleEndian.PutUint64(d[firstNode+leaf*nodeSize:], nan)
			return sealed(d)
		}},
	} {
		var read Ensemble
		err := read.UnmarshalBinary(c.change(bytes.Clone(data)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.want)
		}
		if read.nodes != nil {
			t.Errorf("%s: the ensemble was changed", c.name)
		}
	}
}

func FuzzUnmarshalEnsemble(f *testing.F) {
	_, data := storedEnsemble(f)
	f.Add(data)
	f.Add(data[:40])
	empty, _ := (&Ensemble{base: 2}).MarshalBinary()
	f.Add(empty)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, d := range [][]byte{data, func() []byte {
			if len(data) < 4 {
				return nil
			}
			return sealed(bytes.Clone(data))
		}()} {
			var m Ensemble
			if m.UnmarshalBinary(d) != nil || m.cols > 1000 {
				continue
			}
			row := make([]float64, m.cols)
			m.Predict(row)
			for i := range row {
				row[i] = math.NaN()
			}
			m.Predict(row)
			again, err := m.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again, d) {
				t.Fatal("stored again, the ensemble differs")
			}
		}
	})
}
