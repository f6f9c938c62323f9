package trees

// maxBundles bounds the bundles that a feature is tried with.
const maxBundles = 64

// A bundle is a set of features that never leave their default bins in the
// same row, as the columns of a one-hot encoding or parameters of different
// optimisers. It takes one entry of a row however many features it has: the
// position of the one bin that is not a default. What a default bin holds is
// what the other bins of its feature leave of the node's sum, exactly.
//
// Exclusive feature bundling: Ke et al., LightGBM: A highly efficient gradient
// boosting decision tree, NeurIPS 2017, without their conflicts.
type bundle struct {
	members  []*feature
	defaults []int // bin of each member
	spare    int   // position that stands for all defaults, if several members
	taken    []uint64
	free     int // rows with all defaults
}

// bundleFeatures lays out the histogram of all features: it sets their offsets
// and returns the bundles and the number of positions.
func bundleFeatures(features []*feature, rows int) (bundles []*bundle, positions int) {
	for _, f := range features {
		joined := false
		for _, d := range f.defaultBins() {
			if joined = join(bundles, f, d); joined {
				break
			}
		}
		if !joined {
			d := f.defaultBins()[0]
			taken, n := f.leaves(d)
			bundles = append(bundles, &bundle{members: []*feature{f}, defaults: []int{d}, taken: taken, free: rows - n})
		}
	}
	for _, b := range bundles {
		if len(b.members) > 1 {
			b.spare = positions
			positions++
		}
		for _, f := range b.members {
			f.offset = positions
			positions += f.size()
		}
	}
	return bundles, positions
}

// join adds the feature, with default bin d, to the first bundle that has room.
func join(bundles []*bundle, f *feature, d int) bool {
	taken, n := f.leaves(d)
	for _, b := range bundles[max(0, len(bundles)-maxBundles):] {
		if n > b.free || overlap(b.taken, taken) {
			continue
		}
		for i, w := range taken {
			b.taken[i] |= w
		}
		b.free -= n
		b.members = append(b.members, f)
		b.defaults = append(b.defaults, d)
		return true
	}
	return false
}

func overlap(a, b []uint64) bool {
	for i, w := range a {
		if w&b[i] != 0 {
			return true
		}
	}
	return false
}

// leaves returns the set of rows outside bin d and its size.
func (f *feature) leaves(d int) (set []uint64, n int) {
	set = make([]uint64, (len(f.bins)+63)/64)
	for r, b := range f.bins {
		if int(b) != d {
			set[r>>6] |= 1 << (r & 63)
			n++
		}
	}
	return set, n
}

// defaultBins returns the bins that may be the default: the most frequent and,
// first if the feature takes two values, that of the value 0.
func (f *feature) defaultBins() []int {
	var counts [256]int
	for _, b := range f.bins {
		counts[b]++
	}
	frequent := 0
	for b, n := range counts {
		if n > counts[frequent] {
			frequent = b
		}
	}
	zero := lowerBound(f.thresholds, 0)
	switch {
	case zero == frequent:
		return []int{frequent}
	case f.size() == 2:
		return []int{zero, frequent}
	}
	return []int{frequent, zero}
}

// layout returns the positions of each row, one for each bundle, row-major.
func layout[T uint16 | uint32](bundles []*bundle, rows int) []T {
	width := len(bundles)
	positions := make([]T, rows*width)
	for c, b := range bundles {
		if len(b.members) == 1 {
			f := b.members[0]
			for r, bin := range f.bins {
				positions[r*width+c] = T(f.offset + int(bin))
			}
			continue
		}
		for r := range rows {
			positions[r*width+c] = T(b.spare)
		}
		for m, f := range b.members {
			for r, bin := range f.bins {
				if int(bin) != b.defaults[m] {
					positions[r*width+c] = T(f.offset + int(bin))
				}
			}
		}
	}
	return positions
}

// addDefaults completes a histogram that was summed over rows: it gives the
// default bin of every bundled feature what its other bins leave of the total.
func addDefaults(bundles []*bundle, histogram []int64, total int64) {
	for _, b := range bundles {
		if len(b.members) == 1 {
			continue
		}
		for m, f := range b.members {
			h := histogram[f.offset : f.offset+f.size()]
			h[b.defaults[m]] = 0
			rest := total
			for _, v := range h {
				rest -= v
			}
			h[b.defaults[m]] = rest
		}
	}
}
