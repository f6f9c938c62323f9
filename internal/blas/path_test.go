package blas

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/gonum/blas/blas64"

	"quicktune/internal/stream"
)

func TestEnvironmentChoosesThePath(t *testing.T) {
	all := []Path{Gonum, Portable, AVX2, AVX512}
	for _, c := range []struct {
		value     string
		available []Path
		want      Path
		err       string
	}{
		{"", all, AVX512, ""},
		{"", all[:3], AVX2, ""},
		{"", all[:2], Portable, ""},
		{"gonum", all, Gonum, ""},
		{"portable", all, Portable, ""},
		{"avx2", all, AVX2, ""},
		{"avx512", all, AVX512, ""},
		{"avx512", all[:3], AVX2, "QUICKTUNE_BLAS=avx512 needs instructions this CPU lacks; using avx2, this machine can run gonum, portable, avx2"},
		{"sse9", all[:2], Portable, "QUICKTUNE_BLAS=sse9 is not the name of a path; using portable, this machine can run gonum, portable"},
	} {
		got, err := choose(c.value, c.available)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if got != c.want || text != c.err {
			t.Errorf("choose(%q, %v) = %v, %q; want %v, %q", c.value, c.available, got, text, c.want, c.err)
		}
	}
}

func TestSelectRefusesWhatTheMachineLacks(t *testing.T) {
	before := Active()
	if err := Select(Path(17)); err == nil {
		t.Error("Select(17) succeeds")
	}
	for _, p := range []Path{Gonum, Portable, AVX2, AVX512} {
		err := Select(p)
		if has := slices.Contains(Available(), p); has != (err == nil) {
			t.Errorf("Select(%v) = %v, available %v", p, err, Available())
		}
	}
	if err := Select(before); err != nil {
		t.Fatal(err)
	}
}

func TestImportRegistersWithGonum(t *testing.T) {
	if _, ok := blas64.Implementation().(Implementation); !ok {
		t.Errorf("blas64 uses %T", blas64.Implementation())
	}
	if _, ok := blas32.Implementation().(Implementation); !ok {
		t.Errorf("blas32 uses %T", blas32.Implementation())
	}
}

// exactFMA32 rounds x*y+z once, in arithmetic without bound.
func exactFMA32(x, y, z float32) float32 {
	wide := func(f float32) *big.Float { return new(big.Float).SetPrec(2000).SetFloat64(float64(f)) }
	p := new(big.Float).SetPrec(2000).Mul(wide(x), wide(y))
	f, _ := p.Add(p, wide(z)).Float32()
	return f
}

func TestFMA32RoundsOnce(t *testing.T) {
	cases := [][3]float32{
		// The sum lies half a unit of float32 off a number, plus a speck that a
		// first rounding to float64 would lose.
		{1 + 0x1p-12, 1 + 0x1p-12, 0x1p-60},
		{0x1p-1, 1 + 0x1p-23, 0x1p-90},
		{1 + 0x1p-23, 1 + 0x1p-23, -1},
		{0x1p-80, 0x1p-69, 0x1p-149},
		{0x1p-80, 0x1.8p-70, 0x1p-149},
		{math.MaxFloat32, 2, -math.MaxFloat32},
		{math.MaxFloat32, 1, math.MaxFloat32},
		{0x1p-149, 0x1p-149, 1 + 0x1p-23},
		{0, 5, 3}, {3, 0, 0},
	}
	rng := stream.New("fma32", 0)
	for range 200_000 {
		var c [3]float32
		for i := range c {
			c[i] = math.Float32frombits(rng.Uint32())
		}
		// Bring the product near the addend, where roundings meet.
		if rng.IntN(2) == 0 {
			c[0] = float32(math.Ldexp(1+float64(rng.IntN(1<<23))/(1<<23), rng.IntN(60)-30))
			c[1] = float32(math.Ldexp(1+float64(rng.IntN(1<<23))/(1<<23), rng.IntN(60)-30))
			c[2] = float32(math.Ldexp(float64(c[0])*float64(c[1]), rng.IntN(100)-50))
		}
		cases = append(cases, c)
	}
	for _, c := range cases {
		x, y, z := float64(c[0]), float64(c[1]), float64(c[2])
		if s := x*y + z; math.IsNaN(s) || math.IsInf(x, 0) || math.IsInf(y, 0) || math.IsInf(z, 0) {
			continue
		}
		got, want := fma32(c[0], c[1], c[2]), exactFMA32(c[0], c[1], c[2])
		if got != want {
			t.Fatalf("fma32(%x, %x, %x) = %x, want %x", c[0], c[1], c[2], got, want)
		}
	}
}
