// Command gen writes the assembly of package vec and its Go declarations.
//
// It is a module of its own, so that the library it is written with
// (github.com/mmcloughlin/avo) is no dependency of the main module. Run it by
// `go generate ./internal/nn/vec` from the root of the main module.
//
// Every kernel works on groups of 16 numbers, one register with AVX-512 and two
// with AVX2, so that both instruction sets do the same operations in the same
// order. What does not fill a group is left to Go.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

const (
	lanes = 16
	bytes = 4 * lanes
)

// target is an instruction set.
type target struct{ wide bool }

// group is 16 numbers in registers.
type group []reg.VecVirtual

func (t target) name(stem string) string {
	if t.wide {
		return stem + "512"
	}
	return stem + "256"
}

// width is the number of bytes of a register.
func (t target) width() int {
	if t.wide {
		return 64
	}
	return 32
}

func (t target) group() group {
	if t.wide {
		return group{ZMM()}
	}
	return group{YMM(), YMM()}
}

func (t target) zero() group {
	g := t.group()
	for _, v := range g {
		if !t.wide {
			VXORPS(v, v, v)
			continue
		}
		xor, err := x86.VPXORQ(v, v, v)
		if err != nil {
			panic(err)
		}
		xor.CancellingInputs = true
		Instruction(xor)
	}
	return g
}

func (t target) load(m Mem) group {
	g := t.group()
	for i, v := range g {
		VMOVUPS(m.Offset(i*t.width()), v)
	}
	return g
}

func (t target) store(g group, m Mem) {
	for i, v := range g {
		VMOVUPS(v, m.Offset(i*t.width()))
	}
}

// spread fills a single register with one number from memory, for use as every
// part of a group.
func (t target) spread(m Op) group {
	if t.wide {
		v := ZMM()
		VBROADCASTSS(m, v)
		return group{v}
	}
	v := YMM()
	VBROADCASTSS(m, v)
	return group{v, v}
}

// constant is a number of the read-only table, in every lane, straight from
// memory: it holds no register between uses.
func (t target) constant(name string) group { return t.spread(constants[name]) }

func (t target) bits(name string) group { return t.spread(constants[name]) }

func (t target) three(op func(...Op), x, y group) group {
	g := t.group()
	for i := range g {
		op(y[i], x[i], g[i])
	}
	return g
}

// add is x+y, sub x-y, mul x*y, div x/y.
func (t target) add(x, y group) group { return t.three(VADDPS, x, y) }
func (t target) sub(x, y group) group { return t.three(VSUBPS, x, y) }
func (t target) mul(x, y group) group { return t.three(VMULPS, x, y) }
func (t target) div(x, y group) group { return t.three(VDIVPS, x, y) }

// maximum is y where x is not greater, or either is no number; minimum likewise.
func (t target) maximum(x, y group) group { return t.three(VMAXPS, x, y) }
func (t target) minimum(x, y group) group { return t.three(VMINPS, x, y) }

func (t target) sqrt(x group) group {
	g := t.group()
	for i := range g {
		VSQRTPS(x[i], g[i])
	}
	return g
}

// fma is acc += x*y in place; horner is acc = acc*x + y in place; fnma is
// acc -= x*y.
func (t target) fma(x, y, acc group) {
	for i := range acc {
		VFMADD231PS(y[i], x[i], acc[i])
	}
}

func (t target) horner(acc, x, y group) {
	for i := range acc {
		VFMADD213PS(y[i], x[i], acc[i])
	}
}

func (t target) fnma(x, y, acc group) {
	for i := range acc {
		VFNMADD231PS(y[i], x[i], acc[i])
	}
}

// fmaMem is acc += x*m.
func (t target) fmaMem(m Mem, x, acc group) {
	for i := range acc {
		VFMADD231PS(m.Offset(i*t.width()), x[i], acc[i])
	}
}

func (t target) addMem(m Mem, x group) group {
	g := t.group()
	for i := range g {
		VADDPS(m.Offset(i*t.width()), x[i], g[i])
	}
	return g
}

