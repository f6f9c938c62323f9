package selection

import (
	"errors"
	"math"
	"math/rand/v2"

	gblas "gonum.org/v1/gonum/blas"

	"quicktune/internal/blas"
)

// Settings of gaussianMixture, those of scikit-learn.
const (
	mixtureRounds    = 100
	mixtureTolerance = 1e-3 // of the mean log likelihood
	mixtureVariance  = 1e-6 // added to every variance
	clusterRounds    = 20
)

// gaussianMixture fits k Gaussians to the n x d rows of x by expectation
// maximisation from the clusters of k-means, and returns the posterior
// probabilities of the Gaussians, n x k.
func gaussianMixture(x []float64, n, d, k int, diagonal bool, rng *rand.Rand) ([]float64, error) {
	posterior := make([]float64, n*k)
	for i, c := range clusters(x, n, d, k, rng) {
		posterior[i*k+c] = 1
	}
	logs := make([]float64, n*k)
	weights, mean := make([]float64, k), make([]float64, d)
	rows, factor := make([]float64, n*d), make([]float64, d*d)
	before := math.Inf(-1)
	for range mixtureRounds {
		for c := range k {
			weights[c] = 10 * 0x1p-52
			clear(mean)
			for i := range n {
				if q := posterior[i*k+c]; q > 0 {
					weights[c] += q
					for j, v := range x[i*d : (i+1)*d] {
						mean[j] += q * v
					}
				}
			}
			for j := range mean {
				mean[j] /= weights[c]
			}
			if err := logDensities(x, n, d, k, c, posterior, weights[c], mean, diagonal, rows, factor, logs); err != nil {
				return nil, err
			}
		}
		likelihood := 0.0
		for i := range n {
			row := posterior[i*k : (i+1)*k]
			for c := range row {
				row[c] = logs[i*k+c] + math.Log(weights[c]/float64(n))
			}
			largest := row[argmax(row)]
			sum := 0.0
			for c, v := range row {
				row[c] = math.Exp(v - largest)
				sum += row[c]
			}
			for c := range row {
				row[c] /= sum
			}
			likelihood += (largest + math.Log(sum)) / float64(n)
		}
		if math.Abs(likelihood-before) < mixtureTolerance {
			break
		}
		before = likelihood
	}
	return posterior, nil
}

// logDensities fits the covariance of component c and writes the logarithm of
// its density at each row of x to column c of logs.
func logDensities(x []float64, n, d, k, c int, posterior []float64, weight float64, mean []float64, diagonal bool, rows, factor, logs []float64) error {
	used := 0
	clear(factor)
	for i := range n {
		q := posterior[i*k+c]
		if q <= 0 {
			continue
		}
		root := math.Sqrt(q / weight)
		for j, v := range x[i*d : (i+1)*d] {
			apart := root * (v - mean[j])
			if diagonal {
				factor[j] += apart * apart
			} else {
				rows[used*d+j] = apart
			}
		}
		used++
	}
	determinant := 0.0
	if diagonal {
		for j := range d {
			factor[j] += mixtureVariance
			determinant += math.Log(factor[j])
		}
	} else {
		blas.Syrk(gblas.Lower, true, d, used, 1, rows, d, 0, factor, d)
		for j := range d {
			factor[j*d+j] += mixtureVariance
		}
		log, err := logDeterminant(d, factor)
		if err != nil {
			return errors.New("a component of the mixture has a singular covariance")
		}
		determinant = log
	}
	for i := range n {
		for j, v := range x[i*d : (i+1)*d] {
			rows[i*d+j] = v - mean[j]
		}
	}
	if !diagonal {
		blas.Trsm(gblas.Right, gblas.Lower, true, gblas.NonUnit, n, d, 1, factor, d, rows, d)
	}
	constant := float64(d)*math.Log(2*math.Pi) + determinant
	for i := range n {
		square := 0.0
		for j, v := range rows[i*d : (i+1)*d] {
			if diagonal {
				square += v * v / factor[j]
			} else {
				square += v * v
			}
		}
		logs[i*k+c] = -(constant + square) / 2
	}
	return nil
}

// clusters returns the cluster of each row by k-means from the start of Arthur
// and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
func clusters(x []float64, n, d, k int, rng *rand.Rand) []int {
	centres := make([]float64, k*d)
	nearest := make([]float64, n)
	for i := range nearest {
		nearest[i] = math.Inf(1)
	}
	chosen := rng.IntN(n)
	for c := range k {
		centre := centres[c*d : (c+1)*d]
		copy(centre, x[chosen*d:(chosen+1)*d])
		sum := 0.0
		for i := range nearest {
			nearest[i] = min(nearest[i], squaredDistance(x[i*d:(i+1)*d], centre))
			sum += nearest[i]
		}
		at := rng.Float64() * sum
		chosen = n - 1
		for i, v := range nearest {
			if at -= v; at < 0 {
				chosen = i
				break
			}
		}
	}
	assigned, counts := make([]int, n), make([]float64, k)
	for range clusterRounds {
		moved := false
		for i := range n {
			best, least := 0, math.Inf(1)
			for c := range k {
				if v := squaredDistance(x[i*d:(i+1)*d], centres[c*d:(c+1)*d]); v < least {
					best, least = c, v
				}
			}
			moved = moved || assigned[i] != best
			assigned[i] = best
		}
		if !moved {
			break
		}
		clear(counts)
		sums := make([]float64, k*d)
		for i, c := range assigned {
			counts[c]++
			for j, v := range x[i*d : (i+1)*d] {
				sums[c*d+j] += v
			}
		}
		for c, count := range counts {
			if count > 0 {
				for j := range d {
					centres[c*d+j] = sums[c*d+j] / count
				}
			}
		}
	}
	return assigned
}

func squaredDistance(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += (v - b[i]) * (v - b[i])
	}
	return s
}
