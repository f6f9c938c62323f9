package predictor

import "fmt"

// Folds is the number of folds of the cross-validation over data sets.
const Folds = 5

// Split names the data sets of one round of the cross-validation.
type Split struct {
	Train, Validation, Test []string
}

// Splits returns the five rounds: names are shuffled, the i-th goes to fold i
// mod 5, and round s trains on folds s, s+1 and s+2, tests on s+3 and validates
// on s+4 (all mod 5). So every data set is tested exactly once. Fewer than five
// names leave folds empty.
//
// With shuffle 42 this is the published rule with numpy's RandomState(42), whose
// generator and shuffle are built in. Which list the authors shuffled is not
// known: neither this nor Python's random.shuffle, on the 26 names in their
// order or the alphabet's, gives the test sets that are known of their first
// round, so a comparison with those numbers must name its data sets itself.
func Splits(names []string, shuffle uint32) ([Folds]Split, error) {
	var out [Folds]Split
	seen := map[string]bool{}
	for _, n := range names {
		if seen[n] {
			return out, fmt.Errorf("predictor: data set %q is listed twice", n)
		}
		seen[n] = true
	}
	order := append([]string(nil), names...)
	newRandomState(shuffle).shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var folds [Folds][]string
	for i, n := range order {
		folds[i%Folds] = append(folds[i%Folds], n)
	}
	for s := range out {
		for k := range 3 {
			out[s].Train = append(out[s].Train, folds[(s+k)%Folds]...)
		}
		out[s].Test = folds[(s+3)%Folds]
		out[s].Validation = folds[(s+4)%Folds]
	}
	return out, nil
}

// randomState is numpy's legacy generator, MT19937 of Matsumoto and Nishimura,
// "Mersenne Twister", ACM TOMACS 8(1), 1998, as far as shuffling needs it. It
// exists to reproduce published splits; everything else draws from
// internal/stream.
type randomState struct {
	state [624]uint32
	next  int
}

func newRandomState(seed uint32) *randomState {
	r := &randomState{next: 624}
	for i := range r.state {
		r.state[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return r
}

func (r *randomState) uint32() uint32 {
	s := &r.state
	if r.next == len(s) {
		for i := range s {
			y := s[i]&0x80000000 | s[(i+1)%624]&0x7fffffff
			s[i] = s[(i+397)%624] ^ y>>1 ^ -(y&1)&0x9908b0df
		}
		r.next = 0
	}
	y := s[r.next]
	r.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// shuffle is numpy's: from the last element down, each is swapped with one
// drawn from those up to and including it, by masking and rejection.
func (r *randomState) shuffle(n int, swap func(i, j int)) {
	for i := n - 1; i > 0; i-- {
		mask := uint32(i)
		for s := 1; s < 32; s *= 2 {
			mask |= mask >> s
		}
		j := r.uint32() & mask
		for j > uint32(i) {
			j = r.uint32() & mask
		}
		swap(i, int(j))
	}
}
