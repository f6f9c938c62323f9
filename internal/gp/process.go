package gp

import (
	"errors"
	"math"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
	"quicktune/internal/nn"
)

// Hyperparameters are the parameters of a [Process].
type Hyperparameters struct {
	Mean        float64
	Noise       float64 // variance
	OutputScale float64 // variance
	LengthScale float64
}

// Raw are hyperparameters as they are fitted: free numbers, a tensor of one each.
// Noise, output scale and length scale are their softplus, as in GPyTorch.
type Raw struct {
	Noise, Mean, OutputScale, LengthScale *nn.Tensor
	NoiseFloor                            float64 // is added to the noise
}

// Hyperparameters returns what the numbers stand for.
func (r *Raw) Hyperparameters() Hyperparameters {
	return Hyperparameters{
		Mean:        r.Mean.Value[0],
		Noise:       r.NoiseFloor + nn.Softplus(r.Noise.Value[0]),
		OutputScale: nn.Softplus(r.OutputScale.Value[0]),
		LengthScale: nn.Softplus(r.LengthScale.Value[0]),
	}
}

// SetGradient sets the derivatives by the numbers, given those by the
// hyperparameters.
func (r *Raw) SetGradient(dh Hyperparameters) {
	r.Mean.Grad[0] = dh.Mean
	r.Noise.Grad[0] = dh.Noise * nn.Sigmoid(r.Noise.Value[0])
	r.OutputScale.Grad[0] = dh.OutputScale * nn.Sigmoid(r.OutputScale.Value[0])
	r.LengthScale.Grad[0] = dh.LengthScale * nn.Sigmoid(r.LengthScale.Value[0])
}

// ErrNotFinite is returned where inputs or hyperparameters lead to a likelihood
// that is no number.
var ErrNotFinite = errors.New("gp: the inputs or the hyperparameters lead to numbers that are not finite")

// Process is the exact process over inputs z [n, d] with a constant mean, a
// scaled squared-exponential kernel with one length scale and Gaussian noise.
// Its inputs may be the embeddings of a network: the likelihood has a gradient
// by them. The zero value is conditioned on nothing.
type Process struct {
	// What it is conditioned on.
	n     int
	h     Hyperparameters
	z     []float64 // n x d
	y     []float64
	shift []float64 // subtracted from embeddings before distances are taken
	chol  Factor    // factor of the covariance
	alpha []float64 // covariance⁻¹ (y - mean)

	fit Factor // factor of the last marginal likelihood
	ws  nn.Workspace
}

// Len is the number of rows that the process is conditioned on.
func (g *Process) Len() int { return g.n }

// Reset forgets what the process is conditioned on.
func (g *Process) Reset() { g.n = 0 }

// kernel writes the covariances outputScale*exp(-|x-z|²/(2 lengthScale²)) of
// the rows of x and z to c.
func (g *Process) kernel(c, x, z nn.Matrix, h Hyperparameters) {
	nn.Gemm(false, true, 1, x, z, 0, c)
	xx, zz := g.ws.Vec(x.Rows), g.ws.Vec(z.Rows)
	squaredNorms(xx, x)
	squaredNorms(zz, z)
	f := -1 / (2 * h.LengthScale * h.LengthScale)
	for i := range c.Rows {
		r := c.Row(i)
		for j, dot := range r {
			r[j] = h.OutputScale * math.Exp(f*squaredDistance(xx[i], zz[j], dot))
		}
	}
}

// ownKernel writes the squared distances of the rows of x from each other and
// their covariances to the lower triangles of d2 and c. The two may be the same
// matrix, which then holds the covariances.
func (g *Process) ownKernel(d2, c, x nn.Matrix, h Hyperparameters) {
	blas.Syrk(gblas.Lower, false, x.Rows, x.Cols, 1, x.Data, x.Stride, 0, d2.Data, d2.Stride)
	xx := g.ws.Vec(x.Rows)
	for i := range xx {
		xx[i] = d2.Row(i)[i]
	}
	f := -1 / (2 * h.LengthScale * h.LengthScale)
	for i := range x.Rows {
		dr, cr := d2.Row(i)[:i+1], c.Row(i)[:i+1]
		for j, dot := range dr {
			d := squaredDistance(xx[i], xx[j], dot)
			dr[j] = d
			cr[j] = h.OutputScale * math.Exp(f*d)
		}
	}
}

