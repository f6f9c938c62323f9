package metadataset

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// This file reads columns out of Parquet files that nobody vouches for. The
// footer and the page headers are decoded by the Parquet library after
// measureThrift has bounded them; levels and values are decoded here, because
// the library's decoders believe the counts that stand in a page, and a page
// of a few bytes can claim gigabytes.

const (
	maxFooterBytes = 4 << 20
	maxPageBytes   = 64 << 20 // of one page, uncompressed
	// maxPartRows is the largest number of rows of one file.
	maxPartRows = 4 << 20
)

// plainDictionary is what writers of the first version of Parquet, DuckDB
// among them, call Plain in a dictionary and RLEDictionary in a page of ids.
const plainDictionary format.Encoding = 2

// A parquetFile is one flat Parquet file in memory, with its footer checked
// against the file's size.
type parquetFile struct {
	data    []byte
	rows    int
	columns []parquetColumn
	groups  []format.RowGroup
}

type parquetColumn struct {
	name     string
	kind     format.Type
	optional bool
}

// openParquet checks the footer of a file. It keeps data, which must not
// change afterwards.
func openParquet(data []byte) (f *parquetFile, err error) {
	defer recoverParquet(&err)
	const magic = "PAR1"
	n := len(data)
	if n < 12 || string(data[:4]) != magic || string(data[n-4:]) != magic {
		return nil, fmt.Errorf("not a Parquet file, or a truncated one (%d bytes)", n)
	}
	size := int64(binary.LittleEndian.Uint32(data[n-8:]))
	if size > int64(n-12) || size > maxFooterBytes {
		return nil, fmt.Errorf("the footer claims %d bytes of a file of %d", size, n)
	}
	footer := data[n-8-int(size) : n-8]
	if _, err := measureThrift(footer); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	var meta format.FileMetaData
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), footer, &meta); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	f = &parquetFile{data: data, groups: meta.RowGroups}
	if err := f.readSchema(meta.Schema); err != nil {
		return nil, err
	}
	var rows int64
	for i := range meta.RowGroups {
		g := &meta.RowGroups[i]
		if len(g.Columns) != len(f.columns) {
			return nil, fmt.Errorf("row group %d has %d columns, the schema %d", i, len(g.Columns), len(f.columns))
		}
		if g.NumRows < 0 || g.NumRows > maxPartRows-rows {
			return nil, fmt.Errorf("row group %d claims %d rows; a file holds at most %d", i, g.NumRows, maxPartRows)
		}
		rows += g.NumRows
	}
	if rows != meta.NumRows {
		return nil, fmt.Errorf("the footer counts %d rows, its row groups %d", meta.NumRows, rows)
	}
	f.rows = int(rows)
	return f, nil
}

func (f *parquetFile) readSchema(schema []format.SchemaElement) error {
	if len(schema) < 2 || schema[0].NumChildren.V != int32(len(schema)-1) {
		return fmt.Errorf("the schema is not a flat list of columns")
	}
	seen := make(map[string]bool, len(schema))
	for _, e := range schema[1:] {
		repetition := format.Required
		if e.RepetitionType.Valid {
			repetition = e.RepetitionType.V
		}
		if !e.Type.Valid || e.NumChildren.Valid && e.NumChildren.V != 0 ||
			repetition != format.Required && repetition != format.Optional {
			return fmt.Errorf("column %q is nested or repeated", e.Name)
		}
		if seen[e.Name] {
			return fmt.Errorf("column %q occurs twice", e.Name)
		}
		seen[e.Name] = true
		f.columns = append(f.columns, parquetColumn{e.Name, e.Type.V, repetition == format.Optional})
	}
	return nil
}

// column returns the index of a column, -1 if there is none.
func (f *parquetFile) column(name string) int {
	for i, c := range f.columns {
		if c.name == name {
			return i
		}
	}
	return -1
}

// A page is the values of a run of rows of one column.
type page struct {
	row      int    // row of the file at which the page begins
	present  []bool // for each row, nil if no row is null
	rows     int
	values   int // rows that are not null
	encoding format.Encoding
	body     []byte // valid until visit returns
}

// scan calls dictionary with the values of each row group's dictionary, if it
// has one, and then visit with its pages, in the order of the file.
func (f *parquetFile) scan(column int, kind format.Type, dictionary func(n int, body []byte) error, visit func(*page) error) (err error) {
	defer recoverParquet(&err)
	c := f.columns[column]
	if c.kind != kind {
		return fmt.Errorf("its type is %v, want %v", c.kind, kind)
	}
	s := scanner{file: f, optional: c.optional, dictionary: dictionary, visit: visit}
	for i := range f.groups {
		g := &f.groups[i]
		if err := s.group(&g.Columns[column], int(g.NumRows)); err != nil {
			return fmt.Errorf("row group %d: %w", i, err)
		}
	}
	return nil
}