// keepPositive zeroes what of x has a y that is not above 0.
func (t target) keepPositive(x, y group) group {
	zero := t.zero()
	g := t.group()
	for i := range g {
		if t.wide {
			k := K()
			VCMPPS(U8(0x1e), zero[i], y[i], k) // greater, ordered, quiet
			VMOVAPS_Z(x[i], k, g[i])
			continue
		}
		mask := YMM()
		VCMPPS(U8(0x1e), zero[i], y[i], mask)
		VANDPS(x[i], mask, g[i])
	}
	return g
}

// split returns what of rest has x equal to y, and the rest of the rest.
func (t target) split(rest, x, y group) (taken, left group) {
	taken, left = t.group(), t.group()
	for i := range rest {
		if t.wide {
			k, other := K(), K()
			VCMPPS(U8(0), y[i], x[i], k) // equal, ordered, quiet
			KNOTW(k, other)
			VMOVAPS_Z(rest[i], k, taken[i])
			VMOVAPS_Z(rest[i], other, left[i])
			continue
		}
		mask := YMM()
		VCMPPS(U8(0), y[i], x[i], mask)
		VANDPS(rest[i], mask, taken[i])
		VANDNPS(rest[i], mask, left[i])
	}
	return taken, left
}

// exp returns the exponential; Cephes' expf with fused steps. Arguments beyond
// the range of float32 are moved to its ends.
func (t target) exp(x group) group {
	x = t.minimum(t.maximum(t.constant("expLow"), x), t.constant("expHigh"))
	n := t.mul(x, t.constant("log2e"))
	for i := range n {
		if t.wide {
			VRNDSCALEPS(U8(0), n[i], n[i])
		} else {
			VROUNDPS(U8(0), n[i], n[i])
		}
	}
	t.fnma(n, t.constant("ln2High"), x)
	t.fnma(n, t.constant("ln2Low"), x)
	p := t.group()
	c := t.constant("exp0")
	for i := range p {
		VMOVAPS(c[i], p[i])
	}
	for i := 1; i < len(expPolynomial); i++ {
		t.horner(p, x, t.constant(fmt.Sprintf("exp%d", i)))
	}
	square := t.mul(x, x)
	t.horner(p, square, x)
	p = t.add(p, t.constant("one"))
	bias := t.bits("one")
	for i := range n {
		VCVTPS2DQ(n[i], n[i])
		VPSLLD(U8(23), n[i], n[i])
		VPADDD(bias[i], n[i], n[i])
	}
	return t.mul(p, n)
}

// sigmoid is 1/(1+exp(-x)).
func (t target) sigmoid(x group) group {
	e := t.exp(t.sub(t.zero(), x))
	one := t.constant("one")
	return t.div(one, t.add(one, e))
}

// addLanes adds all lanes into lane 0, halving their number each time, and
// returns that lane in every lane.
func (t target) addLanes(g group) group {
	return t.fold(g, VADDPS)
}

func (t target) maxLanes(g group) group { return t.fold(g, VMAXPS) }

func (t target) fold(g group, op func(...Op)) group {
	low, high := YMM(), YMM()
	if t.wide {
		VEXTRACTF64X4(U8(1), g[0], high)
		op(high, g[0].AsY(), low)
	} else {
		op(g[1], g[0], low)
	}
	VEXTRACTF128(U8(1), low, high.AsX())
	op(high.AsX(), low.AsX(), low.AsX())
	VSHUFPS(U8(0b1110), low.AsX(), low.AsX(), high.AsX())
	op(high.AsX(), low.AsX(), low.AsX())
	VSHUFPS(U8(1), low.AsX(), low.AsX(), high.AsX())
	op(high.AsX(), low.AsX(), low.AsX())
	if t.wide {
		v := ZMM()
		VBROADCASTSS(low.AsX(), v)
		return group{v}
	}
	VBROADCASTSS(low.AsX(), low)
	return group{low, low}
}

// Cephes' polynomial of expf, highest power first.
var expPolynomial = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

var constants = map[string]Mem{}