// squaredDistance is |x|²+|z|²-2xz, at least 0. Callers centre the rows first:
// less is then lost to cancellation.
func squaredDistance(xx, zz, dot float64) float64 { return max(0, xx+zz-2*dot) }

func squaredNorms(dst []float64, x nn.Matrix) {
	for i := range x.Rows {
		s := 0.0
		for _, v := range x.Row(i) {
			s += float64(v * v)
		}
		dst[i] = s
	}
}

// centred copies z minus shift to the workspace.
func (g *Process) centred(z nn.Matrix, shift []float64) nn.Matrix {
	out := g.ws.Get(z.Rows, z.Cols)
	for i := range z.Rows {
		o := out.Row(i)
		for j, v := range z.Row(i) {
			o[j] = v - shift[j]
		}
	}
	return out
}

func columnMeans(dst []float64, z nn.Matrix) {
	clear(dst)
	for i := range z.Rows {
		for j, v := range z.Row(i) {
			dst[j] += v
		}
	}
	for j := range dst {
		dst[j] /= float64(z.Rows)
	}
}

// Marginal returns the negative log marginal likelihood per row and its
// derivatives: by the embeddings, in dz unless that is the zero Matrix, and by
// the hyperparameters.
//
// With A = K + noise I, r = y - mean, a = A⁻¹ r and G = (A⁻¹ - a aᵀ)/(2n) the
// loss is (rᵀa + log|A| + n log 2π)/(2n), its derivative by the covariance is
// G, and every other one follows by the chain rule. With W = G∘K:
//
//	dnoise = tr G        dscale  = ΣW / scale        dmean = -Σa / n
//	dlength = Σ W∘D² / length³
//	dz_i = -2/length² Σ_j W_ij (z_i - z_j)
func (g *Process) Marginal(dz, z nn.Matrix, y []float64, h Hyperparameters) (float64, Hyperparameters, error) {
	n := z.Rows
	g.ws.Reset()
	shift := g.ws.Vec(z.Cols)
	columnMeans(shift, z)
	x := g.centred(z, shift)
	d2, cov := g.ws.Get(n, n), g.ws.Get(n, n)
	g.ownKernel(d2, cov, x, h)

	g.fit.Reset()
	if err := g.fit.Extend(nn.Matrix{Rows: n}, cov, h.Noise); err != nil {
		return 0, Hyperparameters{}, err
	}
	logDet := g.fit.LogDet()
	alpha := g.ws.Vec(n)
	for i, v := range y {
		alpha[i] = v - h.Mean
	}
	quad := g.fit.Solve(alpha)
	loss := (quad + logDet + float64(n)*math.Log(2*math.Pi)) / float64(2*n)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, Hyperparameters{}, ErrNotFinite
	}
	inv := g.ws.Get(n, n)
	g.fit.Inverse(inv)

	var dh Hyperparameters
	c := 1 / float64(2*n)
	for _, v := range alpha {
		dh.Mean -= v / float64(n)
	}
	w, sumW, sumWD := cov, 0.0, 0.0 // W overwrites the covariance
	sums := g.ws.Vec(n)             // of the rows of W
	clear(sums)
	for i := range n {
		wr, ar, dr, ai := w.Row(i)[:i+1], inv.Row(i)[:i+1], d2.Row(i)[:i+1], alpha[i]
		rowSum, rowWD := 0.0, 0.0
		for j, a := range ar[:i] {
			v := c * (a - float64(ai*alpha[j])) * wr[j]
			wr[j] = v
			rowSum += v
			sums[j] += v
			rowWD += float64(v * dr[j])
		}
		gii := c * (ar[i] - float64(ai*ai))
		dh.Noise += gii
		sums[i] += rowSum
		sumW += 2*rowSum + float64(gii*h.OutputScale)
		sumWD += 2 * rowWD
		wr[i] = 0 // a row's distance to itself is 0 whatever moves
	}
	dh.OutputScale = sumW / h.OutputScale
	dh.LengthScale = sumWD / (h.LengthScale * h.LengthScale * h.LengthScale)

	if dz.IsZero() {
		return loss, dh, nil
	}
	Mirror(w)
	f := 2 / (h.LengthScale * h.LengthScale)
	nn.Gemm(false, false, f, w, x, 0, dz)
	for i := range n {
		d, s := dz.Row(i), f*sums[i]
		for j, v := range x.Row(i) {
			d[j] -= float64(s * v)
		}
	}
	return loss, dh, nil
}