type scanner struct {
	file       *parquetFile
	optional   bool
	dictionary func(n int, body []byte) error
	visit      func(*page) error

	row     int
	present []bool
	levels  []int32
	inflate []byte
}

func (s *scanner) group(chunk *format.ColumnChunk, rows int) error {
	m := &chunk.MetaData
	if chunk.FilePath != "" || m.NumValues != int64(rows) {
		return fmt.Errorf("%d values for %d rows", m.NumValues, rows)
	}
	if m.Codec != format.Zstd && m.Codec != format.Uncompressed {
		return fmt.Errorf("compressed with %v; this format uses zstd", m.Codec)
	}
	start := m.DataPageOffset
	if m.DictionaryPageOffset > 0 && m.DictionaryPageOffset < start {
		start = m.DictionaryPageOffset
	}
	size := int64(len(s.file.data))
	if start < 4 || m.TotalCompressedSize < 0 || start > size || m.TotalCompressedSize > size-start {
		return fmt.Errorf("pages at %d+%d, outside the file of %d bytes", start, m.TotalCompressedSize, size)
	}
	rest := s.file.data[start : start+m.TotalCompressedSize]
	end := s.row + rows
	haveDictionary := false
	for s.row < end {
		n, err := measureThrift(rest)
		if err != nil {
			return fmt.Errorf("page header: %w", err)
		}
		var h format.PageHeader
		if err := thrift.Unmarshal(new(thrift.CompactProtocol), rest[:n], &h); err != nil {
			return fmt.Errorf("page header: %w", err)
		}
		rest = rest[n:]
		if h.CompressedPageSize < 0 || int64(h.CompressedPageSize) > int64(len(rest)) {
			return fmt.Errorf("%w: %d bytes where %d are left", errPage, h.CompressedPageSize, len(rest))
		}
		if h.UncompressedPageSize < 0 || h.UncompressedPageSize > maxPageBytes {
			return fmt.Errorf("%w: %d bytes uncompressed, at most %d allowed", errPage, h.UncompressedPageSize, maxPageBytes)
		}
		body := rest[:h.CompressedPageSize]
		rest = rest[h.CompressedPageSize:]
		if h.Type == format.DictionaryPage {
			if haveDictionary {
				return fmt.Errorf("%w: a second dictionary", errPage)
			}
			haveDictionary = true
			if err := s.readDictionary(&h, body, m.Codec); err != nil {
				return fmt.Errorf("dictionary: %w", err)
			}
			continue
		}
		p, err := s.readPage(&h, body, m.Codec, end-s.row)
		if err != nil {
			return err
		}
		if p.encoding == format.RLEDictionary && !haveDictionary {
			return fmt.Errorf("%w: no dictionary", errPage)
		}
		if err := s.visit(p); err != nil {
			return err
		}
		s.row += p.rows
	}
	return nil
}

func (s *scanner) readDictionary(h *format.PageHeader, body []byte, codec format.CompressionCodec) error {
	d := &h.DictionaryPageHeader
	if !d.Valid || d.V.NumValues < 0 || d.V.NumValues > maxPartRows ||
		d.V.Encoding != format.Plain && d.V.Encoding != plainDictionary {
		return errPage
	}
	body, err := s.decompress(body, codec, int(h.UncompressedPageSize))
	if err != nil {
		return err
	}
	// The smallest value of a dictionary takes four bytes, or one for bits.
	if int(d.V.NumValues) > len(body) {
		return fmt.Errorf("%w: %d values in %d bytes", errPage, d.V.NumValues, len(body))
	}
	return s.dictionary(int(d.V.NumValues), body)
}

