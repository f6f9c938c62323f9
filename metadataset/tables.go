package metadataset

import (
	"io"
	"reflect"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// metaPrefix keeps meta-features apart from the other columns of
// datasets.parquet.
const metaPrefix = "mf_"

// rowsPerGroup is the size of a row group of the curves.
const rowsPerGroup = 1 << 20

// rowsPerBatch is how many rows are handed to the writer at a time. Pages end
// where a batch does, so it is part of the layout.
const rowsPerBatch = 4096

// A tableColumn is one column of a file to be written.
type tableColumn struct {
	name     string
	node     parquet.Node
	nullable bool
	// fill sets dst to the values of the rows from row on, the null value where
	// there is none.
	fill func(dst []parquet.Value, row int)
}

// each makes a fill of what gives one value.
func each(value func(row int) parquet.Value) func([]parquet.Value, int) {
	return func(dst []parquet.Value, row int) {
		for i := range dst {
			dst[i] = value(row + i)
		}
	}
}

// writeTable writes one Parquet file. The same columns always give the same
// bytes. Options overrule those of the format.
func writeTable(w io.Writer, rows int, columns []tableColumn, options ...parquet.WriterOption) error {
	var root rowNode
	for _, c := range columns {
		node := c.node
		if c.nullable {
			node = parquet.Optional(node)
		}
		root.fields = append(root.fields, rowField{node, c.name})
	}
	out := parquet.NewWriter(w, append([]parquet.WriterOption{
		parquet.NewSchema("schema", root),
		parquet.CreatedBy("quicktune", "1", "metadataset"),
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault}),
		parquet.DataPageVersion(2),
		parquet.DictionaryMaxBytes(16 << 20),
	}, options...)...)
	// All columns of some rows, then those of the next: what the rows are made
	// of lies all over the memory.
	buf := make([]parquet.Value, min(rows, rowsPerBatch))
	for from := 0; from < rows; from += rowsPerGroup {
		to := min(from+rowsPerGroup, rows)
		writers := out.ColumnWriters()
		for row := from; row < to; row += rowsPerBatch {
			batch := buf[:min(rowsPerBatch, to-row)]
			for i, cw := range writers {
				columns[i].fill(batch, row)
				for k, v := range batch {
					level := 0
					if columns[i].nullable && !v.IsNull() {
						level = 1
					}
					batch[k] = v.Level(0, level, i)
				}
				if _, err := cw.WriteRowValues(batch); err != nil {
					return err
				}
			}
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return out.Close()
}

// A rowNode is the root of a schema whose columns keep their order;
// parquet.Group would sort them by name.
type rowNode struct {
	parquet.Group // what a group without fields says of itself
	fields        []parquet.Field
}

func (n rowNode) Fields() []parquet.Field { return n.fields }

type rowField struct {
	parquet.Node
	name string
}

func (f rowField) Name() string { return f.name }

// Value is asked for by writers of Go values, of which there are none here.
func (f rowField) Value(base reflect.Value) reflect.Value { return base.FieldByName(f.name) }

// The nodes of the columns.
var (
	textNode     = parquet.Encoded(parquet.String(), &parquet.Plain)
	nameNode     = parquet.Encoded(parquet.String(), &parquet.RLEDictionary)
	countNode    = parquet.Encoded(parquet.Int(32), &parquet.DeltaBinaryPacked)
	longNode     = parquet.Encoded(parquet.Int(64), &parquet.DeltaBinaryPacked)
	longDictNode = parquet.Encoded(parquet.Int(64), &parquet.RLEDictionary)
	realNode     = parquet.Encoded(parquet.Leaf(parquet.DoubleType), &parquet.Plain)
	realDictNode = parquet.Encoded(parquet.Leaf(parquet.DoubleType), &parquet.RLEDictionary)
	boolNode     = parquet.Encoded(parquet.Leaf(parquet.BooleanType), &parquet.Plain)
	curveNode    = parquet.Encoded(parquet.Leaf(parquet.FloatType), &parquet.ByteStreamSplit)
)

func text(s string) parquet.Value { return parquet.ByteArrayValue([]byte(s)) }

func textOrNull(s string) parquet.Value {
	if s == "" {
		return parquet.NullValue()
	}
	return text(s)
}

func realOrNull(v float64) parquet.Value {
	if v != v {
		return parquet.NullValue()
	}
	return parquet.DoubleValue(v)
}

func floatOrNull(v float32) parquet.Value {
	if v != v {
		return parquet.NullValue()
	}
	return parquet.FloatValue(v)
}

func rowNumber(row int) parquet.Value { return parquet.Int32Value(int32(row)) }

func datasetColumns(datasets []Dataset, metaFeatures []string) []tableColumn {
	columns := []tableColumn{{"dataset", textNode, false, each(func(row int) parquet.Value { return text(datasets[row].Name) })}}
	for _, name := range descriptorNames {
		columns = append(columns, tableColumn{name, longNode, true, each(func(row int) parquet.Value {
			if n := *datasets[row].descriptor(name); n != 0 {
				return parquet.Int64Value(int64(n))
			}
			return parquet.NullValue()
		})})
	}
	for i, name := range metaFeatures {
		columns = append(columns, tableColumn{metaPrefix + name, realNode, true, each(func(row int) parquet.Value {
			if f := datasets[row].MetaFeatures; len(f) > 0 {
				return realOrNull(f[i])
			}
			return parquet.NullValue()
		})})
	}
	return columns
}

func modelColumns(models []Model) []tableColumn {
	columns := []tableColumn{{"model", textNode, false, each(func(row int) parquet.Value { return text(models[row].Name) })}}
	for i, name := range modelNumbers {
		columns = append(columns, tableColumn{name, realNode, true, each(func(row int) parquet.Value {
			return realOrNull(*models[row].number(i))
		})})
	}
	return columns
}

func configColumns(curves []*InputCurve, hyper []hyperColumn, model *hyperColumn) []tableColumn {
	columns := []tableColumn{
		{"config", countNode, false, each(rowNumber)},
		{"id", textNode, false, each(func(row int) parquet.Value { return text(curves[row].ID) })},
		{"dataset", nameNode, false, each(func(row int) parquet.Value { return text(curves[row].Dataset) })},
	}
	if model == nil {
		columns = append(columns, tableColumn{"model", nameNode, true, each(func(int) parquet.Value { return parquet.NullValue() })})
	} else {
		columns = append(columns, hyperTableColumn(curves, *model))
	}
	for _, c := range hyper {
		columns = append(columns, hyperTableColumn(curves, c))
	}
	return columns
}

func hyperTableColumn(curves []*InputCurve, c hyperColumn) tableColumn {
	t := tableColumn{name: c.name, nullable: true}
	switch c.kind {
	case format.Boolean:
		t.node = boolNode
	case format.Int64:
		t.node = longNode
		if c.choices != nil {
			t.node = longDictNode
		}
	case format.Double:
		t.node = realNode
		if c.choices != nil {
			t.node = realDictNode
		}
	default:
		t.node = nameNode
	}
	t.fill = each(func(row int) parquet.Value {
		v := curves[row].Config[c.param]
		switch {
		case v.IsInactive() || isNone(v):
			return parquet.NullValue()
		case c.kind == format.Boolean:
			return parquet.BooleanValue(v.Num() != 0)
		case c.kind == format.Int64:
			return parquet.Int64Value(int64(v.Num()))
		case c.kind == format.Double:
			return parquet.DoubleValue(v.Num())
		}
		return text(v.String())
	})
	return t
}

func endColumns(curves []*InputCurve) []tableColumn {
	return []tableColumn{
		{"config", countNode, false, each(rowNumber)},
		{"end", nameNode, false, each(func(row int) parquet.Value { return text(string(curves[row].End)) })},
		{"reason", textNode, true, each(func(row int) parquet.Value { return textOrNull(curves[row].Reason) })},
		{"epochs", countNode, false, each(func(row int) parquet.Value { return parquet.Int32Value(int32(curves[row].epochs())) })},
	}
}

// curveColumns lists the columns of one part: the epochs of curves[lo:hi].
func curveColumns(curves []*InputCurve, lo, hi int, columns []Column) []tableColumn {
	var config, epoch []int32 // of each row
	for c := lo; c < hi; c++ {
		for e := range curves[c].epochs() {
			config, epoch = append(config, int32(c)), append(epoch, int32(e+1))
		}
	}
	table := []tableColumn{
		{"config", countNode, false, each(func(row int) parquet.Value { return parquet.Int32Value(config[row]) })},
		{"epoch", countNode, false, each(func(row int) parquet.Value { return parquet.Int32Value(epoch[row]) })},
	}
	for _, c := range columns {
		of := make([][]float32, hi-lo) // of each curve
		for i := range of {
			of[i] = curves[lo+i].Values[c]
		}
		table = append(table, tableColumn{string(c), curveNode, true, func(dst []parquet.Value, row int) {
			for len(dst) > 0 { // curve by curve
				at := int(config[row])
				first := int(epoch[row]) - 1
				n := min(len(dst), curves[at].epochs()-first)
				values := of[at-lo]
				for i := range dst[:n] {
					if values != nil {
						dst[i] = floatOrNull(values[first+i])
					} else {
						dst[i] = parquet.NullValue()
					}
				}
				dst, row = dst[n:], row+n
			}
		}})
	}
	return table
}
