package trees

// A scan looks for the split of a branch with the largest score, which is the
// sum of squared gradient over denominator of both sides, in units of the
// fixed point. Of equal scores the first stands.
type scan struct {
	countBits int
	mask      int64
	least     int64 // rows on either side
	total     int64 // word of the branch

	inverse []float64 // constant second derivatives: 1 over the denominator of n rows

	totalHess int64 // varying ones: their sum, the unit, and what is added
	unscale   float64
	l2        float64

	feature     int // -1: none yet
	bin         int
	missingLeft bool
	score       float64
	left        int64
	leftHess    int64
}

// constant scans feature i, with its histogram, where second derivatives are 1:
// upwards with missing values right, then downwards with them left.
func (s *scan) constant(i int, f *feature, histogram []int64) {
	last := len(f.thresholds)
	if f.missing {
		last++
	}
	rows := s.total & s.mask
	best := s.score
	var left int64
	for bin, word := range histogram[:last] {
		if word == 0 {
			continue
		}
		left += word
		n := left & s.mask
		if n < s.least {
			continue
		}
		if rows-n < s.least {
			break
		}
		l, r := float64(left>>s.countBits), float64((s.total-left)>>s.countBits)
		score := float64(l*l*s.inverse[n]) + float64(r*r*s.inverse[rows-n])
		if score > best || s.feature < 0 {
			best = score
			s.feature, s.bin, s.missingLeft, s.left = i, bin, false, left
		}
	}
	s.score = best
	if !f.missing || histogram[len(f.thresholds)+1] == 0 {
		return
	}
	var right int64
	for bin := len(f.thresholds) - 1; bin >= 0; bin-- {
		word := histogram[bin+1]
		if word == 0 {
			continue
		}
		right += word
		n := right & s.mask
		if n < s.least {
			continue
		}
		if rows-n < s.least {
			break
		}
		l, r := float64((s.total-right)>>s.countBits), float64(right>>s.countBits)
		score := float64(l*l*s.inverse[rows-n]) + float64(r*r*s.inverse[n])
		if score > best || s.feature < 0 {
			best = score
			s.feature, s.bin, s.missingLeft, s.left = i, bin, true, s.total-right
		}
	}
	s.score = best
}

// varying is constant with second derivatives of their own.
func (s *scan) varying(i int, f *feature, histogram, hessians []int64) {
	last := len(f.thresholds)
	if f.missing {
		last++
	}
	rows := s.total & s.mask
	best := s.score
	var left, leftHess int64
	for bin, word := range histogram[:last] {
		if word == 0 {
			continue
		}
		left += word
		leftHess += hessians[bin]
		n := left & s.mask
		hl := float64(leftHess) * s.unscale
		if n < s.least || hl < minHessian {
			continue
		}
		hr := float64(s.totalHess-leftHess) * s.unscale
		if rows-n < s.least || hr < minHessian {
			break
		}
		l, r := float64(left>>s.countBits), float64((s.total-left)>>s.countBits)
		score := float64(l*l/(hl+s.l2)) + float64(r*r/(hr+s.l2))
		if score > best || s.feature < 0 {
			best = score
			s.feature, s.bin, s.missingLeft, s.left, s.leftHess = i, bin, false, left, leftHess
		}
	}
	s.score = best
	if !f.missing || histogram[len(f.thresholds)+1] == 0 {
		return
	}
	var right, rightHess int64
	for bin := len(f.thresholds) - 1; bin >= 0; bin-- {
		word := histogram[bin+1]
		if word == 0 {
			continue
		}
		right += word
		rightHess += hessians[bin+1]
		n := right & s.mask
		hr := float64(rightHess) * s.unscale
		if n < s.least || hr < minHessian {
			continue
		}
		hl := float64(s.totalHess-rightHess) * s.unscale
		if rows-n < s.least || hl < minHessian {
			break
		}
		l, r := float64((s.total-right)>>s.countBits), float64(right>>s.countBits)
		score := float64(l*l/(hl+s.l2)) + float64(r*r/(hr+s.l2))
		if score > best || s.feature < 0 {
			best = score
			s.feature, s.bin, s.missingLeft, s.left, s.leftHess = i, bin, true, s.total-right, s.totalHess-rightHess
		}
	}
	s.score = best
}
