package metadataset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The decoders below fill slices whose length the caller has already bounded
// and never allocate by what the data claim. They are the encodings that the
// format page allows; anything else is refused.

var errPage = errors.New("malformed page")

// decodeHybrid fills dst from Parquet's run-length and bit-packing hybrid of
// values of the given width in bits (0 to 32). It returns the rest of src.
func decodeHybrid(dst []int32, src []byte, width int) ([]byte, error) {
	if width < 0 || width > 32 {
		return nil, fmt.Errorf("%w: values of %d bits", errPage, width)
	}
	for len(dst) > 0 {
		head, n := binary.Uvarint(src)
		if n <= 0 {
			return nil, fmt.Errorf("%w: runs end %d values early", errPage, len(dst))
		}
		src = src[n:]
		count := head >> 1
		if count == 0 {
			return nil, fmt.Errorf("%w: empty run", errPage)
		}
		if head&1 == 0 {
			size := (width + 7) / 8
			if size > len(src) || count > uint64(len(dst)) {
				return nil, fmt.Errorf("%w: a run of %d values where %d are left", errPage, count, len(dst))
			}
			var v uint32
			for i := size - 1; i >= 0; i-- {
				v = v<<8 | uint32(src[i])
			}
			src = src[size:]
			run := dst[:count]
			for i := range run {
				run[i] = int32(v)
			}
			dst = dst[count:]
			continue
		}
		// Groups of eight. The last ones may be padding: DuckDB always writes
		// 32 of them.
		if width > 0 && count > uint64(len(src)/width) {
			return nil, fmt.Errorf("%w: %d bit-packed groups of %d bytes where %d are left", errPage, count, width, len(src))
		}
		if n = len(dst); count < uint64(n) {
			n = min(int(count)*8, n)
		}
		unpack(dst[:n], src, width)
		dst, src = dst[n:], src[int(count)*width:]
	}
	return src, nil
}

// unpack reads len(dst) little-endian values of width bits from src, which is
// long enough.
func unpack[T int32 | int64](dst []T, src []byte, width int) {
	if width == 0 {
		clear(dst)
		return
	}
	mask := uint64(math.MaxUint64) >> (64 - width)
	for i := range dst {
		bit := i * width
		at, shift := bit>>3, bit&7
		var word, high uint64
		if at+9 <= len(src) {
			word = binary.LittleEndian.Uint64(src[at:])
			high = uint64(src[at+8])
		} else {
			for j, b := range src[at:min(at+8, len(src))] {
				word |= uint64(b) << (8 * j)
			}
		}
		v := word >> shift
		if shift+width > 64 {
			v |= high << (64 - shift)
		}
		dst[i] = T(v & mask)
	}
}

// decodeDelta fills dst from DELTA_BINARY_PACKED data.
func decodeDelta[T int32 | int64](dst []T, src []byte) error {
	var head [3]uint64 // values a block, miniblocks a block, values in all
	for i := range head {
		v, n := binary.Uvarint(src)
		if n <= 0 {
			return fmt.Errorf("%w: delta header", errPage)
		}
		head[i], src = v, src[n:]
	}
	first, n := binary.Varint(src)
	if n <= 0 {
		return fmt.Errorf("%w: delta header", errPage)
	}
	src = src[n:]
	if head[2] != uint64(len(dst)) {
		return fmt.Errorf("%w: %d delta values where there are %d", errPage, head[2], len(dst))
	}
	if len(dst) == 0 {
		return nil
	}
	if head[0] == 0 || head[0] > 1<<16 || head[1] == 0 || head[1] > head[0] ||
		head[0]%head[1] != 0 || head[0]/head[1]%8 != 0 {
		return fmt.Errorf("%w: delta blocks of %d values in %d parts", errPage, head[0], head[1])
	}
	perMini := int(head[0] / head[1])
	last := first
	dst[0] = T(first)
	dst = dst[1:]
	for len(dst) > 0 {
		least, n := binary.Varint(src)
		if n <= 0 || len(src)-n < int(head[1]) {
			return fmt.Errorf("%w: delta block %d values before the end", errPage, len(dst))
		}
		widths := src[n : n+int(head[1])]
		src = src[n+int(head[1]):]
		for _, width := range widths {
			if len(dst) == 0 {
				break
			}
			size := perMini / 8 * int(width)
			if width > 64 || size > len(src) {
				return fmt.Errorf("%w: delta block %d values before the end", errPage, len(dst))
			}
			mini := dst[:min(perMini, len(dst))]
			unpack(mini, src, int(width))
			for i, v := range mini {
				delta := int64(v)
				if width <= 32 { // an int32 of 32 bits must not extend its sign
					delta &= math.MaxUint32
				}
				last += least + delta
				mini[i] = T(last)
			}
			dst, src = dst[len(mini):], src[size:]
		}
	}
	return nil
}