func declareConstants() {
	table := GLOBL("constants", RODATA|NOPTR)
	at := 0
	add := func(name string, v float32) {
		DATA(at, U32(math.Float32bits(v)))
		constants[name] = table.Offset(at)
		at += 4
	}
	add("one", 1)
	add("expLow", -87)
	add("expHigh", 88)
	add("log2e", 1.44269504088896341)
	add("ln2High", 0.693359375)
	add("ln2Low", -2.12194440e-4)
	for i, c := range expPolynomial {
		add(fmt.Sprintf("exp%d", i), c)
	}
	add("gelu1", float32(2*math.Sqrt(2/math.Pi)))
	add("gelu3", float32(2*math.Sqrt(2/math.Pi)*0.044715))
	add("gelu3x3", float32(3*float32(2*math.Sqrt(2/math.Pi)*0.044715)))
}

func parameter(name string) reg.Register { return Load(Param(name), GP64()) }

// number spreads a float32 parameter.
func (t target) number(name string) group {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return t.spread(b.Addr)
}

func text(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Doc(name + " " + doc)
	Pragma("noescape")
}

func done() {
	Label("done")
	VZEROUPPER()
	RET()
}

// flat emits a kernel over groups of slices of equal length. body gets the place
// of a group in each slice.
func (t target) flat(stem, signature, doc string, slices []string, setup func() map[string]group, body func(at map[string]Mem, p map[string]group)) {
	text(t.name(stem), signature, doc)
	n := parameter("groups")
	base := map[string]reg.Register{}
	for _, s := range slices {
		base[s] = parameter(s)
	}
	var p map[string]group
	if setup != nil {
		p = setup()
	}
	i := GP64()
	XORQ(i, i)
	TESTQ(n, n)
	JZ(LabelRef("done"))
	Label("next")
	at := map[string]Mem{}
	for _, s := range slices {
		at[s] = Mem{Base: base[s], Index: i, Scale: 1}
	}
	body(at, p)
	ADDQ(U8(bytes), i)
	DECQ(n)
	JNZ(LabelRef("next"))
	done()
}

func (t target) flats() {
	type M = map[string]Mem
	type P = map[string]group
	t.flat("add", "func(groups int, y, x *float32)", "is y += x.", []string{"y", "x"}, nil, func(at M, _ P) {
		t.store(t.addMem(at["x"], t.load(at["y"])), at["y"])
	})
	t.flat("mul", "func(groups int, y, x *float32)", "is y *= x.", []string{"y", "x"}, nil, func(at M, _ P) {
		t.store(t.mul(t.load(at["y"]), t.load(at["x"])), at["y"])
	})
	t.flat("scale", "func(groups int, y *float32, a float32)", "is y *= a.", []string{"y"}, func() P {
		return P{"a": t.number("a")}
	}, func(at M, p P) {
		t.store(t.mul(t.load(at["y"]), p["a"]), at["y"])
	})
	t.flat("axpy", "func(groups int, y, x *float32, a float32)", "is y += a*x.", []string{"y", "x"}, func() P {
		return P{"a": t.number("a")}
	}, func(at M, p P) {
		y := t.load(at["y"])
		t.fmaMem(at["x"], p["a"], y)
		t.store(y, at["y"])
	})
	t.flat("relu", "func(groups int, y, x *float32)", "is y = max(0, x).", []string{"y", "x"}, func() P {
		return P{"zero": t.zero()}
	}, func(at M, p P) {
		t.store(t.maximum(p["zero"], t.load(at["x"])), at["y"])
	})
	t.flat("reluGrad", "func(groups int, dy, y *float32)", "zeroes dy where y is not above 0.", []string{"dy", "y"}, nil, func(at M, _ P) {
		t.store(t.keepPositive(t.load(at["dy"]), t.load(at["y"])), at["dy"])
	})
	t.flat("gelu", "func(groups int, y, x *float32)", "is y = x*sigmoid(u(x)).", []string{"y", "x"}, nil, func(at M, _ P) {
		x := t.load(at["x"])
		u := t.mul(x, x)
		t.horner(u, t.constant("gelu3"), t.constant("gelu1"))
		t.store(t.mul(x, t.sigmoid(t.mul(u, x))), at["y"])
	})
	t.flat("geluGrad", "func(groups int, dy, x *float32)", "multiplies dy by the derivative of gelu at x.", []string{"dy", "x"}, nil, func(at M, _ P) {
		x := t.load(at["x"])
		square := t.mul(x, x)
		u := t.group()
		for i := range u {
			VMOVAPS(square[i], u[i])
		}
		t.horner(u, t.constant("gelu3"), t.constant("gelu1"))
		s := t.sigmoid(t.mul(u, x))
		t.horner(square, t.constant("gelu3x3"), t.constant("gelu1"))
		rest := t.mul(t.mul(t.mul(s, t.sub(t.constant("one"), s)), x), square)
		t.store(t.mul(t.add(s, rest), t.load(at["dy"])), at["dy"])
	})
	t.flat("adam", "func(groups int, p, m, v, grad *float32, beta1, rest1, beta2, rest2, step, eps float32)",
		"is one step of Adam.", []string{"p", "m", "v", "grad"}, func() P {
			ps := P{}
			for _, s := range []string{"beta1", "rest1", "beta2", "rest2", "step", "eps"} {
				ps[s] = t.number(s)
			}
			return ps
		}, func(at M, p P) {
			g := t.load(at["grad"])
			m := t.mul(t.load(at["m"]), p["beta1"])
			t.fma(g, p["rest1"], m)
			t.store(m, at["m"])
			v := t.mul(t.load(at["v"]), p["beta2"])
			t.fma(t.mul(g, p["rest2"]), g, v)
			t.store(v, at["v"])
			q := t.div(m, t.add(t.sqrt(v), p["eps"]))
			w := t.load(at["p"])
			t.fnma(q, p["step"], w)
			t.store(w, at["p"])
		})
}

