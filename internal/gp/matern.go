package gp

import (
	"math"
	"slices"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/nn"
)

// MaternParameters are the parameters of a [Matern] process.
type MaternParameters struct {
	Mean  float64
	Noise float64 // variance
	Scale float64 // variance of the latent function
	// Inverse holds the inverse length scale of each column.
	Inverse []float64
}

// Clone returns an independent copy.
func (h MaternParameters) Clone() MaternParameters {
	h.Inverse = slices.Clone(h.Inverse)
	return h
}

// rootJitter keeps the distance differentiable at 0, where syne-tune's kernel
// has it too.
const rootJitter = 1e-9

// Matern is an exact process with a constant mean, a Matern-5/2 kernel with one
// length scale a column and Gaussian noise: Rasmussen and Williams, Gaussian
// Processes for Machine Learning, MIT Press 2006, sections 2.2, 4.2 and 5.4.1.
//
//	k(x, z) = scale (1 + b + b²/3) exp(-b), b² = 5 Σ inverse_j² (x_j - z_j)²
//
// A row may have a variance of its own besides that of the noise. The process
// keeps the posterior at a fixed list of candidates, to which a further row adds
// in time proportional to its rows times candidates. The zero value has neither.
type Matern struct {
	h     MaternParameters
	x, z  []float64 // scaled rows and candidates
	rows  int
	cands int
	chol  Factor
	w     []float64 // L⁻¹ (y - mean)
	half  []float64 // L⁻¹ k(x, z), rows x cands
	mean  []float64 // of the candidates
	vari  []float64

	fit Factor
	ws  nn.Workspace
}

// scaled writes x times the inverse length scales.
func scaled(dst nn.Matrix, x nn.Matrix, inverse []float64) {
	for i := range x.Rows {
		d := dst.Row(i)
		for j, v := range x.Row(i) {
			d[j] = v * inverse[j]
		}
	}
}

// maternOf returns the kernel over the scale, and -2 times its derivative by
// the squared scaled distance, at that distance.
func maternOf(d2 float64) (k, slope float64) {
	b2 := 5*d2 + rootJitter
	b := math.Sqrt(b2)
	e := math.Exp(-b)
	return (1 + b + (5.0/3)*d2) * e, (5.0 / 3) * (1 + b - rootJitter/b) * e
}

// MaternGradient holds the derivatives of a likelihood.
type MaternGradient struct {
	MaternParameters
	// Variances and Targets are those by the variance of each row and by its
	// target.
	Variances, Targets []float64
}

