package trees

// maxBundles bounds the bundles that a feature is tried with.
const maxBundles = 64

// slots is the size of a bundle's part of a histogram.
const slots = 256

// A bundle is a set of features that never leave their default bins in the
// same row, as the columns of a one-hot encoding or parameters of different
// optimisers. It takes one byte of a row however many features it has: the
// slot of the one bin that is not a default, or slot 0 if all are. What a
// default bin holds is what the other bins of its feature leave of the node's
// sum, exactly.
//
// Exclusive feature bundling: Ke et al., LightGBM: A highly efficient gradient
// boosting decision tree, NeurIPS 2017, without their conflicts.
type bundle struct {
	members  []*feature
	defaults []int    // bin of each member
	used     int      // slots of the members, and slot 0
	taken    []uint64 // rows with a bin that is not a default
	free     int      // the others
}

// bundleFeatures bundles features and gives each its place in a histogram.
func bundleFeatures(features []*feature, rows int) []*bundle {
	var bundles []*bundle
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
			bundles = append(bundles, &bundle{members: []*feature{f}, defaults: []int{d}, used: 1 + f.size(), taken: taken, free: rows - n})
		}
	}
	for i, b := range bundles {
		at := 0
		if len(b.members) > 1 {
			at++
		}
		for _, f := range b.members {
			f.bundle, f.offset = i, at
			at += f.size()
		}
	}
	return bundles
}

// join adds the feature, with default bin d, to the first bundle that has room.
func join(bundles []*bundle, f *feature, d int) bool {
	taken, n := f.leaves(d)
	for _, b := range bundles[max(0, len(bundles)-maxBundles):] {
		if n > b.free || b.used+f.size() > slots || overlap(b.taken, taken) {
			continue
		}
		for i, w := range taken {
			b.taken[i] |= w
		}
		b.free -= n
		b.used += f.size()
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

// of returns the feature's bins in its bundle's part of a histogram.
func (f *feature) of(part *[slots]int64) []int64 { return part[f.offset : f.offset+f.size()] }

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

// slot returns the slot of each row.
func (b *bundle) slot(rows int) []uint8 {
	if len(b.members) == 1 {
		return b.members[0].bins
	}
	slot := make([]uint8, rows)
	for m, f := range b.members {
		for r, bin := range f.bins {
			if int(bin) != b.defaults[m] {
				slot[r] = uint8(f.offset + int(bin))
			}
		}
	}
	return slot
}

// A group is eight bundles or, the last one, fewer: their slots side by side,
// so that a row takes one load and the histogram of a group stays in the
// nearest cache.
type group struct {
	width int
	rows  []uint64 // a byte for each bundle, the first lowest
}

func groupBundles(bundles []*bundle, rows int) []group {
	var groups []group
	for len(bundles) > 0 {
		g := group{width: min(8, len(bundles)), rows: make([]uint64, rows)}
		for k, b := range bundles[:g.width] {
			for r, s := range b.slot(rows) {
				g.rows[r] |= uint64(s) << (8 * k)
			}
		}
		groups = append(groups, g)
		bundles = bundles[g.width:]
	}
	return groups
}

// accumulate adds the value of each of the rows to its slots in the bundles'
// parts of a histogram.
func (g *group) accumulate(parts [][slots]int64, values []int64, rows []int32) {
	values = values[:len(rows)]
	if g.width < 8 {
		for i, r := range rows {
			s, v := g.rows[r], values[i]
			for k := range parts {
				parts[k][uint8(s)] += v
				s >>= 8
			}
		}
		return
	}
	h := (*[8][slots]int64)(parts)
	for i, r := range rows {
		s, v := g.rows[r], values[i]
		h[0][uint8(s)] += v
		h[1][uint8(s>>8)] += v
		h[2][uint8(s>>16)] += v
		h[3][uint8(s>>24)] += v
		h[4][uint8(s>>32)] += v
		h[5][uint8(s>>40)] += v
		h[6][uint8(s>>48)] += v
		h[7][uint8(s>>56)] += v
	}
}

// addDefaults completes a histogram that was summed over rows: it gives the
// default bin of every bundled feature what its other bins leave of the total.
func addDefaults(bundles []*bundle, histogram [][slots]int64, total int64) {
	for i, b := range bundles {
		if len(b.members) == 1 {
			continue
		}
		for m, f := range b.members {
			h := f.of(&histogram[i])
			h[b.defaults[m]] = 0
			rest := total
			for _, v := range h {
				rest -= v
			}
			h[b.defaults[m]] = rest
		}
	}
}
