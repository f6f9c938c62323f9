package nn

import "math"

// LBFGS minimises a smooth function with the limited-memory BFGS update of
// Nocedal, "Updating Quasi-Newton Matrices with Limited Storage", Mathematics
// of Computation 35, 1980, and a line search that backtracks until the
// sufficient-decrease condition holds (Nocedal and Wright, "Numerical
// Optimization", algorithm 3.1). Pairs that violate the curvature condition are
// dropped, so it also survives the kinks of rectifiers. The zero value is ready
// to use and remembers nothing.
type LBFGS struct {
	s, y [][]float64
	rho  []float64
	n    int // pairs remembered

	dir, x0, g0, alpha []float64
}

const (
	lbfgsMemory   = 8
	lbfgsDecrease = 1e-4
	lbfgsTries    = 12
)

// Reset forgets the curvature pairs.
func (l *LBFGS) Reset() { l.n = 0 }

// Minimize lowers f, starting at value, which it overwrites. f returns the loss
// at value and leaves its gradient in grad; it may fail, which counts as an
// infinite loss if it happens in a line search. first is the length of the
// first step in the largest coordinate. Minimize ends after so many evaluations
// of f, or when no further decrease is found, and returns the loss at value. It
// fails only if the first evaluation does.
func (l *LBFGS) Minimize(value, grad []float64, first float64, evaluations int, f func() (float64, error)) (float64, error) {
	n := len(value)
	if len(l.dir) != n {
		*l = LBFGS{dir: make([]float64, n), x0: make([]float64, n), g0: make([]float64, n), alpha: make([]float64, lbfgsMemory)}
		for range lbfgsMemory {
			l.s, l.y, l.rho = append(l.s, make([]float64, n)), append(l.y, make([]float64, n)), append(l.rho, 0)
		}
	}
	loss, err := f()
	if err != nil {
		return 0, err
	}
	for used := 1; used < evaluations; {
		l.direction(grad)
		slope := dot(l.dir, grad)
		if !(slope < 0) {
			l.n = 0
			l.direction(grad)
			if slope = dot(l.dir, grad); !(slope < 0) {
				return loss, nil
			}
		}
		step := 1.0
		if l.n == 0 {
			step = first / largest(l.dir)
		}
		copy(l.x0, value)
		copy(l.g0, grad)
		accepted := false
		for try := 0; try < lbfgsTries && used < evaluations; try++ {
			for i, d := range l.dir {
				value[i] = l.x0[i] + float64(step*d)
			}
			used++
			next, err := f()
			if err == nil && next <= loss+lbfgsDecrease*step*slope {
				loss, accepted = next, true
				break
			}
			step /= 4
		}
		if !accepted {
			copy(value, l.x0)
			copy(grad, l.g0)
			if l.n == 0 {
				return loss, nil
			}
			l.n = 0
			continue
		}
		l.remember(value, grad)
	}
	return loss, nil
}

// direction sets dir to minus the approximate inverse Hessian times grad, by
// the two-loop recursion.
func (l *LBFGS) direction(grad []float64) {
	for i, g := range grad {
		l.dir[i] = -g
	}
	for k := l.n - 1; k >= 0; k-- {
		l.alpha[k] = l.rho[k] * dot(l.s[k], l.dir)
		axpy(-l.alpha[k], l.y[k], l.dir)
	}
	if l.n > 0 {
		k := l.n - 1
		scale := 1 / (l.rho[k] * dot(l.y[k], l.y[k]))
		for i := range l.dir {
			l.dir[i] *= scale
		}
	}
	for k := range l.n {
		axpy(l.alpha[k]-l.rho[k]*dot(l.y[k], l.dir), l.s[k], l.dir)
	}
}

// remember stores the step from x0 to value and the change of the gradient.
func (l *LBFGS) remember(value, grad []float64) {
	k := l.n
	if k == lbfgsMemory {
		k--
		s, y := l.s[0], l.y[0]
		copy(l.s, l.s[1:])
		copy(l.y, l.y[1:])
		copy(l.rho, l.rho[1:])
		l.s[k], l.y[k] = s, y
	}
	for i := range value {
		l.s[k][i], l.y[k][i] = value[i]-l.x0[i], grad[i]-l.g0[i]
	}
	sy := dot(l.s[k], l.y[k])
	if sy <= 1e-10*math.Sqrt(dot(l.s[k], l.s[k])*dot(l.y[k], l.y[k])) {
		l.n = min(l.n, k)
		return
	}
	l.rho[k] = 1 / sy
	l.n = k + 1
}

func dot(a, b []float64) float64 {
	s := 0.0
	for i, v := range a {
		s += float64(v * b[i])
	}
	return s
}

func axpy(a float64, x, y []float64) {
	for i, v := range x {
		y[i] += float64(a * v)
	}
}

func largest(x []float64) float64 {
	m := 0.0
	for _, v := range x {
		m = math.Max(m, math.Abs(v))
	}
	return m
}