// Marginal returns the negative log marginal likelihood of targets y at rows x,
// with variances of their own in extra unless that is nil, and writes its
// derivatives to grad, whose slices it allocates where they are too short.
//
// With A = K + noise, a = A⁻¹(y - mean) and G = (A⁻¹ - a aᵀ)/2 the derivative by
// the covariance is G.
func (g *Matern) Marginal(grad *MaternGradient, x nn.Matrix, y, extra []float64, h MaternParameters) (float64, error) {
	n, d := x.Rows, x.Cols
	g.ws.Reset()
	xs := g.ws.Get(n, d)
	scaled(xs, x, h.Inverse)
	slope, cov := g.ws.Get(n, n), g.ws.Get(n, n)
	blas.Syrk(gblas.Lower, false, n, d, 1, xs.Data, xs.Stride, 0, slope.Data, slope.Stride)
	norm := g.ws.Vec(n)
	for i := range norm {
		norm[i] = slope.Row(i)[i]
	}
	for i := range n {
		sr, cr := slope.Row(i)[:i+1], cov.Row(i)[:i+1]
		for j, dot := range sr[:i] {
			k, s := maternOf(squaredDistance(norm[i], norm[j], dot))
			cr[j], sr[j] = h.Scale*k, h.Scale*s
		}
		k, _ := maternOf(0)
		cr[i], sr[i] = h.Scale*k, 0
	}
	kernel := g.ws.Get(n, n)
	kernel.Copy(cov)
	for i, v := range extra {
		cov.Row(i)[i] += v
	}
	g.fit.Reset()
	if err := g.fit.Extend(nn.Matrix{Rows: n}, cov, h.Noise); err != nil {
		return 0, err
	}
	alpha := g.ws.Vec(n)
	for i, v := range y {
		alpha[i] = v - h.Mean
	}
	quad := g.fit.Solve(alpha)
	loss := (quad + g.fit.LogDet() + float64(n)*math.Log(2*math.Pi)) / 2
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, ErrNotFinite
	}
	g.fit.Inverse(cov)

	grad.Mean, grad.Noise, grad.Scale = 0, 0, 0
	grad.Inverse = slices.Grow(grad.Inverse[:0], d)[:d]
	grad.Variances, grad.Targets = slices.Grow(grad.Variances[:0], n)[:n], append(grad.Targets[:0], alpha...)
	for _, a := range alpha {
		grad.Mean -= a
	}
	// W = G∘slope, whose product with the rows gives all length scales:
	// dk/dinverse_j = -slope inverse_j (x_j - z_j)².
	sums := g.ws.Vec(n)
	clear(sums)
	for i := range n {
		wr, ar, kr, ai := slope.Row(i), cov.Row(i), kernel.Row(i), alpha[i]
		for j := range i {
			v := (ar[j] - float64(ai*alpha[j])) / 2
			grad.Scale += 2 * v * kr[j]
			wr[j] *= v
			sums[i] += wr[j]
			sums[j] += wr[j]
		}
		v := (ar[i] - float64(ai*ai)) / 2
		grad.Scale += v * kr[i]
		grad.Noise += v
		grad.Variances[i] = v
		wr[i] = 0
	}
	grad.Scale /= h.Scale
	Mirror(slope)
	product := g.ws.Get(n, d)
	nn.Gemm(false, false, 1, slope, x, 0, product)
	clear(grad.Inverse)
	for i := range n {
		pr := product.Row(i)
		for j, v := range x.Row(i) {
			grad.Inverse[j] -= 2 * v * (float64(sums[i]*v) - pr[j])
		}
	}
	for j := range grad.Inverse {
		grad.Inverse[j] *= h.Inverse[j]
	}
	if !nn.Finite(grad.Inverse) || !nn.Finite(alpha) {
		return 0, ErrNotFinite
	}
	return loss, nil
}

// Reset forgets all rows and makes z [m, d] the candidates under parameters h.
func (g *Matern) Reset(h MaternParameters, z nn.Matrix) {
	g.h = h.Clone()
	g.rows, g.cands = 0, z.Rows
	g.x, g.w, g.half = g.x[:0], g.w[:0], g.half[:0]
	g.chol.Reset()
	g.z = slices.Grow(g.z[:0], z.Rows*z.Cols)[:z.Rows*z.Cols]
	scaled(nn.Matrix{Rows: z.Rows, Cols: z.Cols, Stride: z.Cols, Data: g.z}, z, h.Inverse)
	g.mean, g.vari = slices.Grow(g.mean[:0], z.Rows)[:z.Rows], slices.Grow(g.vari[:0], z.Rows)[:z.Rows]
	k, _ := maternOf(0)
	for i := range g.mean {
		g.mean[i], g.vari[i] = h.Mean, h.Scale*k
	}
}

// Len is the number of rows that the process is conditioned on.
func (g *Matern) Len() int { return g.rows }

// cross returns the covariances of two lists of scaled rows.
func (g *Matern) cross(a, b []float64, d int) nn.Matrix {
	n, m := len(a)/d, len(b)/d
	c := g.ws.Get(n, m)
	ma, mb := nn.Matrix{Rows: n, Cols: d, Stride: d, Data: a}, nn.Matrix{Rows: m, Cols: d, Stride: d, Data: b}
	nn.Gemm(false, true, 1, ma, mb, 0, c)
	na, nb := g.ws.Vec(n), g.ws.Vec(m)
	squaredNorms(na, ma)
	squaredNorms(nb, mb)
	for i := range n {
		r := c.Row(i)
		for j, dot := range r {
			k, _ := maternOf(squaredDistance(na[i], nb[j], dot))
			r[j] = g.h.Scale * k
		}
	}
	return c
}

// Extend adds rows x with targets y, and variances of their own in extra unless
// that is nil. On an error nothing has changed.
func (g *Matern) Extend(x nn.Matrix, y, extra []float64) error {
	w := make([]float64, len(y))
	for i, v := range y {
		w[i] = v - g.h.Mean
	}
	from, err := g.add(x, extra)
	if err != nil {
		return err
	}
	g.w = append(g.w, w...)
	g.chol.HalfSolveRest(nn.Matrix{Rows: g.rows, Cols: 1, Stride: 1, Data: g.w}, from)
	for i := from; i < g.rows; i++ {
		for j, v := range g.halfRow(i) {
			g.mean[j] += float64(v * g.w[i])
		}
	}
	return nil
}

