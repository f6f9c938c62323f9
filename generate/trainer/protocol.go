package trainer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"quicktune/metadataset"
)

// The JSON-lines protocol. A trainer behind a pipe reads one request, a line
//
//	{"type":"request","trial":"t1","model":"...","config":{"lr":0.001},"dataset":"...","epochs":50,"seed":1}
//
// and writes one line a message:
//
//	{"type":"record","trial":"t1","epoch":1,"train_loss":2.1,"val_loss":1.9,"val_accuracy":0.4,...}
//	{"type":"end","trial":"t1","end":"completed"}
//	{"type":"error","trial":"t1","reason":"..."}
//
// An error line stands for the error of [Trainer.Train]. Unknown fields are
// ignored, so that a trainer may tell more; unknown types are errors.

// maxLine is the longest line that is read.
const maxLine = 1 << 20

// line is one message of either direction.
type line struct {
	Type  string `json:"type"`
	Trial string `json:"trial"`

	EpochLine

	End    metadataset.End `json:"end,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// EpochLine is a record without its trial as it stands in JSON: a number that is
// not finite is left out. Lines of JSON that tell of an epoch embed it.
type EpochLine struct {
	Epoch        int      `json:"epoch,omitempty"`
	TrainLoss    *float64 `json:"train_loss,omitempty"`
	ValLoss      *float64 `json:"val_loss,omitempty"`
	ValAccuracy  *float64 `json:"val_accuracy,omitempty"`
	TestAccuracy *float64 `json:"test_accuracy,omitempty"`
	LearningRate *float64 `json:"learning_rate,omitempty"`
	TrainSeconds *float64 `json:"train_seconds,omitempty"`
	EvalSeconds  *float64 `json:"eval_seconds,omitempty"`
}

// EpochLine returns what JSON says of the record.
func (r Record) EpochLine() EpochLine {
	number := func(v float64) *float64 {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil
		}
		return &v
	}
	return EpochLine{
		Epoch: r.Epoch, TrainLoss: number(r.TrainLoss), ValLoss: number(r.ValLoss),
		ValAccuracy: number(r.ValAccuracy), TestAccuracy: number(r.TestAccuracy),
		LearningRate: number(r.LearningRate), TrainSeconds: number(r.TrainSeconds), EvalSeconds: number(r.EvalSeconds),
	}
}

// Record returns the record that l tells of, with NaN for what it does not.
func (l EpochLine) Record(trial string) Record {
	orNaN := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}
	return Record{
		Trial: trial, Epoch: l.Epoch, TrainLoss: orNaN(l.TrainLoss), ValLoss: orNaN(l.ValLoss),
		ValAccuracy: orNaN(l.ValAccuracy), TestAccuracy: orNaN(l.TestAccuracy),
		LearningRate: orNaN(l.LearningRate), TrainSeconds: orNaN(l.TrainSeconds), EvalSeconds: orNaN(l.EvalSeconds),
	}
}

// MarshalJSON writes the record as one line of the protocol. A number that is
// not finite is left out.
func (r Record) MarshalJSON() ([]byte, error) {
	return json.Marshal(line{Type: "record", Trial: r.Trial, EpochLine: r.EpochLine()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Record) UnmarshalJSON(data []byte) error {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	v, err := l.record()
	if err != nil {
		return err
	}
	*r = v
	return nil
}

func (l line) record() (Record, error) {
	r := l.Record(l.Trial)
	if l.Type != "record" {
		return Record{}, fmt.Errorf("message of type %q is no record", l.Type)
	}
	if r.Epoch < 1 {
		return Record{}, fmt.Errorf("record of trial %q: epoch %d is not at least 1", l.Trial, l.Epoch)
	}
	for _, c := range []struct {
		name string
		v    float64
		most float64
	}{
		{"val_accuracy", r.ValAccuracy, 1},
		{"test_accuracy", r.TestAccuracy, 1},
		{"learning_rate", r.LearningRate, math.MaxFloat64},
		{"train_seconds", r.TrainSeconds, math.MaxFloat64},
		{"eval_seconds", r.EvalSeconds, math.MaxFloat64},
	} {
		if c.v < 0 || c.v > c.most {
			return Record{}, fmt.Errorf("record of trial %q, epoch %d: %s is %g, beyond its range", l.Trial, l.Epoch, c.name, c.v)
		}
	}
	return r, nil
}

// Encoder writes the trainer's side of the protocol.
type Encoder struct{ enc *json.Encoder }

// NewEncoder returns an encoder that writes to w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{json.NewEncoder(w)} }

// Record writes a record.
func (e *Encoder) Record(r Record) error { return e.enc.Encode(r) }

// End writes the end of a request.
func (e *Encoder) End(end End) error {
	return e.enc.Encode(line{Type: "end", Trial: end.Trial, End: end.End, Reason: end.Reason})
}

// Error writes an error of the work on a request.
func (e *Encoder) Error(trial string, err error) error {
	return e.enc.Encode(line{Type: "error", Trial: trial, Reason: err.Error()})
}

// EncodeRequest returns the line of a request, with its line feed.
func EncodeRequest(r Request) ([]byte, error) {
	type plain Request
	data, err := json.Marshal(struct {
		Type string `json:"type"`
		plain
	}{"request", plain(r)})
	return append(data, '\n'), err
}

// DecodeRequest reads the line of a request.
func DecodeRequest(data []byte) (Request, error) {
	type plain Request
	var m struct {
		Type string `json:"type"`
		plain
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return Request{}, fmt.Errorf("request is not the expected JSON: %w", err)
	}
	r := Request(m.plain)
	if m.Type != "request" {
		return Request{}, fmt.Errorf("message of type %q is no request", m.Type)
	}
	return r, r.check()
}

// check refuses a request that no trainer can work on.
func (r Request) check() error {
	switch {
	case r.Trial == "":
		return errors.New("request without the name of a trial")
	case r.Model == "":
		return fmt.Errorf("request of trial %q names no model", r.Trial)
	case r.Dataset == "":
		return fmt.Errorf("request of trial %q names no data set", r.Trial)
	case r.Epochs < 1:
		return fmt.Errorf("request of trial %q: %d epochs are not at least 1", r.Trial, r.Epochs)
	case r.Until < 0 || r.Until > r.Epochs:
		return fmt.Errorf("request of trial %q: until %d is not an epoch of the %d planned", r.Trial, r.Until, r.Epochs)
	case !(r.CurveCap >= 0) || math.IsInf(r.CurveCap, 0):
		return fmt.Errorf("request of trial %q: a curve cap of %g seconds is not a time", r.Trial, r.CurveCap)
	}
	return nil
}

// ends that a trainer may report.
var ends = map[metadataset.End]bool{
	metadataset.EndCompleted: true, metadataset.EndTimeCapped: true, metadataset.EndDiverged: true,
	metadataset.EndOutOfMemory: true, metadataset.EndFailed: true,
}

// Decode reads what the trainer of trial wrote to its end, calling emit for
// each record. It refuses records out of order, messages of other trials and a
// stream that ends without an end. Blank lines are skipped.
func Decode(r io.Reader, trial string, emit func(Record) error) (End, error) {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	last := 0
	for n := 1; s.Scan(); n++ {
		text := bytes.TrimSpace(s.Bytes())
		if len(text) == 0 {
			continue
		}
		fail := func(err error) (End, error) {
			return End{}, fmt.Errorf("trainer of trial %q, line %d: %w", trial, n, err)
		}
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			return fail(fmt.Errorf("not a message: %w", err))
		}
		if l.Trial != trial {
			return fail(fmt.Errorf("message of trial %q", l.Trial))
		}
		switch l.Type {
		case "record":
			rec, err := l.record()
			if err != nil {
				return fail(err)
			}
			if rec.Epoch <= last {
				return fail(fmt.Errorf("epoch %d after epoch %d", rec.Epoch, last))
			}
			last = rec.Epoch
			if err := emit(rec); err != nil {
				return End{}, err
			}
		case "end":
			if !ends[l.End] {
				return fail(fmt.Errorf("unknown end %q", l.End))
			}
			return End{Trial: trial, End: l.End, Reason: l.Reason}, nil
		case "error":
			return fail(errors.New(l.Reason))
		default:
			return fail(fmt.Errorf("message of unknown type %q", l.Type))
		}
	}
	if err := s.Err(); err != nil {
		return End{}, fmt.Errorf("trainer of trial %q: %w", trial, err)
	}
	return End{}, fmt.Errorf("trainer of trial %q stopped after epoch %d without an end", trial, last)
}
