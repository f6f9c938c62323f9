package trainer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
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
	path := filepath.Join(dir, checkpointName)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return checkpointHeader{}, errNoCheckpoint
	}
	if err != nil {
		return checkpointHeader{}, err
	}
	h, numbers, ok := decodeCheckpoint(data)
	if !ok {
		return h, errNoCheckpoint
	}
	if h.Request != identity {
		return h, fmt.Errorf("%s belongs to another trial: remove it or name another directory", path)
	}
	want := 0
	for _, a := range arrays {
		want += len(a)
	}
	if h.Numbers != want {
		return h, errNoCheckpoint
	}
	for _, a := range arrays {
		for i := range a {
			a[i] = math.Float32frombits(binary.LittleEndian.Uint32(numbers[4*i:]))
		}
		numbers = numbers[4*len(a):]
	}
	return h, nil
}

// decodeCheckpoint takes a file apart and tells whether it is whole.
func decodeCheckpoint(data []byte) (h checkpointHeader, numbers []byte, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(checkpointMagic))
	if !ok || len(rest) < 8 {
		return h, nil, false
	}
	if crc32.Checksum(data[:len(data)-4], castagnoli) != binary.LittleEndian.Uint32(data[len(data)-4:]) {
		return h, nil, false
	}
	size := uint64(binary.LittleEndian.Uint32(rest))
	rest = rest[4 : len(rest)-4]
	if size > uint64(len(rest)) || json.Unmarshal(rest[:size], &h) != nil {
		return h, nil, false
	}
	numbers = rest[size:]
	return h, numbers, h.Numbers >= 0 && len(numbers)%4 == 0 && len(numbers)/4 == h.Numbers && h.Epoch == len(h.Records)
}