// decodeSplit fills dst from BYTE_STREAM_SPLIT data: all first bytes, then all
// second bytes, and so on.
func decodeSplit(dst []float32, src []byte) error {
	n := len(dst)
	if len(src) != 4*n {
		return fmt.Errorf("%w: %d bytes for %d floats", errPage, len(src), n)
	}
	b0, b1, b2, b3 := src[:n], src[n:2*n], src[2*n:3*n], src[3*n:]
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(b0[i]) | uint32(b1[i])<<8 | uint32(b2[i])<<16 | uint32(b3[i])<<24)
	}
	return nil
}

func decodePlainFloats(dst []float32, src []byte) error {
	if len(src) != 4*len(dst) {
		return fmt.Errorf("%w: %d bytes for %d floats", errPage, len(src), len(dst))
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
	return nil
}

func decodePlainDoubles(dst []float64, src []byte) error {
	if len(src) != 8*len(dst) {
		return fmt.Errorf("%w: %d bytes for %d doubles", errPage, len(src), len(dst))
	}
	for i := range dst {
		dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
	}
	return nil
}

func decodePlainInts[T int32 | int64](dst []T, src []byte, size int) error {
	if len(src) != size*len(dst) {
		return fmt.Errorf("%w: %d bytes for %d integers", errPage, len(src), len(dst))
	}
	for i := range dst {
		if size == 4 {
			dst[i] = T(int32(binary.LittleEndian.Uint32(src[4*i:])))
		} else {
			dst[i] = T(int64(binary.LittleEndian.Uint64(src[8*i:])))
		}
	}
	return nil
}

// decodePlainBools reads bits, or runs of bits behind a length if rle is set.
func decodePlainBools(dst []bool, src []byte, rle bool) error {
	bits := make([]int32, len(dst))
	if rle {
		if len(src) < 4 || uint64(binary.LittleEndian.Uint32(src)) > uint64(len(src)-4) {
			return fmt.Errorf("%w: booleans end early", errPage)
		}
		if _, err := decodeHybrid(bits, src[4:], 1); err != nil {
			return err
		}
	} else {
		if len(src) < (len(dst)+7)/8 {
			return fmt.Errorf("%w: %d bytes for %d booleans", errPage, len(src), len(dst))
		}
		unpack(bits, src, 1)
	}
	for i, b := range bits {
		dst[i] = b != 0
	}
	return nil
}

// decodePlainStrings cuts src into len(dst) strings, which share one copy.
func decodePlainStrings(dst []string, src []byte) error {
	all := string(src)
	for i := range dst {
		if len(src) < 4 || uint64(binary.LittleEndian.Uint32(src)) > uint64(len(src)-4) {
			return fmt.Errorf("%w: text %d of %d ends early", errPage, i, len(dst))
		}
		n := int(binary.LittleEndian.Uint32(src))
		at := len(all) - len(src) + 4
		dst[i] = all[at : at+n]
		src = src[4+n:]
	}
	if len(src) != 0 {
		return fmt.Errorf("%w: %d bytes after the last text", errPage, len(src))
	}
	return nil
}