// columns emits a kernel on matrices of groups*16 columns, walking down the rows
// of one or two groups of columns at a time. begin makes what is kept in
// registers for a group, row works on one row of it, end stores it.
func (t target) columns(stem, signature, doc string, matrices, vectors []string, once func() map[string]group,
	begin func(vec map[string]Mem, p map[string]group) []group, row func(at map[string]Mem, kept []group, p map[string]group), end func(vec map[string]Mem, kept []group)) {
	text(t.name(stem), signature, doc)
	groups := parameter("groups")
	stride := GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	base := map[string]reg.Register{}
	for _, s := range append(append([]string{}, matrices...), vectors...) {
		base[s] = parameter(s)
	}
	var p map[string]group
	if once != nil {
		p = once()
	}
	place := func(m map[string]reg.Register, names []string, offset int) map[string]Mem {
		at := map[string]Mem{}
		for _, s := range names {
			at[s] = Mem{Base: m[s], Disp: offset}
		}
		return at
	}
	for _, wide := range []int{2, 1} {
		if wide == 2 && !t.wide {
			continue // too few registers
		}
		Label(fmt.Sprintf("columns%d", wide))
		CMPQ(groups, U8(wide))
		if wide == 1 {
			JL(LabelRef("done"))
		} else {
			JL(LabelRef("columns1"))
		}
		var kept [][]group
		for g := range wide {
			kept = append(kept, begin(place(base, vectors, g*bytes), p))
		}
		cursor := map[string]reg.Register{}
		for _, s := range matrices {
			r := GP64()
			MOVQ(base[s], r)
			cursor[s] = r
		}
		rows := parameter("rows")
		Label(fmt.Sprintf("row%d", wide))
		for g := range wide {
			row(place(cursor, matrices, g*bytes), kept[g], p)
		}
		for _, s := range matrices {
			ADDQ(stride, cursor[s])
		}
		DECQ(rows)
		JNZ(LabelRef(fmt.Sprintf("row%d", wide)))
		for g := range wide {
			if end != nil {
				end(place(base, vectors, g*bytes), kept[g])
			}
		}
		for _, s := range append(append([]string{}, matrices...), vectors...) {
			ADDQ(U32(wide*bytes), base[s])
		}
		SUBQ(U8(wide), groups)
		JMP(LabelRef(fmt.Sprintf("columns%d", wide)))
	}
	done()
}