// readPage splits a data page into levels and values; left is how many rows
// the row group still lacks.
func (s *scanner) readPage(h *format.PageHeader, body []byte, codec format.CompressionCodec, left int) (*page, error) {
	p := &page{row: s.row}
	var levels []byte
	nulls := int32(-1) // unknown
	switch {
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		v := &h.DataPageHeaderV2.V
		p.rows, p.encoding, nulls = int(v.NumValues), v.Encoding, v.NumNulls
		if v.NumRows != v.NumValues || v.RepetitionLevelsByteLength != 0 || v.DefinitionLevelsByteLength < 0 ||
			int(v.DefinitionLevelsByteLength) > len(body) || v.DefinitionLevelsByteLength > h.UncompressedPageSize {
			return nil, errPage
		}
		n := v.DefinitionLevelsByteLength
		levels, body = body[:n], body[n:]
		if !v.IsCompressed.Valid || v.IsCompressed.V {
			var err error
			if body, err = s.decompress(body, codec, int(h.UncompressedPageSize-n)); err != nil {
				return nil, err
			}
		}
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		v := &h.DataPageHeader.V
		p.rows, p.encoding = int(v.NumValues), v.Encoding
		var err error
		if body, err = s.decompress(body, codec, int(h.UncompressedPageSize)); err != nil {
			return nil, err
		}
		if s.optional {
			if v.DefinitionLevelEncoding != format.RLE || len(body) < 4 ||
				uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
				return nil, errPage
			}
			n := binary.LittleEndian.Uint32(body)
			levels, body = body[4:4+n], body[4+n:]
		}
	default:
		return nil, fmt.Errorf("%w: of type %v", errPage, h.Type)
	}
	if p.rows <= 0 || p.rows > left {
		return nil, fmt.Errorf("%w: %d rows where %d are left", errPage, p.rows, left)
	}
	if p.encoding == plainDictionary {
		p.encoding = format.RLEDictionary
	}
	p.body, p.values = body, p.rows
	if s.optional && nulls != 0 {
		if err := s.readLevels(p, levels); err != nil {
			return nil, err
		}
		if nulls > 0 && p.rows-p.values != int(nulls) {
			return nil, fmt.Errorf("%w: %d nulls, its header says %d", errPage, p.rows-p.values, nulls)
		}
	} else if nulls > 0 {
		return nil, fmt.Errorf("%w: nulls in a required column", errPage)
	}
	return p, nil
}

func (s *scanner) readLevels(p *page, levels []byte) error {
	if cap(s.levels) < p.rows {
		s.levels, s.present = make([]int32, p.rows), make([]bool, p.rows)
	}
	decoded, present := s.levels[:p.rows], s.present[:p.rows]
	if _, err := decodeHybrid(decoded, levels, 1); err != nil {
		return fmt.Errorf("definition levels: %w", err)
	}
	p.values = 0
	for i, l := range decoded {
		present[i] = l == 1
		p.values += int(l & 1)
	}
	if p.values < p.rows {
		p.present = present
	}
	return nil
}

var pageDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxPageBytes))
})

func (s *scanner) decompress(body []byte, codec format.CompressionCodec, size int) ([]byte, error) {
	if codec == format.Uncompressed {
		return body, nil
	}
	if size == 0 && len(body) == 0 {
		return nil, nil
	}
	d, err := pageDecoder()
	if err != nil {
		return nil, err
	}
	s.inflate, err = d.DecodeAll(body, s.inflate[:0])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errPage, err)
	}
	if len(s.inflate) != size {
		return nil, fmt.Errorf("%w: %d bytes, its header says %d", errPage, len(s.inflate), size)
	}
	return s.inflate, nil
}

// ids decodes the dictionary ids of a page; each is less than limit.
func (p *page) ids(dst []int32, limit int) ([]int32, error) {
	if cap(dst) < p.values {
		dst = make([]int32, p.values)
	}
	dst = dst[:p.values]
	if len(dst) == 0 {
		return dst, nil
	}
	if len(p.body) == 0 {
		return nil, fmt.Errorf("%w: no dictionary ids", errPage)
	}
	if _, err := decodeHybrid(dst, p.body[1:], int(p.body[0])); err != nil {
		return nil, fmt.Errorf("dictionary ids: %w", err)
	}
	for i, id := range dst {
		if uint32(id) >= uint32(limit) {
			return nil, fmt.Errorf("%w: value %d has id %d of a dictionary of %d", errPage, i, uint32(id), limit)
		}
	}
	return dst, nil
}

// readFloats fills dst, one number a row, NaN for null. It reports the first
// row that holds a NaN that is not null.
func (f *parquetFile) readFloats(column int, dst []float32) (nanRow int, err error) {
	nanRow = -1
	var dict []float32
	var ids []int32
	nan := float32(math.NaN())
	err = f.scan(column, format.Float, func(n int, body []byte) error {
		dict = make([]float32, n)
		return decodePlainFloats(dict, body)
	}, func(p *page) error {
		out := dst[p.row : p.row+p.rows]
		values := out[:p.values]
		switch {
		case p.encoding == format.ByteStreamSplit:
			if err := decodeSplit(values, p.body); err != nil {
				return err
			}
		case p.encoding == format.Plain:
			if err := decodePlainFloats(values, p.body); err != nil {
				return err
			}
		case p.encoding == format.RLEDictionary:
			if ids, err = p.ids(ids, len(dict)); err != nil {
				return err
			}
			for i, id := range ids {
				values[i] = dict[id]
			}
		default:
			return fmt.Errorf("%w: floats encoded as %v", errPage, p.encoding)
		}
		if p.present != nil {
			spread(out, p, nan)
		}
		for i, v := range out {
			if v != v && (p.present == nil || p.present[i]) && nanRow < 0 {
				nanRow = p.row + i
			}
		}
		return nil
	})
	return nanRow, err
}

