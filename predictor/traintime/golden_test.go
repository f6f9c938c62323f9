package traintime

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"quicktune/internal/realdata"
)

// golden is a small random problem with its dynamics by other programs:
// matrix exponentials and LSODA for the flow, SGD on the weights of the linear
// model for the discrete steps.
type golden struct {
	N, C     int
	Eta      float64
	Labels   []int
	Theta    [][]float64
	Jacobian [][]float64
	F0       [][]float64
	W0       []float64
	T        []int

	MSEFlow     []float64 `json:"mse_gradient_flow_loss"`
	MSEFlowF    []float64 `json:"mse_gradient_flow_f_t10"`
	CEFlow      []float64 `json:"ce_gradient_flow_loss"`
	CEFlowF     []float64 `json:"ce_gradient_flow_f_t10"`
	MSEGD       []float64 `json:"mse_discrete_gd_loss"`
	CEGD        []float64 `json:"ce_discrete_gd_loss"`
	MSEMomentum []float64 `json:"mse_discrete_gd_momentum0.9_loss"`
	CEMomentum  []float64 `json:"ce_discrete_gd_momentum0.9_loss"`
	MSENesterov []float64 `json:"mse_discrete_gd_nesterov0.9_loss"`
	MSEDecay    []float64 `json:"mse_discrete_gd_wd0.01_loss"`

	MSENoise      [][]float64 `json:"mse_noise_cov_per_sample_t0"`
	MSENoiseTrace float64     `json:"mse_noise_cov_trace"`
	CENoise       [][]float64 `json:"ce_noise_cov_per_sample_t0"`
	CENoiseTrace  float64     `json:"ce_noise_cov_trace"`
	Eigenvalues   []float64   `json:"theta_eigs"`

	YThetaY    float64 `json:"dY_T_Theta_dY"`
	YY         float64 `json:"dY_norm2"`
	YThetaInvY float64 `json:"dY_T_ThetaInv_dY"`

	Alg1  float64 `json:"T_alg1_eps0.1"`
	Alg1b float64 `json:"T_alg1_eps0.05"`
	Alg1c float64 `json:"T_alg1_eps0.01"`
	Rel   float64 `json:"T_rel_0.5"`
	Relb  float64 `json:"T_rel_0.1"`
	Relc  float64 `json:"T_rel_0.01"`
}

func readGolden(t *testing.T) *golden {
	t.Helper()
	data, err := os.ReadFile(realdata.Path(t, "selection", "fixtures", "ntk_dynamics.json"))
	if err != nil {
		t.Fatal(err)
	}
	g := &golden{}
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	return g
}

func flat(rows [][]float64) []float64 {
	var x []float64
	for _, r := range rows {
		x = append(x, r...)
	}
	return x
}

func (g *golden) network() *Matrix {
	return &Matrix{N: g.N, C: g.C, P: len(g.W0), J: flat(g.Jacobian), F0: flat(g.F0)}
}

func (g *golden) problem(t *testing.T, loss Loss) *Problem {
	t.Helper()
	kernel, err := FromRows(t.Context(), g.network(), Full, 1)
	if err != nil {
		t.Fatal(err)
	}
	targets, err := OneHot(g.Labels, g.C)
	if err != nil {
		t.Fatal(err)
	}
	initial := make([]float64, g.N*g.C)
	if err := g.network().Multiply(initial, g.W0); err != nil {
		t.Fatal(err)
	}
	return &Problem{Kernel: kernel, Outputs: flat(g.F0), Targets: targets, Initial: initial, Loss: loss}
}

func near(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i, x := range got {
		if x != want[i] && !(math.Abs(x-want[i]) <= tolerance) {
			t.Errorf("%s: number %d is %.15g, want %.15g (off by %.2g)", what, i, x, want[i], x-want[i])
		}
	}
}

func TestTheKernelIsTheReferenceKernel(t *testing.T) {
	g := readGolden(t)
	p := g.problem(t, MSE)
	near(t, "theta", p.Kernel.Dense(), flat(g.Theta), 1e-12)
	values, _, err := p.Kernel.Eigen()
	if err != nil {
		t.Fatal(err)
	}
	descending := make([]float64, len(values))
	for i, v := range values {
		descending[len(values)-1-i] = v
	}
	near(t, "eigenvalues", descending, g.Eigenvalues, 1e-12)
	near(t, "largest eigenvalue", []float64{p.Kernel.Largest()}, g.Eigenvalues[:1], 1e-6)
}