func (t target) columnKernels() {
	type M = map[string]Mem
	type P = map[string]group
	keep := func(names ...string) func(M, P) []group {
		return func(vec M, _ P) []group {
			var k []group
			for _, n := range names {
				k = append(k, t.load(vec[n]))
			}
			return k
		}
	}
	storeAll := func(names ...string) func(M, []group) {
		return func(vec M, kept []group) {
			for i, n := range names {
				t.store(kept[i], vec[n])
			}
		}
	}
	t.columns("colSums", "func(rows, groups int, s, x *float32)", "adds the column sums of x to s.", []string{"x"}, []string{"s"}, nil,
		keep("s"), func(at M, k []group, _ P) {
			x := t.load(at["x"])
			for i := range x {
				VADDPS(x[i], k[0][i], k[0][i])
			}
		}, storeAll("s"))
	t.columns("colMoments", "func(rows, groups int, s1, s2, x, shift *float32)", "adds the column sums of x-shift to s1, those of its squares to s2.",
		[]string{"x"}, []string{"s1", "s2", "shift"}, nil,
		keep("s1", "s2", "shift"), func(at M, k []group, _ P) {
			d := t.sub(t.load(at["x"]), k[2])
			for i := range d {
				VADDPS(d[i], k[0][i], k[0][i])
			}
			t.fma(d, d, k[1])
		}, func(vec M, k []group) { storeAll("s1", "s2")(vec, k[:2]) })
	t.columns("colDots", "func(rows, groups int, s1, s2, dy, x, shift *float32)", "adds the column sums of dy to s1, those of dy*(x-shift) to s2.",
		[]string{"dy", "x"}, []string{"s1", "s2", "shift"}, nil,
		keep("s1", "s2", "shift"), func(at M, k []group, _ P) {
			d, g := t.sub(t.load(at["x"]), k[2]), t.load(at["dy"])
			for i := range d {
				VADDPS(g[i], k[0][i], k[0][i])
			}
			t.fma(d, g, k[1])
		}, func(vec M, k []group) { storeAll("s1", "s2")(vec, k[:2]) })
	t.columns("colAffine", "func(rows, groups int, y, x, a, b *float32)", "is y = x*a + b.",
		[]string{"y", "x"}, []string{"a", "b"}, nil,
		keep("a", "b"), func(at M, k []group, _ P) {
			x := t.load(at["x"])
			t.horner(x, k[0], k[1])
			t.store(x, at["y"])
		}, nil)
	t.columns("colAffineReLU", "func(rows, groups int, y, x, a, b *float32)", "is y = max(0, x*a + b).",
		[]string{"y", "x"}, []string{"a", "b"}, func() P { return P{"zero": t.zero()} },
		keep("a", "b"), func(at M, k []group, p P) {
			x := t.load(at["x"])
			t.horner(x, k[0], k[1])
			t.store(t.maximum(p["zero"], x), at["y"])
		}, nil)
	t.columns("colCombine", "func(rows, groups int, dy, x, a, b, c *float32)", "is dy = dy*a + (x*b + c).",
		[]string{"dy", "x"}, []string{"a", "b", "c"}, nil,
		keep("a", "b", "c"), func(at M, k []group, _ P) {
			x, dy := t.load(at["x"]), t.load(at["dy"])
			t.horner(x, k[1], k[2])
			t.horner(dy, k[0], x)
			t.store(dy, at["dy"])
		}, nil)
}

// rows emits a kernel on rows of groups*16 numbers. Registers that hold row
// pointers are advanced by body itself.
func (t target) eachGroup(label string, groups reg.Register, body func(i reg.Register)) {
	i, left := GP64(), GP64()
	XORQ(i, i)
	MOVQ(groups, left)
	Label(label)
	body(i)
	ADDQ(U8(bytes), i)
	DECQ(left)
	JNZ(LabelRef(label))
}