// spread moves the first p.values elements of out to the rows that are not
// null and sets the others to null.
func spread[T any](out []T, p *page, null T) {
	k := p.values
	for i := len(out) - 1; i >= 0; i-- {
		if p.present[i] {
			k--
			out[i] = out[k]
		} else {
			out[i] = null
		}
	}
}

// readInts fills dst, one number a row, of a column without nulls.
func (f *parquetFile) readInts(column int, dst []int32) error {
	var dict, ids []int32
	return f.scan(column, format.Int32, func(n int, body []byte) error {
		dict = make([]int32, n)
		return decodePlainInts(dict, body, 4)
	}, func(p *page) (err error) {
		if p.present != nil {
			for i, ok := range p.present {
				if !ok {
					return fmt.Errorf("row %d is null", p.row+i)
				}
			}
		}
		values := dst[p.row : p.row+p.rows]
		switch {
		case p.encoding == format.DeltaBinaryPacked:
			return decodeDelta(values, p.body)
		case p.encoding == format.Plain:
			return decodePlainInts(values, p.body, 4)
		case p.encoding == format.RLEDictionary:
			if ids, err = p.ids(ids, len(dict)); err != nil {
				return err
			}
			for i, id := range ids {
				values[i] = dict[id]
			}
			return nil
		}
		return fmt.Errorf("%w: integers encoded as %v", errPage, p.encoding)
	})
}

// An indexed column holds values and, for every row, the index of its value,
// -1 for null. A value may occur more than once.
type indexed[T any] struct {
	values []T
	index  []int32
}

// at returns the value of a row, and false if it is null.
func (c *indexed[T]) at(row int) (v T, ok bool) {
	if i := c.index[row]; i >= 0 {
		return c.values[i], true
	}
	return v, false
}

// readIndexed reads a column. It allocates as pages prove to be there, not by
// what the footer claims.
func readIndexed[T any](f *parquetFile, column int, kind format.Type, decode func(dst []T, body []byte, e format.Encoding) error) (indexed[T], error) {
	var c indexed[T]
	base, size := 0, 0 // of the current row group's dictionary within c.values
	var ids []int32
	err := f.scan(column, kind, func(n int, body []byte) error {
		base, size = len(c.values), n
		c.values = append(c.values, make([]T, n)...)
		return decode(c.values[base:], body, format.Plain)
	}, func(p *page) (err error) {
		c.index = slices.Grow(c.index, p.rows)[:p.row+p.rows]
		out := c.index[p.row:]
		if p.encoding == format.RLEDictionary {
			if ids, err = p.ids(ids, size); err != nil {
				return err
			}
			for i, id := range ids {
				out[i] = int32(base) + id
			}
		} else {
			at := len(c.values)
			if p.encoding == format.Plain && p.values > 8*len(p.body) {
				return fmt.Errorf("%w: %d values in %d bytes", errPage, p.values, len(p.body))
			}
			c.values = append(c.values, make([]T, p.values)...)
			if err := decode(c.values[at:], p.body, p.encoding); err != nil {
				return err
			}
			for i := range out[:p.values] {
				out[i] = int32(at + i)
			}
		}
		if p.present != nil {
			spread(out, p, -1)
		}
		return nil
	})
	return c, err
}

func (f *parquetFile) readStrings(column int) (indexed[string], error) {
	return readIndexed(f, column, format.ByteArray, func(dst []string, body []byte, e format.Encoding) error {
		if e != format.Plain {
			return fmt.Errorf("%w: text encoded as %v", errPage, e)
		}
		return decodePlainStrings(dst, body)
	})
}

func (f *parquetFile) readDoubles(column int) (indexed[float64], error) {
	return readIndexed(f, column, format.Double, func(dst []float64, body []byte, e format.Encoding) error {
		if e != format.Plain {
			return fmt.Errorf("%w: doubles encoded as %v", errPage, e)
		}
		return decodePlainDoubles(dst, body)
	})
}

func (f *parquetFile) readLongs(column int) (indexed[int64], error) {
	return readIndexed(f, column, format.Int64, func(dst []int64, body []byte, e format.Encoding) error {
		switch e {
		case format.Plain:
			return decodePlainInts(dst, body, 8)
		case format.DeltaBinaryPacked:
			return decodeDelta(dst, body)
		}
		return fmt.Errorf("%w: integers encoded as %v", errPage, e)
	})
}

func (f *parquetFile) readBools(column int) (indexed[bool], error) {
	return readIndexed(f, column, format.Boolean, func(dst []bool, body []byte, e format.Encoding) error {
		switch e {
		case format.Plain, format.RLE:
			return decodePlainBools(dst, body, e == format.RLE)
		}
		return fmt.Errorf("%w: booleans encoded as %v", errPage, e)
	})
}

// recoverParquet turns a panic of the Parquet library on malformed input into
// an error.
func recoverParquet(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("malformed Parquet file: %v", r)
	}
}
