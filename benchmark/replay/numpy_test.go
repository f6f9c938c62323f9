package replay

import (
	"math/bits"
	"slices"
	"testing"
)

// numpyRNG draws what numpy.random.default_rng(seed) draws: the generator
// PCG64 (XSL-RR), seeded by SeedSequence. It makes published figures of Python
// programs reproducible to the last digit. After numpy/random/bit_generator.pyx,
// src/pcg64/pcg64.h and src/distributions/distributions.c.
type numpyRNG struct {
	hi, lo       uint64 // state
	incHi, incLo uint64
	half         uint32 // the unused upper half of the last 64 bits
	hasHalf      bool
}

func newNumpyRNG(seed uint32) *numpyRNG {
	const initA, multA, initB, multB, mixL, mixR = 0x43b0d7e5, 0x931e8875, 0x8b51f9dd, 0x58f38ded, 0xca01f9dd, 0x4973f715
	hash := uint32(initA)
	hashmix := func(v uint32) uint32 {
		v ^= hash
		hash *= multA
		v *= hash
		return v ^ v>>16
	}
	var pool [4]uint32
	for i, v := range [4]uint32{seed} {
		pool[i] = hashmix(v)
	}
	for src := range pool {
		for dst := range pool {
			if src != dst {
				v := mixL*pool[dst] - mixR*hashmix(pool[src])
				pool[dst] = v ^ v>>16
			}
		}
	}
	var state [4]uint64
	hash = initB
	for i := range 8 {
		v := pool[i%4] ^ hash
		hash *= multB
		v *= hash
		state[i/2] |= uint64(v^v>>16) << (32 * (i % 2))
	}
	r := &numpyRNG{incHi: state[2]<<1 | state[3]>>63, incLo: state[3]<<1 | 1}
	r.step()
	var carry uint64
	r.lo, carry = bits.Add64(r.lo, state[1], 0)
	r.hi, _ = bits.Add64(r.hi, state[0], carry)
	r.step()
	return r
}

// step is state = state x multiplier + increment, modulo 2^128.
func (r *numpyRNG) step() {
	const multHi, multLo = 0x2360ed051fc65da4, 0x4385df649fccf645
	hi, lo := bits.Mul64(r.lo, multLo)
	hi += r.hi*multLo + r.lo*multHi
	var carry uint64
	r.lo, carry = bits.Add64(lo, r.incLo, 0)
	r.hi, _ = bits.Add64(hi, r.incHi, carry)
}

func (r *numpyRNG) uint32() uint32 {
	if r.hasHalf {
		r.hasHalf = false
		return r.half
	}
	r.step()
	v := bits.RotateLeft64(r.hi^r.lo, -int(r.hi>>58))
	r.half, r.hasHalf = uint32(v>>32), true
	return uint32(v)
}

// integers is Generator.integers(n): Lemire's method on 32 bits.
func (r *numpyRNG) integers(n uint32) int {
	m := uint64(r.uint32()) * uint64(n)
	if uint32(m) < n {
		for threshold := -n % n; uint32(m) < threshold; {
			m = uint64(r.uint32()) * uint64(n)
		}
	}
	return int(m >> 32)
}

func TestNumpyRNGDrawsWhatNumpyDraws(t *testing.T) {
	// r = numpy.random.default_rng(seed); [r.integers(178) for _ in range(8)]
	for seed, want := range map[uint32][]int{
		0:  {151, 113, 90, 48, 54, 7, 13, 2},
		59: {140, 104, 132, 147, 112, 20, 143, 67},
	} {
		r := newNumpyRNG(seed)
		var got []int
		for range want {
			got = append(got, r.integers(178))
		}
		if !slices.Equal(got, want) {
			t.Errorf("seed %d: %v, want %v", seed, got, want)
		}
	}
}
