package metadataset

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Parquet keeps its footer and page headers in thrift's compact protocol. The
// decoder of the Parquet library allocates a list before it reads it, so a
// footer of a few bytes can ask for terabytes. measureThrift walks a structure
// first and bounds what the decoder will do with it.

const (
	maxThriftDepth    = 16
	maxThriftElements = 1 << 16
)

var errThrift = errors.New("malformed thrift structure")

// measureThrift returns the number of bytes of the structure at the head of b.
// It fails if the structure does not end within b, is nested too deeply or
// holds more list elements than any file of this format needs.
func measureThrift(b []byte) (int, error) {
	w := thriftWalker{rest: b}
	if err := w.structure(0); err != nil {
		return 0, err
	}
	return len(b) - len(w.rest), nil
}

type thriftWalker struct {
	rest     []byte
	elements int
}

func (w *thriftWalker) structure(depth int) error {
	if depth > maxThriftDepth {
		return fmt.Errorf("%w: nested more than %d deep", errThrift, maxThriftDepth)
	}
	for {
		head, err := w.byte()
		if err != nil {
			return err
		}
		if head == 0 {
			return nil
		}
		if head>>4 == 0 {
			if _, err := w.uvarint(); err != nil {
				return err
			}
		}
		if kind := head & 0x0f; kind != 1 && kind != 2 { // a boolean field is its type
			if err := w.value(kind, depth); err != nil {
				return err
			}
		}
	}
}

func (w *thriftWalker) value(kind byte, depth int) error {
	switch kind {
	case 1, 2, 3: // booleans (in lists) and bytes
		return w.skip(1)
	case 4, 5, 6: // i16, i32, i64
		_, err := w.uvarint()
		return err
	case 7: // double
		return w.skip(8)
	case 8: // binary
		n, err := w.uvarint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case 9, 10: // list, set
		head, err := w.byte()
		if err != nil {
			return err
		}
		n := uint64(head >> 4)
		if n == 15 {
			if n, err = w.uvarint(); err != nil {
				return err
			}
		}
		return w.list(n, depth, head&0x0f)
	case 11: // map
		n, err := w.uvarint()
		if err != nil || n == 0 {
			return err
		}
		kinds, err := w.byte()
		if err != nil {
			return err
		}
		return w.list(n, depth, kinds>>4, kinds&0x0f)
	case 12:
		return w.structure(depth + 1)
	}
	return fmt.Errorf("%w: unknown type %d", errThrift, kind)
}

func (w *thriftWalker) list(n uint64, depth int, kinds ...byte) error {
	if n > uint64(len(w.rest)) {
		return fmt.Errorf("%w: a list claims %d elements in %d bytes", errThrift, n, len(w.rest))
	}
	if w.elements += int(n); w.elements > maxThriftElements {
		return fmt.Errorf("%w: more than %d list elements", errThrift, maxThriftElements)
	}
	if depth >= maxThriftDepth {
		return fmt.Errorf("%w: nested more than %d deep", errThrift, maxThriftDepth)
	}
	for range n {
		for _, kind := range kinds {
			if err := w.value(kind, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *thriftWalker) byte() (byte, error) {
	if len(w.rest) == 0 {
		return 0, fmt.Errorf("%w: it ends early", errThrift)
	}
	b := w.rest[0]
	w.rest = w.rest[1:]
	return b, nil
}

func (w *thriftWalker) uvarint() (uint64, error) {
	v, n := binary.Uvarint(w.rest)
	if n <= 0 {
		return 0, fmt.Errorf("%w: bad integer", errThrift)
	}
	w.rest = w.rest[n:]
	return v, nil
}

func (w *thriftWalker) skip(n uint64) error {
	if n > uint64(len(w.rest)) {
		return fmt.Errorf("%w: it ends early", errThrift)
	}
	w.rest = w.rest[n:]
	return nil
}