func TestCurvesAreTheReferenceCurves(t *testing.T) {
	g := readGolden(t)
	flow, discrete := 1e-8, 1e-10
	cases := []struct {
		name      string
		loss      Loss
		dynamics  Dynamics
		setting   Setting
		want      []float64
		tolerance float64
	}{
		{"MSE flow", MSE, Published, Setting{}, g.MSEFlow, flow},
		{"CE flow", CrossEntropy, Published, Setting{}, g.CEFlow, flow},
		{"MSE descent", MSE, Exact, Setting{}, g.MSEGD, discrete},
		{"CE descent", CrossEntropy, Exact, Setting{}, g.CEGD, discrete},
		{"MSE momentum", MSE, Exact, Setting{Momentum: 0.9}, g.MSEMomentum, discrete},
		{"CE momentum", CrossEntropy, Exact, Setting{Momentum: 0.9}, g.CEMomentum, discrete},
		{"MSE Nesterov", MSE, Exact, Setting{Momentum: 0.9, Nesterov: true}, g.MSENesterov, discrete},
		{"MSE weight decay", MSE, Exact, Setting{WeightDecay: 0.01}, g.MSEDecay, discrete},
	}
	for _, c := range cases {
		// With accuracies the squared loss takes steps in place of modes and
		// the flow an integrator in place of exponentials.
		for _, accuracy := range []bool{false, true} {
			s := c.setting
			s.LearningRate = g.Eta
			curves, err := g.problem(t, c.loss).Simulate(t.Context(), []Setting{s}, Options{Steps: g.T[len(g.T)-1], Dynamics: c.dynamics, Accuracy: accuracy})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]float64, len(g.T))
			for i, step := range g.T {
				got[i] = curves[0].Loss[step]
			}
			near(t, c.name, got, c.want, c.tolerance)
		}
	}
}

func TestOutputsOfTheFlowAreTheReferenceOutputs(t *testing.T) {
	g := readGolden(t)
	for loss, want := range map[Loss][]float64{MSE: g.MSEFlowF, CrossEntropy: g.CEFlowF} {
		path, err := g.problem(t, loss).follow(t.Context(), 0, 10*g.Eta, false)
		if err != nil {
			t.Fatal(err)
		}
		near(t, loss.String(), path.f, want, 1e-8)
	}
}

func TestNoiseCovarianceIsTheReferenceCovariance(t *testing.T) {
	g := readGolden(t)
	for _, c := range []struct {
		loss  Loss
		want  [][]float64
		trace float64
	}{{MSE, g.MSENoise, g.MSENoiseTrace}, {CrossEntropy, g.CENoise, g.CENoiseTrace}} {
		p := g.problem(t, c.loss)
		got, err := p.NoiseCovariance(p.Outputs)
		if err != nil {
			t.Fatal(err)
		}
		near(t, c.loss.String(), got, flat(c.want), 1e-10)
		trace := 0.0
		for i := range g.N * g.C {
			trace += got[i*g.N*g.C+i]
		}
		near(t, "trace", []float64{trace}, []float64{c.trace}, 1e-10)
	}
}

func TestTimesAreTheReferenceTimes(t *testing.T) {
	g := readGolden(t)
	curves, err := g.problem(t, MSE).Simulate(t.Context(), []Setting{{LearningRate: g.Eta}}, Options{Steps: 200})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		criterion Criterion
		want      float64
	}{
		{Criterion{Kind: WithinFinal, Value: 0.1}, g.Alg1},
		{Criterion{Kind: WithinFinal, Value: 0.05}, g.Alg1b},
		{Criterion{Kind: WithinFinal, Value: 0.01}, g.Alg1c},
		{Criterion{Kind: FirstBelow, Value: 0.5, Relative: true}, g.Rel},
		{Criterion{Kind: FirstBelow, Value: 0.1, Relative: true}, g.Relb},
		{Criterion{Kind: FirstBelow, Value: 0.01, Relative: true}, g.Relc},
		{Criterion{Kind: StaysBelow, Value: 0.01, Relative: true}, g.Relc},
	} {
		if got := curves[0].TimeTo(c.criterion); got != (Time{c.want, c.want, c.want, 1}) {
			t.Errorf("%+v: %+v, want %v", c.criterion, got, c.want)
		}
	}
}

func TestTheErrorsProjectionsOnTheKernelAreTheReferenceProjections(t *testing.T) {
	g := readGolden(t)
	p := g.problem(t, MSE)
	m, err := p.modal()
	if err != nil {
		t.Fatal(err)
	}
	forward, square, backward := 0.0, 0.0, 0.0
	for i, x := range m.error {
		lambda := m.rate[i] * float64(g.N)
		forward += lambda * x * x
		square += x * x
		backward += x * x / lambda
	}
	near(t, "quadratic forms", []float64{forward, square, backward}, []float64{g.YThetaY, g.YY, g.YThetaInvY}, 1e-10)
}