func at(base, i reg.Register) Mem { return Mem{Base: base, Index: i, Scale: 1} }

func (t target) accumulate(acc, x group) {
	for i := range acc {
		VADDPS(x[i], acc[i], acc[i])
	}
}

func (t target) rowKernels() {
	text(t.name("rowNorm"), "func(rows, groups int, y, rstd, x *float32, inverse, eps float32)",
		"is y = (x-mean)*rstd by rows, rstd = 1/sqrt(variance+eps); inverse is 1/columns.")
	rows, groups := parameter("rows"), parameter("groups")
	y, rstd, x := parameter("y"), parameter("rstd"), parameter("x")
	inverse, eps := t.number("inverse"), t.number("eps")
	stride := GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	Label("row")
	sum := t.zero()
	t.eachGroup("sum", groups, func(i reg.Register) { t.accumulate(sum, t.load(at(x, i))) })
	mean := t.mul(t.addLanes(sum), inverse)
	squares := t.zero()
	t.eachGroup("squares", groups, func(i reg.Register) {
		d := t.sub(t.load(at(x, i)), mean)
		t.fma(d, d, squares)
	})
	variance := t.add(t.mul(t.addLanes(squares), inverse), eps)
	r := t.div(t.constant("one"), t.sqrt(variance))
	VMOVSS(r[0].AsX(), Mem{Base: rstd})
	t.eachGroup("write", groups, func(i reg.Register) {
		t.store(t.mul(t.sub(t.load(at(x, i)), mean), r), at(y, i))
	})
	ADDQ(stride, x)
	ADDQ(stride, y)
	ADDQ(U8(4), rstd)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()

	text(t.name("rowNormGrad"), "func(rows, groups int, dy, xhat, rstd, gamma *float32, inverse float32)",
		"turns dy into the gradient by the input of rowNorm followed by *gamma.")
	rows, groups = parameter("rows"), parameter("groups")
	dy, xhat, rstd, gamma := parameter("dy"), parameter("xhat"), parameter("rstd"), parameter("gamma")
	inverse = t.number("inverse")
	stride = GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	Label("row")
	s1, s2 := t.zero(), t.zero()
	t.eachGroup("sums", groups, func(i reg.Register) {
		g := t.mul(t.load(at(dy, i)), t.load(at(gamma, i)))
		t.store(g, at(dy, i))
		t.accumulate(s1, g)
		t.fmaMem(at(xhat, i), g, s2)
	})
	m1, m2 := t.mul(t.addLanes(s1), inverse), t.mul(t.addLanes(s2), inverse)
	scale := t.spread(Mem{Base: rstd})
	t.eachGroup("write", groups, func(i reg.Register) {
		g := t.sub(t.load(at(dy, i)), m1)
		t.fnma(t.load(at(xhat, i)), m2, g)
		t.store(t.mul(g, scale), at(dy, i))
	})
	ADDQ(stride, dy)
	ADDQ(stride, xhat)
	ADDQ(U8(4), rstd)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()

	text(t.name("softmax"), "func(rows, groups int, x *float32)", "turns each row of x into its softmax.")
	rows, groups, x = parameter("rows"), parameter("groups"), parameter("x")
	stride = GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	Label("row")
	most := t.load(Mem{Base: x})
	t.eachGroup("most", groups, func(i reg.Register) {
		v := t.load(at(x, i))
		for j := range v {
			VMAXPS(v[j], most[j], most[j])
		}
	})
	top := t.maxLanes(most)
	total := t.zero()
	t.eachGroup("exp", groups, func(i reg.Register) {
		e := t.exp(t.sub(t.load(at(x, i)), top))
		t.store(e, at(x, i))
		t.accumulate(total, e)
	})
	share := t.div(t.constant("one"), t.addLanes(total))
	t.eachGroup("write", groups, func(i reg.Register) {
		t.store(t.mul(t.load(at(x, i)), share), at(x, i))
	})
	ADDQ(stride, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()

	text(t.name("softmaxGrad"), "func(rows, groups int, dy, y *float32)", "turns the gradient dy by the softmax y into that by its input.")
	rows, groups = parameter("rows"), parameter("groups")
	dy, y = parameter("dy"), parameter("y")
	stride = GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	Label("row")
	dot := t.zero()
	t.eachGroup("dot", groups, func(i reg.Register) { t.fmaMem(at(y, i), t.load(at(dy, i)), dot) })
	all := t.addLanes(dot)
	t.eachGroup("write", groups, func(i reg.Register) {
		t.store(t.mul(t.sub(t.load(at(dy, i)), all), t.load(at(y, i))), at(dy, i))
	})
	ADDQ(stride, dy)
	ADDQ(stride, y)
	DECQ(rows)
	JNZ(LabelRef("row"))
	done()
}

// depthwise emits the depthwise convolution of a run of pixels: for each pixel
// and channel the chain over taps of weight times input.
func (t target) depthwise() {
	text(t.name("depthwise"), "func(pixels, groups, taps int, y, x, w *float32, offsets *int)",
		"is y[p] = sum over t of w[t]*x[p+offsets[t]], channel by channel.")
	groups, y, x, w := parameter("groups"), parameter("y"), parameter("x"), parameter("w")
	offsets := parameter("offsets")
	stride := GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	Label("group")
	left := parameter("pixels")
	xp, yp := GP64(), GP64()
	MOVQ(x, xp)
	MOVQ(y, yp)
	stride3 := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
	for _, many := range []int{4, 1} {
		next := "one"
		label := "four"
		if many == 1 {
			label, next = "one", "pixelsdone"
		}
		Label(label)
		CMPQ(left, U8(many))
		JL(LabelRef(next))
		acc := make([]group, many)
		for i := range acc {
			acc[i] = t.zero()
		}
		tap, wp, op := parameter("taps"), GP64(), GP64()
		MOVQ(w, wp)
		MOVQ(offsets, op)
		Label(label + "tap")
		from := GP64()
		MOVQ(Mem{Base: op}, from)
		LEAQ(Mem{Base: xp, Index: from, Scale: 4}, from)
		weight := t.load(Mem{Base: wp})
		for i := range acc {
			m := Mem{Base: from}
			switch i {
			case 1:
				m = Mem{Base: from, Index: stride, Scale: 1}
			case 2:
				m = Mem{Base: from, Index: stride, Scale: 2}
			case 3:
				m = Mem{Base: from, Index: stride3, Scale: 1}
			}
			t.fmaMem(m, weight, acc[i])
		}
		ADDQ(stride, wp)
		ADDQ(U8(8), op)
		DECQ(tap)
		JNZ(LabelRef(label + "tap"))
		for i := range acc {
			t.store(acc[i], Mem{Base: yp})
			ADDQ(stride, yp)
			ADDQ(stride, xp)
			_ = i
		}
		SUBQ(U8(many), left)
		JMP(LabelRef(label))
	}
	Label("pixelsdone")
	ADDQ(U8(bytes), x)
	ADDQ(U8(bytes), y)
	ADDQ(U8(bytes), w)
	DECQ(groups)
	JNZ(LabelRef("group"))
	done()

	for _, taps := range []int{3, 5} {
		text(t.name(fmt.Sprintf("depthwiseGrad%d", taps)), "func(pixels, groups int, dw, x, dy *float32)",
			"adds to dw[t] the sum over p of x[p+t]*dy[p], channel by channel.")
		groups, dw, x, dy := parameter("groups"), parameter("dw"), parameter("x"), parameter("dy")
		stride := GP64()
		MOVQ(groups, stride)
		SHLQ(U8(6), stride)
		stride3 := GP64()
		LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, stride3)
		Label("group")
		left, xp, yp, wp := parameter("pixels"), GP64(), GP64(), GP64()
		MOVQ(x, xp)
		MOVQ(dy, yp)
		MOVQ(dw, wp)
		acc := make([]group, taps)
		for i := range acc {
			acc[i] = t.load(Mem{Base: wp})
			ADDQ(stride, wp)
		}
		Label("pixel")
		g := t.load(Mem{Base: yp})
		for i := range acc {
			m := Mem{Base: xp}
			switch i {
			case 1:
				m = Mem{Base: xp, Index: stride, Scale: 1}
			case 2:
				m = Mem{Base: xp, Index: stride, Scale: 2}
			case 3:
				m = Mem{Base: xp, Index: stride3, Scale: 1}
			case 4:
				m = Mem{Base: xp, Index: stride, Scale: 4}
			}
			t.fmaMem(m, g, acc[i])
		}
		ADDQ(stride, xp)
		ADDQ(stride, yp)
		DECQ(left)
		JNZ(LabelRef("pixel"))
		MOVQ(dw, wp)
		for i := range acc {
			t.store(acc[i], Mem{Base: wp})
			ADDQ(stride, wp)
		}
		ADDQ(U8(bytes), x)
		ADDQ(U8(bytes), dy)
		ADDQ(U8(bytes), dw)
		DECQ(groups)
		JNZ(LabelRef("group"))
		done()
	}
}

