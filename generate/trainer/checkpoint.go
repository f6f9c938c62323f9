package trainer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
)

// A checkpoint is one file, replaced whole:
//
//	magic        8 bytes, "qtcheck1"
//	header size  uint32, little-endian
//	header       JSON, see checkpointHeader
//	numbers      float32, little-endian, in the order of the trial's arrays
//	checksum     uint32, CRC-32 (Castagnoli) of everything before
//
// It is renamed into place without waiting for the disk: what a power failure
// may lose is found by the checksum and trained again, with the same result.
const (
	checkpointName  = "checkpoint.bin"
	checkpointMagic = "qtcheck1"
)

type checkpointHeader struct {
	Request string   `json:"request"` // what the trial is, see [Request.identity]
	Epoch   int      `json:"epoch"`   // the last one finished
	Steps   int      `json:"steps"`   // of the optimiser
	Best    float64  `json:"best"`    // of the plateau schedule, with the next two
	Bad     int      `json:"bad"`
	Cuts    int      `json:"cuts"`
	Records []Record `json:"records"`
	Numbers int      `json:"numbers"`
}

// identity tells trials apart: two requests with equal identities train the same
// way.
func (r Request) identity() (string, error) {
	r.Until, r.Checkpoint, r.Trial, r.CurveCap = 0, "", "", 0
	data, err := EncodeRequest(r)
	return string(bytes.TrimSpace(data)), err
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// writeCheckpoint replaces the checkpoint in dir.
func writeCheckpoint(dir string, h checkpointHeader, arrays [][]float32) error {
	h.Numbers = 0
	for _, a := range arrays {
		h.Numbers += len(a)
	}
	head, err := json.Marshal(h)
	if err != nil {
		return err
	}
	data := make([]byte, 0, len(checkpointMagic)+8+len(head)+4*h.Numbers)
	data = append(data, checkpointMagic...)
	data = binary.LittleEndian.AppendUint32(data, uint32(len(head)))
	data = append(data, head...)
	for _, a := range arrays {
		for _, v := range a {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	data = binary.LittleEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
	tmp, err := os.CreateTemp(dir, "."+checkpointName+".tmp-*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, checkpointName))
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// errNoCheckpoint tells that there is none to go on from.
var errNoCheckpoint = errors.New("no checkpoint")

// readCheckpoint fills the arrays from the checkpoint in dir. A file that is
// missing or damaged is errNoCheckpoint, one of another trial an error; the
// arrays are as before then.
func readCheckpoint(dir, identity string, arrays [][]float32) (checkpointHeader, error) {
	var h checkpointHeader
	path := filepath.Join(dir, checkpointName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return h, errNoCheckpoint
	}
	if err != nil {
		return h, err
	}
	r := bytes.NewReader(data)
	magic := make([]byte, len(checkpointMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != checkpointMagic || len(data) < len(checkpointMagic)+8 {
		return h, errNoCheckpoint
	}
	body := data[:len(data)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(data[len(data)-4:]) {
		return h, errNoCheckpoint
	}
	size := int(binary.LittleEndian.Uint32(body[len(checkpointMagic):]))
	rest := body[len(checkpointMagic)+4:]
	if size > len(rest) || json.Unmarshal(rest[:size], &h) != nil {
		return h, errNoCheckpoint
	}
	if h.Request != identity {
		return h, fmt.Errorf("%s belongs to another trial: remove it or name another directory", path)
	}
	rest = rest[size:]
	want := 0
	for _, a := range arrays {
		want += len(a)
	}
	if h.Numbers != want || len(rest) != 4*want || h.Epoch != len(h.Records) {
		return h, errNoCheckpoint
	}
	for _, a := range arrays {
		for i := range a {
			a[i] = math.Float32frombits(binary.LittleEndian.Uint32(rest[4*i:]))
		}
		rest = rest[4*len(a):]
	}
	return h, nil
}
