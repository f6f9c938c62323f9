// Package stream derives independent random streams by hashing.
//
// Every random decision of the project takes its numbers from a stream named
// by a purpose, a seed and any number of indices (dataset, repetition, epoch,
// ...). Two different names give unrelated streams, the same name always gives
// the same one, so work can be done in any order and on any number of
// goroutines without changing a result. The package never touches the global
// source of math/rand/v2 and never reads the clock.
package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// New returns the generator of the stream (purpose, seed, indices): a PCG
// whose 128-bit state is the head of a SHA-256 digest of the name.
func New(purpose string, seed uint64, indices ...uint64) *rand.Rand {
	buf := make([]byte, 0, 64)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(len(purpose)))
	buf = append(buf, purpose...)
	buf = binary.LittleEndian.AppendUint64(buf, seed)
	for _, i := range indices {
		buf = binary.LittleEndian.AppendUint64(buf, i)
	}
	sum := sha256.Sum256(buf)
	return rand.New(rand.NewPCG(
		binary.LittleEndian.Uint64(sum[0:8]),
		binary.LittleEndian.Uint64(sum[8:16]),
	))
}