// SetTargets replaces the targets of all rows.
func (g *Matern) SetTargets(y []float64) {
	for i, v := range y {
		g.w[i] = v - g.h.Mean
	}
	g.chol.HalfSolveRest(nn.Matrix{Rows: g.rows, Cols: 1, Stride: 1, Data: g.w}, 0)
	for j := range g.mean {
		g.mean[j] = g.h.Mean
	}
	for i, w := range g.w {
		for j, v := range g.halfRow(i) {
			g.mean[j] += float64(v * w)
		}
	}
}

func (g *Matern) halfRow(i int) []float64 { return g.half[i*g.cands : (i+1)*g.cands] }

// add extends the factor and the half-solved covariances with the candidates,
// and reduces their variances. It returns the number of rows before.
func (g *Matern) add(x nn.Matrix, extra []float64) (from int, err error) {
	from = g.rows
	d, m := x.Cols, x.Rows
	g.ws.Reset()
	xs := g.ws.Get(m, d)
	scaled(xs, x, g.h.Inverse)
	flat := xs.Data[:m*d]
	back := nn.Matrix{Rows: m}
	if from > 0 {
		back = g.cross(flat, g.x, d)
	}
	own := g.cross(flat, flat, d)
	for i, v := range extra {
		own.Row(i)[i] += v
	}
	if err := g.chol.Extend(back, own, g.h.Noise); err != nil {
		return from, err
	}
	if g.cands > 0 {
		g.half = append(g.half, g.cross(flat, g.z, d).Data[:m*g.cands]...)
	}
	g.x = append(g.x, flat...)
	g.rows += m
	g.chol.HalfSolveRest(nn.Matrix{Rows: g.rows, Cols: g.cands, Stride: g.cands, Data: g.half}, from)
	for i := from; i < g.rows; i++ {
		for j, v := range g.halfRow(i) {
			g.vari[j] -= float64(v * v)
		}
	}
	return from, nil
}

// Predict writes the posterior mean and the standard deviation of the latent
// function at the candidates.
func (g *Matern) Predict(mean, std []float64) {
	copy(mean, g.mean)
	for j, v := range g.vari {
		std[j] = math.Sqrt(max(v, 0))
	}
}

// Pending predicts as if rows x had been observed too, with targets drawn from
// the posterior: normals holds one list of standard normal numbers, a number a
// row, for each draw. The deviation is the same for all draws; means gets one
// list of the candidates' means for each. The process stays as it was.
//
// A target drawn from the posterior given all rows before it is, once solved
// with the factor, a standard normal number; so drawing costs nothing.
func (g *Matern) Pending(means [][]float64, std []float64, x nn.Matrix, normals [][]float64) error {
	before := slices.Clone(g.vari)
	from, err := g.add(x, nil)
	if err != nil {
		return err
	}
	for s := range means {
		copy(means[s], g.mean)
		for i := from; i < g.rows; i++ {
			e := normals[s][i-from]
			for j, v := range g.halfRow(i) {
				means[s][j] += float64(v * e)
			}
		}
	}
	for j, v := range g.vari {
		std[j] = math.Sqrt(max(v, 0))
	}
	g.x, g.half, g.rows = g.x[:from*x.Cols], g.half[:from*g.cands], from
	g.chol.Truncate(from)
	copy(g.vari, before)
	return nil
}

// Joint writes the posterior covariances of the latent function at the given
// candidates, a square matrix, to dst.
func (g *Matern) Joint(dst nn.Matrix, of []int) {
	d := len(g.z) / g.cands
	g.ws.Reset()
	z := g.ws.Get(len(of), d)
	for i, c := range of {
		copy(z.Row(i), g.z[c*d:(c+1)*d])
	}
	dst.Copy(g.cross(z.Data[:len(of)*d], z.Data[:len(of)*d], d))
	for r := range g.rows {
		half := g.halfRow(r)
		for i, a := range of {
			row := dst.Row(i)
			for j, b := range of {
				row[j] -= float64(half[a] * half[b])
			}
		}
	}
}
