package symeig

import (
	"math"
	"slices"

	"quicktune/internal/blas"
)

// merge puts two decomposed blocks together: the eigenproblem of
// D + rho z zᵀ, where D holds the eigenvalues of both and z the last row of the
// first block's eigenvectors beside sign times the first row of the second's.
func (t *tree) merge(lo, mid, hi int, rho, sign float64) {
	n, m := t.n, hi-lo
	t.sort(lo, hi)
	rows := slices.Clone(t.order[lo:hi]) // ascending eigenvalues
	z := make([]float64, m)
	for i, row := range rows {
		if row < mid {
			z[i] = t.q[row*n+mid-1]
		} else {
			z[i] = sign * t.q[row*n+mid]
		}
	}
	// Both halves of z have length 1.
	rho *= 2
	for i := range z {
		z[i] /= math.Sqrt2
	}

	kept, both := t.deflate(lo, hi, mid, rho, z, rows)
	k := len(kept)
	if k > 0 {
		d, zk := make([]float64, k), make([]float64, k)
		for i, at := range kept {
			d[i], zk[i] = t.d[rows[at]], z[at]
		}
		values := t.updateVectors(d, zk, rho)
		t.combine(lo, mid, hi, rows, kept, both, k)
		for i, at := range kept {
			t.d[rows[at]] = values[i]
		}
	}
	t.sort(lo, hi)
}

// deflate finds the eigenvectors that the update leaves alone: those to which z
// has (nearly) no part, and one of each two whose eigenvalues are (nearly)
// equal, after a rotation that takes its part away. It returns the positions,
// ascending, of the others in rows, and which rows of the block a rotation has
// made to reach into both halves.
func (t *tree) deflate(lo, hi, mid int, rho float64, z []float64, rows []int) (kept []int, both []bool) {
	largest := 0.0
	for i, row := range rows {
		largest = max(largest, math.Abs(t.d[row]), math.Abs(z[i]))
	}
	tolerance := 8 * epsilon * largest
	both = make([]bool, hi-lo)
	last := -1 // position of the latest that may be kept
	for i, row := range rows {
		if rho*math.Abs(z[i]) <= tolerance {
			continue
		}
		if last < 0 {
			last = i
			continue
		}
		previous := rows[last]
		r := math.Hypot(z[i], z[last])
		c, s := z[i]/r, -z[last]/r
		gap := t.d[row] - t.d[previous]
		if math.Abs(gap*c*s) > tolerance {
			kept = append(kept, last)
			last = i
			continue
		}
		z[i], z[last] = r, 0
		n := t.n
		rotate(t.q[previous*n+lo:previous*n+hi], t.q[row*n+lo:row*n+hi], c, s)
		if (previous < mid) != (row < mid) || both[previous-lo] || both[row-lo] {
			both[previous-lo], both[row-lo] = true, true
		}
		low, high := t.d[previous], t.d[row]
		t.d[previous] = low*c*c + high*s*s
		t.d[row] = low*s*s + high*c*c
		last = i
	}
	if last >= 0 {
		kept = append(kept, last)
	}
	return kept, both
}

// updateVectors solves the eigenproblem of diag(d) + rho z zᵀ, d strictly
// ascending and no z zero. It returns the eigenvalues and leaves in t.roots the
// eigenvectors as rows.
//
// The eigenvectors follow from a z recomputed so that the eigenvalues found
// are exact for it; they are then orthogonal however close eigenvalues are.
func (t *tree) updateVectors(d, z []float64, rho float64) []float64 {
	k := len(d)
	values := make([]float64, k)
	squares := make([]float64, k)
	for i, x := range z {
		squares[i] = x * x
	}
	gaps := t.roots[:k*k] // row i: d[j] - values[i]
	for i := range k {
		origin, offset := secular(d, squares, rho, i)
		values[i] = d[origin] + offset
		row := gaps[i*k : (i+1)*k]
		for j, dj := range d {
			row[j] = (dj - d[origin]) - offset
		}
	}
	for j := range k {
		product := gaps[j*k+j] / -rho
		for i := range k {
			if i != j {
				product *= gaps[i*k+j] / (d[j] - d[i])
			}
		}
		z[j] = math.Copysign(math.Sqrt(math.Abs(product)), z[j])
	}
	for i := range k {
		row := gaps[i*k : (i+1)*k]
		for j, gap := range row {
			row[j] = z[j] / gap
		}
		length := norm(row)
		for j := range row {
			row[j] /= length
		}
	}
	return values
}