// pooling emits the maximum of 2 x 2 pixels and its gradient, for a row of the
// result and the two rows of the input above each other.
func (t target) pooling() {
	text(t.name("maxPool"), "func(pixels, groups int, y, top, low *float32)",
		"is the greatest of top[2p], top[2p+1], low[2p] and low[2p+1], channel by channel.")
	pixels, groups := parameter("pixels"), parameter("groups")
	y, top, low := parameter("y"), parameter("top"), parameter("low")
	stride := GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	Label("pixel")
	t.eachGroup("group", groups, func(i reg.Register) {
		best := t.load(at(top, i))
		next := GP64()
		LEAQ(Mem{Base: i, Index: stride, Scale: 1}, next)
		for _, m := range []Mem{at(top, next), at(low, i), at(low, next)} {
			best = t.maximum(t.load(m), best)
		}
		t.store(best, at(y, i))
	})
	ADDQ(stride, y)
	LEAQ(Mem{Base: top, Index: stride, Scale: 2}, top)
	LEAQ(Mem{Base: low, Index: stride, Scale: 2}, low)
	DECQ(pixels)
	JNZ(LabelRef("pixel"))
	done()

	text(t.name("maxPoolGrad"), "func(pixels, groups int, dtop, dlow, top, low, y, dy *float32)",
		"gives dy to the first of the four that is equal to y and zero to the others.")
	pixels, groups = parameter("pixels"), parameter("groups")
	dtop, dlow, dy := parameter("dtop"), parameter("dlow"), parameter("dy")
	y, top, low = parameter("y"), parameter("top"), parameter("low")
	stride = GP64()
	MOVQ(groups, stride)
	SHLQ(U8(6), stride)
	Label("pixel")
	t.eachGroup("group", groups, func(i reg.Register) {
		best, rest := t.load(at(y, i)), t.load(at(dy, i))
		next := GP64()
		LEAQ(Mem{Base: i, Index: stride, Scale: 1}, next)
		for _, m := range [][2]Mem{{at(top, i), at(dtop, i)}, {at(top, next), at(dtop, next)}, {at(low, i), at(dlow, i)}, {at(low, next), at(dlow, next)}} {
			var taken group
			taken, rest = t.split(rest, t.load(m[0]), best)
			t.store(taken, m[1])
		}
	})
	ADDQ(stride, y)
	ADDQ(stride, dy)
	for _, r := range []reg.Register{top, low, dtop, dlow} {
		LEAQ(Mem{Base: r, Index: stride, Scale: 2}, r)
	}
	DECQ(pixels)
	JNZ(LabelRef("pixel"))
	done()
}

func main() {
	ConstraintExpr("amd64")
	declareConstants()
	for _, wide := range []bool{false, true} {
		t := target{wide: wide}
		t.flats()
		t.columnKernels()
		t.rowKernels()
		t.depthwise()
		t.pooling()
	}
	Generate()
}
