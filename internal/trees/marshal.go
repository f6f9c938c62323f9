package trees

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
)

// The binary form of an ensemble, little-endian: the magic "QTGB" and its
// version as a uint32; columns, trees and nodes as uint32; the constant as a
// float64; for every tree the index of its root as a uint32; for every node
// its value as a float64, left child and feature as uint32; a CRC-32 (IEEE) of
// all before it as a uint32.
const (
	magic    = "QTGB"
	version  = 1
	header   = 28
	rootSize = 4
	nodeSize = 16
)

// MarshalBinary returns the ensemble in a compact binary form that
// UnmarshalBinary reads on any machine.
func (m *Ensemble) MarshalBinary() ([]byte, error) {
	data := make([]byte, 0, header+len(m.roots)*rootSize+len(m.nodes)*nodeSize+4)
	data = append(data, magic...)
	data = binary.LittleEndian.AppendUint32(data, version)
	data = binary.LittleEndian.AppendUint32(data, uint32(m.cols))
	data = binary.LittleEndian.AppendUint32(data, uint32(len(m.roots)))
	data = binary.LittleEndian.AppendUint32(data, uint32(len(m.nodes)))
	data = binary.LittleEndian.AppendUint64(data, math.Float64bits(m.base))
	for _, root := range m.roots {
		data = binary.LittleEndian.AppendUint32(data, uint32(root))
	}
	for _, n := range m.nodes {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(n.value))
		data = binary.LittleEndian.AppendUint32(data, uint32(n.left))
		data = binary.LittleEndian.AppendUint32(data, n.feature)
	}
	return binary.LittleEndian.AppendUint32(data, crc32.ChecksumIEEE(data)), nil
}

// UnmarshalBinary replaces the ensemble by that of MarshalBinary. It refuses
// data that are cut, changed, of another version, or no ensemble that
// predicts a number for every row; the ensemble is then as before.
func (m *Ensemble) UnmarshalBinary(data []byte) error {
	if len(data) < header+4 || string(data[:4]) != magic {
		return errors.New("trees: not a stored ensemble")
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	if v := word(4); v != version {
		return fmt.Errorf("trees: stored ensemble of version %d; this program reads version %d", v, version)
	}
	cols, roots, nodes := word(8), word(12), word(16)
	want := header + uint64(roots)*rootSize + uint64(nodes)*nodeSize + 4
	if uint64(len(data)) != want {
		return fmt.Errorf("trees: stored ensemble of %d bytes; its header announces %d", len(data), want)
	}
	if end := len(data) - 4; crc32.ChecksumIEEE(data[:end]) != word(end) {
		return errors.New("trees: stored ensemble does not have its checksum")
	}
	if cols > math.MaxInt32 || nodes > math.MaxInt32 {
		return fmt.Errorf("trees: stored ensemble of %d columns and %d nodes", cols, nodes)
	}
	read := Ensemble{
		cols:  int(cols),
		base:  math.Float64frombits(binary.LittleEndian.Uint64(data[20:])),
		roots: make([]int32, roots),
		nodes: make([]node, nodes),
	}
	at := header
	for i := range read.roots {
		read.roots[i] = int32(word(at))
		at += rootSize
	}
	for i := range read.nodes {
		read.nodes[i] = node{
			value:   math.Float64frombits(binary.LittleEndian.Uint64(data[at:])),
			left:    int32(word(at + 8)),
			feature: word(at + 12),
		}
		at += nodeSize
	}
	if err := read.check(); err != nil {
		return fmt.Errorf("trees: stored ensemble: %w", err)
	}
	*m = read
	return nil
}

// check refuses an ensemble that could not predict: indices out of range, a
// child not after its parent and so perhaps a cycle, numbers that are none.
func (m *Ensemble) check() error {
	if math.IsNaN(m.base) || math.IsInf(m.base, 0) {
		return fmt.Errorf("constant %g", m.base)
	}
	for t, root := range m.roots {
		end := len(m.nodes)
		if t+1 < len(m.roots) {
			end = int(m.roots[t+1])
		}
		if t == 0 && root != 0 || root < 0 || int(root) >= end || end > len(m.nodes) {
			return fmt.Errorf("tree %d: nodes %d to %d of %d", t, root, end, len(m.nodes))
		}
		for i := int(root); i < end; i++ {
			n := m.nodes[i]
			switch {
			case n.left == 0:
				if math.IsNaN(n.value) || math.IsInf(n.value, 0) {
					return fmt.Errorf("tree %d, node %d: leaf of value %g", t, i, n.value)
				}
			case int(n.left) <= i || int(n.left)+1 >= end:
				return fmt.Errorf("tree %d, node %d: left child %d; the tree ends before %d", t, i, n.left, end)
			case int(n.feature&^missingLeft) >= m.cols:
				return fmt.Errorf("tree %d, node %d: column %d of %d", t, i, n.feature&^missingLeft, m.cols)
			case math.IsNaN(n.value):
				return fmt.Errorf("tree %d, node %d: threshold is not a number", t, i)
			}
		}
	}
	if len(m.roots) == 0 && len(m.nodes) > 0 {
		return fmt.Errorf("%d nodes of no tree", len(m.nodes))
	}
	return nil
}