// combine multiplies the eigenvectors of the update with those of the two
// blocks. A vector of one half has zeros in the other, which are left out.
func (t *tree) combine(lo, mid, hi int, rows, kept []int, both []bool, k int) {
	n := t.n
	for half := range 2 {
		from, to := lo, mid
		if half == 1 {
			from, to = mid, hi
		}
		var reach []int
		for i, at := range kept {
			row := rows[at]
			if both[row-lo] || (row < mid) == (half == 0) {
				reach = append(reach, i)
			}
		}
		width, p := to-from, len(reach)
		if p == 0 {
			continue // every vector kept is of the other half
		}
		vectors := t.work[:p*width]
		coefficients := make([]float64, k*p)
		for c, i := range reach {
			row := rows[kept[i]]
			copy(vectors[c*width:(c+1)*width], t.q[row*n+from:row*n+to])
			for r := range k {
				coefficients[r*p+c] = t.roots[r*k+i]
			}
		}
		product := make([]float64, k*width)
		blas.Gemm(false, false, k, width, p, 1, coefficients, p, vectors, width, 0, product, width)
		for i, at := range kept {
			row := rows[at]
			copy(t.q[row*n+from:row*n+to], product[i*width:(i+1)*width])
		}
	}
}

// secular returns root i of 1 + rho Σ z²/(d - x), which lies between d[i] and
// d[i+1] (or above the last d), as its distance from the nearer of the two.
//
// Each round replaces the sums left and right of the root by one pole each
// with the same value and slope (Li, "Solving secular equations stably and
// efficiently", LAPACK working note 89, 1993) and falls back on halving the
// bracket.
func secular(d, squares []float64, rho float64, i int) (origin int, offset float64) {
	k := len(d)
	total := 0.0
	for _, s := range squares {
		total += s
	}
	last := i == k-1
	width := rho * total * (1 + 8*epsilon)
	if !last {
		width = d[i+1] - d[i]
	}
	origin = i
	low, high := 0.0, width
	if !last {
		value := 1.0
		for j, s := range squares {
			value += rho * s / ((d[j] - d[i]) - width/2)
		}
		if value < 0 { // the root lies in the upper half
			origin = i + 1
			low, high = -width/2, 0
		} else {
			high = width / 2
		}
	}
	x := (low + high) / 2
	const most = 200
	for range most {
		left, leftSlope, right, rightSlope, size := 0.0, 0.0, 0.0, 0.0, 1.0
		for j := 0; j <= i; j++ {
			gap := (d[j] - d[origin]) - x
			term := squares[j] / gap
			left += term
			leftSlope += term / gap
		}
		for j := i + 1; j < k; j++ {
			gap := (d[j] - d[origin]) - x
			term := squares[j] / gap
			right += term
			rightSlope += term / gap
		}
		left, right = rho*left, rho*right
		leftSlope, rightSlope = rho*leftSlope, rho*rightSlope
		size += right - left
		value := 1 + left + right
		if math.Abs(value) <= epsilon*float64(k)*size {
			break
		}
		if value < 0 {
			low = x
		} else {
			high = x
		}
		next := math.NaN()
		below := (d[i] - d[origin]) - x
		if last {
			constant := value - leftSlope*below
			if constant > 0 {
				next = x + below + leftSlope*below*below/constant
			}
		} else {
			above := (d[i+1] - d[origin]) - x
			constant := value - below*leftSlope - above*rightSlope
			linear := (below+above)*value - below*above*(leftSlope+rightSlope)
			product := below * above * value
			square := math.Sqrt(max(0, linear*linear-4*product*constant))
			if linear <= 0 {
				next = x + (linear-square)/(2*constant)
			} else {
				next = x + 2*product/(linear+square)
			}
		}
		if !(next > low && next < high) {
			next = (low + high) / 2
		}
		if next == x || next == low || next == high {
			break
		}
		x = next
	}
	return origin, x
}