// Extend adds observations y at inputs z to those that the process is
// conditioned on, whose hyperparameters it keeps: h counts for the first ones.
// On an error nothing has changed.
func (g *Process) Extend(z nn.Matrix, y []float64, h Hyperparameters) error {
	d, m := z.Cols, z.Rows
	if g.n == 0 {
		g.h = h
		g.z, g.y = g.z[:0], g.y[:0]
		g.chol.Reset()
		if len(g.shift) != d {
			g.shift = make([]float64, d)
		}
		columnMeans(g.shift, z)
	}
	g.ws.Reset()
	x := g.centred(z, g.shift)
	cross := g.ws.Get(m, g.n)
	if g.n > 0 {
		g.kernel(cross, x, nn.Matrix{Rows: g.n, Cols: d, Stride: d, Data: g.z}, g.h)
	}
	own := g.ws.Get(m, m)
	g.ownKernel(own, own, x, g.h)
	if err := g.chol.Extend(cross, own, g.h.Noise); err != nil {
		return err
	}
	for i := range m {
		g.z = append(g.z, x.Row(i)...)
	}
	g.y = append(g.y, y...)
	g.n += m
	g.alpha = g.alpha[:0]
	for _, v := range g.y {
		g.alpha = append(g.alpha, v-g.h.Mean)
	}
	g.chol.Solve(g.alpha)
	return nil
}

// predictBlock is how many candidates are handled at a time, to bound memory.
const predictBlock = 256

// Predict writes the posterior mean and standard deviation at z, the mean only
// if std is nil. With noise, the deviation is that of an observation, else that
// of the latent function. The process must be conditioned on something.
func (g *Process) Predict(mean, std []float64, z nn.Matrix, noise bool) {
	d := z.Cols
	for lo := 0; lo < z.Rows; lo += predictBlock {
		hi := min(lo+predictBlock, z.Rows)
		g.ws.Reset()
		x := g.centred(nn.Matrix{Rows: hi - lo, Cols: d, Stride: z.Stride, Data: z.Data[lo*z.Stride:]}, g.shift)
		// Candidates in columns, so that the triangular solve works on rows
		// of many numbers.
		c := g.ws.Get(g.n, hi-lo)
		g.kernel(c, nn.Matrix{Rows: g.n, Cols: d, Stride: d, Data: g.z}, x, g.h)
		mu := mean[lo:hi]
		for j := range mu {
			mu[j] = g.h.Mean
		}
		for i, a := range g.alpha {
			for j, k := range c.Row(i) {
				mu[j] += float64(a * k)
			}
		}
		if std == nil {
			continue
		}
		v := std[lo:hi]
		for j := range v {
			v[j] = g.h.OutputScale
			if noise {
				v[j] += g.h.Noise
			}
		}
		g.chol.HalfSolve(c)
		for i := range g.n {
			for j, k := range c.Row(i) {
				v[j] -= float64(k * k)
			}
		}
		for j := range v {
			v[j] = math.Sqrt(max(0, v[j]))
		}
	}
}
