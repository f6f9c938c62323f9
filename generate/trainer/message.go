package trainer

import (
	"encoding/json"
	"fmt"

	"quicktune/metadataset"
)

// The types of messages that a worker writes beside those that [Decode] reads.
// docs/worker-protocol.md describes them.
const (
	TypeHello       = "hello"       // the worker is ready
	TypeUnfit       = "unfit"       // the worker cannot work here; Reason says why
	TypeHeartbeat   = "heartbeat"   // work goes on
	TypeRecord      = "record"      // an epoch ended
	TypeEnd         = "end"         // the trial ended
	TypeError       = "error"       // the work on the trial broke off
	TypeInterrupted = "interrupted" // so it did, and the trial is not to blame
)

// Message is one line of a worker.
type Message struct {
	Type   string
	Trial  string // "" where the message is about none
	Record Record // of TypeRecord
	End    End    // of TypeEnd
	Reason string
}

// ParseMessage reads one line of a worker. It refuses types that it does not
// know, records that cannot be true and unknown ends.
func ParseMessage(data []byte) (Message, error) {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return Message{}, fmt.Errorf("not a message: %w", err)
	}
	m := Message{Type: l.Type, Trial: l.Trial, Reason: l.Reason}
	var err error
	switch l.Type {
	case TypeHello, TypeUnfit, TypeHeartbeat, TypeError, TypeInterrupted:
	case TypeRecord:
		m.Record, err = l.record()
	case TypeEnd:
		m.End = End{Trial: l.Trial, End: l.End, Reason: l.Reason}
		if !ends[l.End] {
			err = fmt.Errorf("unknown end %q", l.End)
		}
	default:
		err = fmt.Errorf("message of unknown type %q", l.Type)
	}
	return m, err
}

// Curve checks the messages of one trial in their order.
type Curve struct {
	Trial string
	Epoch int // of the last record
	Ended bool
}

// Next returns an error if m cannot follow what came before.
func (c *Curve) Next(m Message) error {
	switch {
	case m.Trial != c.Trial && m.Type != TypeHello:
		return fmt.Errorf("message of trial %q instead of %q", m.Trial, c.Trial)
	case c.Ended:
		return fmt.Errorf("trial %q: a message of type %s after the end", c.Trial, m.Type)
	case m.Type == TypeRecord && m.Record.Epoch != c.Epoch+1:
		return fmt.Errorf("trial %q: epoch %d after epoch %d", c.Trial, m.Record.Epoch, c.Epoch)
	case m.Type == TypeRecord:
		c.Epoch = m.Record.Epoch
	case m.Type == TypeEnd:
		c.Ended = true
	}
	return nil
}

// Failed is the end of a trial that is given up.
func Failed(trial, reason string) End {
	return End{Trial: trial, End: metadataset.EndFailed, Reason: reason}
}
