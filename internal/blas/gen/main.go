// Command gen writes the assembly of package blas and its Go declarations.
//
// It is a module of its own, so that the library it is written with
// (github.com/mmcloughlin/avo) is no dependency of the main module. Run it by
// `go generate ./internal/blas` from the root of the main module.
//
// One kernel is one function: it takes a panel of C, or of right-hand sides, at
// most three vectors wide and walks down its rows in tiles held in registers.
// A panel narrower than whole vectors uses masks, and never touches what lies
// beside it. Tiles differ in shape between the two instruction sets; the chain
// of operations that makes one element does not.
package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
	"github.com/mmcloughlin/avo/x86"
)

// panelVectors is the greatest width of a panel in vectors.
const panelVectors = 3

// prefetchDepth is the length of a chain from which on fetching C ahead pays.
const prefetchDepth = 64

// target is an instruction set and an element type.
type target struct {
	wide bool // AVX-512 rather than AVX2
	size int  // bytes of an element
	ones Mem  // vectorBytes bytes of ones, then as many zeros; the AVX2 masks
}

func (t target) vectorBytes() int {
	if t.wide {
		return 64
	}
	return 32
}

func (t target) lanes() int { return t.vectorBytes() / t.size }

func (t target) element() string { return fmt.Sprintf("float%d", 8*t.size) }

// name prefixes the element type and appends the vector length in bits.
func (t target) name(stem string) string {
	prefix := "s"
	if t.size == 8 {
		prefix = "d"
	}
	return fmt.Sprintf("%s%s%d", prefix, stem, 8*t.vectorBytes())
}

func (t target) vector() reg.VecVirtual {
	if t.wide {
		return ZMM()
	}
	return YMM()
}

func (t target) vectors(n int) []reg.VecVirtual {
	vs := make([]reg.VecVirtual, n)
	for i := range vs {
		vs[i] = t.vector()
	}
	return vs
}

func (t target) zero(v Op) {
	if !t.wide {
		VXORPS(v, v, v)
		return
	}
	xor, err := x86.VPXORQ(v, v, v)
	if err != nil {
		panic(err)
	}
	xor.CancellingInputs = true // known to avo for the VEX form only
	Instruction(xor)
}

func (t target) broadcast(m, v Op) {
	if t.size == 8 {
		VBROADCASTSD(m, v)
	} else {
		VBROADCASTSS(m, v)
	}
}

// fma is acc += x*y.
func (t target) fma(x, y, acc Op) {
	if t.size == 8 {
		VFMADD231PD(x, y, acc)
	} else {
		VFMADD231PS(x, y, acc)
	}
}

// fnma is acc -= x*y.
func (t target) fnma(x, y, acc Op) {
	if t.size == 8 {
		VFNMADD231PD(x, y, acc)
	} else {
		VFNMADD231PS(x, y, acc)
	}
}

// scaleAdd is acc = alpha*acc + x.
func (t target) scaleAdd(x, alpha, acc Op) {
	if t.size == 8 {
		VFMADD213PD(x, alpha, acc)
	} else {
		VFMADD213PS(x, alpha, acc)
	}
}

// subFrom is acc = x - acc.
func (t target) subFrom(x, acc Op) {
	if t.size == 8 {
		VSUBPD(acc, x, acc)
	} else {
		VSUBPS(acc, x, acc)
	}
}

func (t target) mul(x, acc Op) {
	if t.size == 8 {
		VMULPD(x, acc, acc)
	} else {
		VMULPS(x, acc, acc)
	}
}

// mask selects the lanes of the last vector of a panel.
type mask struct {
	k       reg.Register // AVX-512: one bit a lane
	address reg.Register // AVX2: where the vector of lane masks lies
}

// newMask makes the mask of the last of nv vectors for a panel of n columns.
func (t target) newMask(n reg.Register, nv int) mask {
	last := GP64()
	MOVQ(n, last)
	SUBQ(U32((nv-1)*t.lanes()), last)
	if t.wide {
		bits := GP64()
		MOVQ(I32(-1), bits)
		BZHIQ(last, bits, bits)
		k := K()
		KMOVW(bits.As32(), k)
		return mask{k: k}
	}
	address := GP64()
	LEAQ(t.ones.Offset(t.vectorBytes()), address)
	SHLQ(U8(t.shift()), last)
	SUBQ(last, address)
	return mask{address: address}
}

// load loads vector j of a row of nv; the last one through m, if given.
func (t target) load(row Mem, j, nv int, m *mask, v Op) {
	at := row.Offset(j * t.vectorBytes())
	switch {
	case m == nil || j < nv-1:
		VMOVUPS(at, v)
	case t.wide && t.size == 8:
		VMOVUPD_Z(at, m.k, v)
	case t.wide:
		VMOVUPS_Z(at, m.k, v)
	default:
		VMOVUPS(Mem{Base: m.address}, v)
		if t.size == 8 {
			VMASKMOVPD(at, v, v)
		} else {
			VMASKMOVPS(at, v, v)
		}
	}
}

// store stores vector j of a row of nv; the last one through m, if given. It
// may overwrite spare.
func (t target) store(v Op, row Mem, j, nv int, m *mask, spare Op) {
	at := row.Offset(j * t.vectorBytes())
	switch {
	case m == nil || j < nv-1:
		VMOVUPS(v, at)
	case t.wide && t.size == 8:
		VMOVUPD(v, m.k, at)
	case t.wide:
		VMOVUPS(v, m.k, at)
	default:
		VMOVUPS(Mem{Base: m.address}, spare)
		if t.size == 8 {
			VMASKMOVPD(v, spare, at)
		} else {
			VMASKMOVPS(v, spare, at)
		}
	}
}

// prefetch asks for the tile of C at c, which is wanted when the chains end.
func (t target) prefetch(c, ldc reg.Register, rows, nv int) {
	row := GP64()
	MOVQ(c, row)
	for i := range rows {
		for offset := 0; offset < nv*t.vectorBytes(); offset += 64 {
			PREFETCHT0(Mem{Base: row, Disp: offset})
		}
		if i < rows-1 {
			ADDQ(ldc, row)
		}
	}
}

// bytes loads a parameter that counts elements and turns it into bytes.
func (t target) bytes(parameter string) reg.Register {
	r := GP64()
	Load(Param(parameter), r)
	SHLQ(U8(t.shift()), r)
	return r
}

// shift turns a number of elements into one of bytes.
func (t target) shift() uint8 {
	if t.size == 8 {
		return 3
	}
	return 2
}

func parameter(name string) reg.Register { return Load(Param(name), GP64()) }

func address(name string) Mem {
	b, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return b.Addr
}

// rowsOf addresses up to eight rows of A from two cursors.
type rowsOf struct{ first, fifth, stride, stride3 reg.Register }

func (r rowsOf) row(i int) Mem {
	base := r.first
	if i >= 4 {
		base = r.fifth
	}
	switch i % 4 {
	case 1:
		return Mem{Base: base, Index: r.stride, Scale: 1}
	case 2:
		return Mem{Base: base, Index: r.stride, Scale: 2}
	case 3:
		return Mem{Base: base, Index: r.stride3, Scale: 1}
	}
	return Mem{Base: base}
}

// step emits acc += (column of A) * (row of B) and advances both cursors.
func (t target) step(a rowsOf, acs reg.Register, b, brs reg.Register, rows, nv int, m *mask, acc [][]reg.VecVirtual) {
	bv := t.vectors(nv)
	for j := range nv {
		t.load(Mem{Base: b}, j, nv, m, bv[j])
	}
	for i := range rows {
		av := t.vector()
		t.broadcast(a.row(i), av)
		for j := range nv {
			t.fma(bv[j], av, acc[i][j])
		}
	}
	ADDQ(acs, a.first)
	if rows > 4 {
		ADDQ(acs, a.fifth)
	}
	ADDQ(brs, b)
}

func (t target) accumulators(rows, nv int) [][]reg.VecVirtual {
	acc := make([][]reg.VecVirtual, rows)
	for i := range acc {
		acc[i] = t.vectors(nv)
		for _, v := range acc[i] {
			t.zero(v)
		}
	}
	return acc
}

// gemm emits C = alpha*A*B, plus C if load, for a panel of C.
func (t target) gemm() {
	TEXT(t.name("gemm"), NOSPLIT, fmt.Sprintf(
		"func(m, n, k int, alpha %[1]s, a *%[1]s, ars, acs int, b *%[1]s, brs int, c *%[1]s, ldc int, load bool)", t.element()))
	Doc(t.name("gemm") + " is gemmPanelPortable for n of at most " + fmt.Sprint(panelVectors*t.lanes()) + ".")
	Pragma("noescape")
	heights := []int{4, 2, 1}
	if t.wide {
		heights = []int{8, 4, 2, 1}
	}
	m, a, c := parameter("m"), parameter("a"), parameter("c")
	ars := t.bytes("ars")
	n := parameter("n")
	for nv := 1; nv <= panelVectors; nv++ {
		if nv < panelVectors {
			CMPQ(n, U32(nv*t.lanes()))
			JG(LabelRef(fmt.Sprintf("wider%d", nv)))
		}
		last := t.newMask(n, nv)
		CMPQ(n, U32(nv*t.lanes()))
		JNE(LabelRef(fmt.Sprintf("masked%dx%d", heights[0], nv)))
		t.gemmTile(m, a, c, ars, heights[0], nv, nil, fmt.Sprintf("masked%dx%d", heights[0], nv))
		for i, h := range heights {
			next := "done"
			if i+1 < len(heights) {
				next = fmt.Sprintf("masked%dx%d", heights[i+1], nv)
			}
			t.gemmTile(m, a, c, ars, h, nv, &last, next)
		}
		if nv < panelVectors {
			Label(fmt.Sprintf("wider%d", nv))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// gemmTile emits the loop over tiles of the given height, which leaves to next
// when too few rows are left.
func (t target) gemmTile(m, a, c, ars reg.Register, rows, nv int, last *mask, next string) {
	kind := "full"
	if last != nil {
		kind = "masked"
	}
	name := func(part string) string { return fmt.Sprintf("%s%dx%d%s", kind, rows, nv, part) }
	Label(name(""))
	CMPQ(m, U32(rows))
	JL(LabelRef(next))
	acc := t.accumulators(rows, nv)
	cursor := rowsOf{first: GP64(), stride: ars}
	MOVQ(a, cursor.first)
	if rows > 2 {
		cursor.stride3 = GP64()
		LEAQ(Mem{Base: ars, Index: ars, Scale: 2}, cursor.stride3)
	}
	if rows > 4 {
		cursor.fifth = GP64()
		LEAQ(Mem{Base: a, Index: ars, Scale: 4}, cursor.fifth)
	}
	ldc := t.bytes("ldc")
	k, b, acs, brs := parameter("k"), parameter("b"), t.bytes("acs"), t.bytes("brs")
	if rows >= 4 {
		CMPQ(k, U32(prefetchDepth))
		JL(LabelRef(name("k")))
		t.prefetch(c, ldc, rows, nv)
	}
	Label(name("k"))
	t.step(cursor, acs, b, brs, rows, nv, last, acc)
	DECQ(k)
	JNZ(LabelRef(name("k")))

	Load(Param("ldc"), ldc)
	SHLQ(U8(t.shift()), ldc)
	alpha, spare := t.vector(), t.vector()
	t.broadcast(address("alpha"), alpha)
	CMPB(address("load"), U8(0))
	JEQ(LabelRef(name("clear")))
	row := GP64()
	MOVQ(c, row)
	for i := range rows {
		for j := range nv {
			t.load(Mem{Base: row}, j, nv, last, spare)
			t.scaleAdd(spare, alpha, acc[i][j])
		}
		if i < rows-1 {
			ADDQ(ldc, row)
		}
	}
	JMP(LabelRef(name("store")))
	Label(name("clear"))
	t.zero(spare)
	for i := range rows {
		for j := range nv {
			t.scaleAdd(spare, alpha, acc[i][j])
		}
	}
	Label(name("store"))
	for i := range rows {
		for j := range nv {
			t.store(acc[i][j], Mem{Base: c}, j, nv, last, spare)
		}
		ADDQ(ldc, c)
	}
	if rows == 1 {
		ADDQ(ars, a)
	} else {
		LEAQ(Mem{Base: a, Index: ars, Scale: uint8(rows)}, a)
	}
	SUBQ(U32(rows), m)
	JMP(LabelRef(name("")))
}

// trsm emits the solution of L*X = B for a panel of B.
func (t target) trsm() {
	TEXT(t.name("trsm"), NOSPLIT, fmt.Sprintf(
		"func(r0, m, n int, a *%[1]s, ars, acs int, dinv *%[1]s, b *%[1]s, brs int)", t.element()))
	Doc(t.name("trsm") + " is trsmPanelPortable for n of at most " + fmt.Sprint(panelVectors*t.lanes()) + ".")
	Pragma("noescape")
	r, left, a := parameter("r0"), parameter("m"), parameter("a")
	ars := t.bytes("ars")
	SUBQ(r, left)
	offset := GP64()
	MOVQ(ars, offset)
	IMULQ(r, offset)
	ADDQ(offset, a)
	n := parameter("n")
	for nv := 1; nv <= panelVectors; nv++ {
		if nv < panelVectors {
			CMPQ(n, U32(nv*t.lanes()))
			JG(LabelRef(fmt.Sprintf("wider%d", nv)))
		}
		last := t.newMask(n, nv)
		CMPQ(n, U32(nv*t.lanes()))
		JNE(LabelRef(fmt.Sprintf("masked4x%d", nv)))
		t.trsmTile(r, left, a, ars, 4, nv, nil, fmt.Sprintf("masked4x%d", nv))
		for h := 4; h > 0; h-- {
			next := "done"
			if h > 1 {
				next = fmt.Sprintf("masked%dx%d", h-1, nv)
			}
			t.trsmTile(r, left, a, ars, h, nv, &last, next)
		}
		if nv < panelVectors {
			Label(fmt.Sprintf("wider%d", nv))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

func (t target) trsmTile(r, left, a, ars reg.Register, rows, nv int, last *mask, next string) {
	kind := "full"
	if last != nil {
		kind = "masked"
	}
	name := func(part string) string { return fmt.Sprintf("%s%dx%d%s", kind, rows, nv, part) }
	Label(name(""))
	CMPQ(left, U32(rows))
	JL(LabelRef(next))
	acc := t.accumulators(rows, nv)
	cursor := rowsOf{first: GP64(), stride: ars}
	MOVQ(a, cursor.first)
	if rows > 2 {
		cursor.stride3 = GP64()
		LEAQ(Mem{Base: ars, Index: ars, Scale: 2}, cursor.stride3)
	}
	b, acs, brs := parameter("b"), t.bytes("acs"), t.bytes("brs")
	k := GP64()
	MOVQ(r, k)
	TESTQ(k, k)
	JZ(LabelRef(name("solve")))
	Label(name("k"))
	t.step(cursor, acs, b, brs, rows, nv, last, acc)
	DECQ(k)
	JNZ(LabelRef(name("k")))

	Label(name("solve"))
	row, spare, dinv := GP64(), t.vector(), GP64()
	MOVQ(b, row)
	for i := range rows {
		for j := range nv {
			t.load(Mem{Base: row}, j, nv, last, spare)
			t.subFrom(spare, acc[i][j])
		}
		if i < rows-1 {
			ADDQ(brs, row)
		}
	}
	Load(Param("dinv"), dinv)
	for i := range rows {
		t.broadcast(Mem{Base: dinv, Index: r, Scale: uint8(t.size), Disp: i * t.size}, spare)
		for j := range nv {
			t.mul(spare, acc[i][j])
		}
		for q := i + 1; q < rows; q++ {
			t.broadcast(cursor.row(q), spare)
			for j := range nv {
				t.fnma(acc[i][j], spare, acc[q][j])
			}
		}
		for j := range nv {
			t.store(acc[i][j], Mem{Base: b}, j, nv, last, spare)
		}
		if i < rows-1 {
			ADDQ(acs, cursor.first)
			ADDQ(brs, b)
		}
	}
	if rows == 1 {
		ADDQ(ars, a)
	} else if rows != 3 {
		LEAQ(Mem{Base: a, Index: ars, Scale: uint8(rows)}, a)
	}
	if rows == 4 {
		ADDQ(U32(rows), r)
		SUBQ(U32(rows), left)
		JMP(LabelRef(name("")))
	} else {
		JMP(LabelRef("done"))
	}
}

// pack emits the copy of a panel, row by row, to rows of whole vectors.
func (t target) pack() {
	TEXT(t.name("pack"), NOSPLIT, fmt.Sprintf("func(rows, n int, src *%[1]s, lds int, dst *%[1]s, ldd int)", t.element()))
	Doc(t.name("pack")+" copies the rows of a panel of n columns, at most "+fmt.Sprint(panelVectors*t.lanes())+"; it fills the rows of dst",
		"with zeros up to whole vectors.")
	Pragma("noescape")
	n, src, dst := parameter("n"), parameter("src"), parameter("dst")
	lds, ldd, rows := t.bytes("lds"), t.bytes("ldd"), parameter("rows")
	for nv := 1; nv <= panelVectors; nv++ {
		if nv < panelVectors {
			CMPQ(n, U32(nv*t.lanes()))
			JG(LabelRef(fmt.Sprintf("wider%d", nv)))
		}
		last := t.newMask(n, nv)
		Label(fmt.Sprintf("row%d", nv))
		vs := t.vectors(nv)
		for j, v := range vs {
			t.load(Mem{Base: src}, j, nv, &last, v)
		}
		for j, v := range vs {
			t.store(v, Mem{Base: dst}, j, nv, nil, nil)
		}
		ADDQ(lds, src)
		ADDQ(ldd, dst)
		DECQ(rows)
		JNZ(LabelRef(fmt.Sprintf("row%d", nv)))
		JMP(LabelRef("done"))
		if nv < panelVectors {
			Label(fmt.Sprintf("wider%d", nv))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// factor emits the Cholesky factor of up to four rows of the upper triangle of
// U and of what lies to their right.
func (t target) factor(one Mem) {
	TEXT(t.name("factor"), NOSPLIT, "func(r, h, n int, u *float64, ldu int, dinv *float64) int")
	Doc(t.name("factor")+" brings rows r to r+h of u, h at most 4, up to date with the finished",
		"rows above and factors them, for the n columns from r on, n from h to "+fmt.Sprint(panelVectors*t.lanes())+".",
		"It returns -1, or the index from r of the first pivot that is not positive,",
		"with the pivot in its place. dinv receives the reciprocals of the diagonal.")
	Pragma("noescape")
	n, h, u := parameter("n"), parameter("h"), parameter("u")
	r := parameter("r")
	LEAQ(Mem{Base: u, Index: r, Scale: 8}, u)
	for nv := 1; nv <= panelVectors; nv++ {
		if nv < panelVectors {
			CMPQ(n, U32(nv*t.lanes()))
			JG(LabelRef(fmt.Sprintf("wider%d", nv)))
		}
		last := t.newMask(n, nv)
		for rows := 4; rows > 0; rows-- {
			next := fmt.Sprintf("rows%dx%d", rows-1, nv)
			if rows > 1 {
				CMPQ(h, U32(rows))
				JNE(LabelRef(next))
			}
			t.factorTile(u, rows, nv, &last, one)
			Label(next)
		}
		if nv < panelVectors {
			Label(fmt.Sprintf("wider%d", nv))
		}
	}
}

// lanes broadcasts one of the first few lanes of a vector of float64 from
// register to register: a load of what was just stored through a mask would
// wait for the store.
type lanes struct{ index []reg.VecVirtual } // AVX-512: the lane, in every lane

func (t target) newLanes(n int) lanes {
	if !t.wide {
		return lanes{}
	}
	index := t.vectors(n)
	for i, v := range index {
		lane := GP64()
		MOVQ(U32(i), lane)
		VPBROADCASTQ(lane, v)
	}
	return lanes{index}
}

func (l lanes) broadcast(v Op, lane int, to Op) {
	if l.index != nil {
		VPERMPD(v, l.index[lane], to)
	} else {
		VPERMPD(U8(lane*0x55), v, to)
	}
}

func (t target) factorTile(u reg.Register, rows, nv int, last *mask, one Mem) {
	name := func(part string) string { return fmt.Sprintf("f%dx%d%s", rows, nv, part) }
	acc := t.accumulators(rows, nv)
	row, ldu, k := GP64(), t.bytes("ldu"), parameter("r")
	MOVQ(u, row)
	TESTQ(k, k)
	JZ(LabelRef(name("solve")))
	Label(name("k"))
	bv := t.vectors(nv)
	for j := range nv {
		t.load(Mem{Base: row}, j, nv, last, bv[j])
	}
	for i := range rows {
		av := t.vector()
		t.broadcast(Mem{Base: row, Disp: 8 * i}, av)
		for j := range nv {
			t.fma(bv[j], av, acc[i][j])
		}
	}
	ADDQ(ldu, row)
	DECQ(k)
	JNZ(LabelRef(name("k")))

	Label(name("solve"))
	dinv := parameter("dinv")
	r := parameter("r")
	LEAQ(Mem{Base: dinv, Index: r, Scale: 8}, dinv)
	spare, rows3 := t.vector(), GP64()
	LEAQ(Mem{Base: ldu, Index: ldu, Scale: 2}, rows3)
	all := rowsOf{first: row, stride: ldu, stride3: rows3}
	for i := range rows {
		for j := range nv {
			t.load(all.row(i), j, nv, last, spare)
			t.subFrom(spare, acc[i][j])
		}
	}
	lane := t.newLanes(rows)
	for i := range rows {
		first, zero := t.vector(), XMM()
		lane.broadcast(acc[i][0], i, first)
		pivot := first.AsX()
		VXORPD(zero, zero, zero)
		VUCOMISD(zero, pivot)
		JHI(LabelRef(name(fmt.Sprintf("positive%d", i))))
		VMOVSD(pivot, all.row(i).Offset(8*i))
		failed := GP64()
		MOVQ(U32(i), failed)
		Store(failed, ReturnIndex(0))
		VZEROUPPER()
		RET()
		Label(name(fmt.Sprintf("positive%d", i)))
		root, inverse := XMM(), XMM()
		VSQRTSD(pivot, pivot, root)
		VMOVSD(one, inverse)
		VDIVSD(root, inverse, inverse)
		VMOVSD(inverse, Mem{Base: dinv, Disp: 8 * i})
		VBROADCASTSD(inverse, spare)
		for j := range nv {
			t.mul(spare, acc[i][j])
			t.store(acc[i][j], all.row(i), j, nv, last, bv[0])
		}
		VMOVSD(root, all.row(i).Offset(8*i))
		for q := i + 1; q < rows; q++ {
			lane.broadcast(acc[i][0], q, spare)
			for j := range nv {
				t.fnma(acc[i][j], spare, acc[q][j])
			}
		}
	}
	done := GP64()
	MOVQ(I32(-1), done)
	Store(done, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// dot emits the dot products of rows of A with x. A row has dotVectors partial
// sums in two vectors (AVX-512) or four (AVX2); as many rows go together as
// eight accumulators hold.
func (t target) dot() {
	TEXT(t.name("dot"), NOSPLIT, fmt.Sprintf("func(m, n int, a *%[1]s, lda int, x, y *%[1]s)", t.element()))
	Doc(t.name("dot") + " is dotRowsPortable.")
	Pragma("noescape")
	vectors, heights := 4, []int{2, 1}
	if t.wide {
		vectors, heights = 2, []int{4, 1}
	}
	lanes := vectors * t.lanes()
	m, a, y := parameter("m"), parameter("a"), parameter("y")
	lda, tail := t.bytes("lda"), parameter("n")
	ANDQ(U32(lanes-1), tail)
	masks := make([]mask, vectors)
	for v := range masks {
		// Of the tail, vector v has what is left after the vectors before it,
		// at most all its lanes.
		count, most, none := GP64(), GP64(), GP64()
		MOVQ(tail, count)
		XORQ(none, none)
		SUBQ(U32(v*t.lanes()), count)
		CMOVQLT(none, count)
		MOVQ(U32(t.lanes()), most)
		CMPQ(count, most)
		CMOVQGT(most, count)
		masks[v] = t.newMask(count, 1)
	}
	for i, h := range heights {
		name := func(part string) string { return fmt.Sprintf("rows%d%s", h, part) }
		next := "done"
		if i+1 < len(heights) {
			next = fmt.Sprintf("rows%d", heights[i+1])
		}
		Label(name(""))
		CMPQ(m, U32(h))
		JL(LabelRef(next))
		acc := t.accumulators(h, vectors)
		rows := rowsOf{first: GP64(), stride: lda}
		MOVQ(a, rows.first)
		if h > 2 {
			rows.stride3 = GP64()
			LEAQ(Mem{Base: lda, Index: lda, Scale: 2}, rows.stride3)
		}
		x, left := parameter("x"), parameter("n")
		SUBQ(U32(lanes), left)
		JL(LabelRef(name("tail")))
		Label(name("whole"))
		xs := t.vectors(vectors)
		for v := range vectors {
			VMOVUPS(Mem{Base: x, Disp: v * t.vectorBytes()}, xs[v])
		}
		for r := range h {
			for v := range vectors {
				t.fma(rows.row(r).Offset(v*t.vectorBytes()), xs[v], acc[r][v])
			}
		}
		ADDQ(U32(vectors*t.vectorBytes()), x)
		ADDQ(U32(vectors*t.vectorBytes()), rows.first)
		SUBQ(U32(lanes), left)
		JGE(LabelRef(name("whole")))
		Label(name("tail"))
		CMPQ(left, I32(-lanes))
		JEQ(LabelRef(name("sum")))
		for v := range vectors {
			xv, av := t.vector(), t.vector()
			t.load(Mem{Base: x, Disp: v * t.vectorBytes()}, 0, 1, &masks[v], xv)
			for r := range h {
				t.load(rows.row(r).Offset(v*t.vectorBytes()), 0, 1, &masks[v], av)
				t.fma(av, xv, acc[r][v])
			}
		}
		Label(name("sum"))
		for r := range h {
			t.addLanes(acc[r])
			if t.size == 8 {
				VMOVSD(acc[r][0].AsX(), Mem{Base: y, Disp: 8 * r})
			} else {
				VMOVSS(acc[r][0].AsX(), Mem{Base: y, Disp: 4 * r})
			}
		}
		ADDQ(U32(h*t.size), y)
		if h == 1 {
			ADDQ(lda, a)
		} else {
			LEAQ(Mem{Base: a, Index: lda, Scale: uint8(h)}, a)
		}
		SUBQ(U32(h), m)
		JMP(LabelRef(name("")))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// addLanes adds all lanes into lane 0 of the first vector, halving their number
// each time.
func (t target) addLanes(v []reg.VecVirtual) {
	add := func(x, acc Op) {
		if t.size == 8 {
			VADDPD(x, acc, acc)
		} else {
			VADDPS(x, acc, acc)
		}
	}
	for w := len(v) / 2; w > 0; w /= 2 {
		for i := range w {
			add(v[i+w], v[i])
		}
	}
	high := YMM()
	if t.wide {
		VEXTRACTF64X4(U8(1), v[0], high)
		add(high, v[0].AsY())
	}
	VEXTRACTF128(U8(1), v[0].AsY(), high.AsX())
	add(high.AsX(), v[0].AsX())
	if t.size == 4 {
		VSHUFPS(U8(0b1110), v[0].AsX(), v[0].AsX(), high.AsX())
		add(high.AsX(), v[0].AsX())
		VSHUFPS(U8(1), v[0].AsX(), v[0].AsX(), high.AsX())
	} else {
		VPERMILPD(U8(1), v[0].AsX(), high.AsX())
	}
	add(high.AsX(), v[0].AsX())
}

// transpose64 emits the transpose of whole 4 x 4 blocks of float64.
func transpose64() {
	TEXT("dtranspose256", NOSPLIT, "func(rows, cols int, src *float64, lds int, dst *float64, ldd int)")
	Doc("dtranspose256 is transposePortable for rows and cols that are multiples of 4.")
	Pragma("noescape")
	transposeLoop(8, 4, func(src, dst func(int) Mem) {
		// Each register holds halves of two rows, so that one unpack finishes.
		half := func(i, c int) reg.VecVirtual {
			v := YMM()
			VMOVUPD(src(i).Offset(8*c), v.AsX())
			VINSERTF128(U8(1), src(i+2).Offset(8*c), v, v)
			return v
		}
		for c := 0; c < 4; c += 2 {
			even, odd := half(0, c), half(1, c)
			low, high := YMM(), YMM()
			VUNPCKLPD(odd, even, low)
			VUNPCKHPD(odd, even, high)
			VMOVUPD(low, dst(c))
			VMOVUPD(high, dst(c+1))
		}
	})
}

// transpose32 emits the transpose of whole 8 x 8 blocks of float32.
func transpose32() {
	TEXT("stranspose256", NOSPLIT, "func(rows, cols int, src *float32, lds int, dst *float32, ldd int)")
	Doc("stranspose256 is transposePortable for rows and cols that are multiples of 8.")
	Pragma("noescape")
	transposeLoop(4, 8, func(src, dst func(int) Mem) {
		half := func(i, c int) reg.VecVirtual {
			v := YMM()
			VMOVUPS(src(i).Offset(4*c), v.AsX())
			VINSERTF128(U8(1), src(i+4).Offset(4*c), v, v)
			return v
		}
		for c := 0; c < 8; c += 4 {
			var low, high [2]reg.VecVirtual
			for p := range 2 {
				even, odd := half(2*p, c), half(2*p+1, c)
				low[p], high[p] = YMM(), YMM()
				VUNPCKLPS(odd, even, low[p])
				VUNPCKHPS(odd, even, high[p])
			}
			for q, pair := range [][2]reg.VecVirtual{low, high} {
				for s, order := range []int{0x44, 0xee} {
					out := YMM()
					VSHUFPS(U8(order), pair[1], pair[0], out)
					VMOVUPS(out, dst(c+2*q+s))
				}
			}
		}
	})
}

// transposeLoop walks the blocks, down the rows of the source inside and along
// its columns outside, so that the destination is written in order.
func transposeLoop(size, block int, body func(src, dst func(int) Mem)) {
	shift := uint8(2)
	if size == 8 {
		shift = 3
	}
	rows, cols, src, dst := parameter("rows"), parameter("cols"), parameter("src"), parameter("dst")
	lds, ldd := parameter("lds"), parameter("ldd")
	SHLQ(U8(shift), lds)
	SHLQ(U8(shift), ldd)
	lds3, ldd3 := GP64(), GP64()
	LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, lds3)
	LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, ldd3)
	s, d, left := GP64(), GP64(), GP64()
	Label("column")
	MOVQ(src, s)
	MOVQ(dst, d)
	MOVQ(rows, left)
	Label("row")
	sources, targets := rowsOf{first: s, stride: lds, stride3: lds3}, rowsOf{first: d, stride: ldd, stride3: ldd3}
	if block > 4 {
		sources.fifth, targets.fifth = GP64(), GP64()
		LEAQ(Mem{Base: s, Index: lds, Scale: 4}, sources.fifth)
		LEAQ(Mem{Base: d, Index: ldd, Scale: 4}, targets.fifth)
	}
	body(sources.row, targets.row)
	LEAQ(Mem{Base: s, Index: lds, Scale: 4}, s)
	if block > 4 {
		LEAQ(Mem{Base: s, Index: lds, Scale: 4}, s)
	}
	ADDQ(U32(block*size), d)
	SUBQ(U32(block), left)
	JNZ(LabelRef("row"))
	ADDQ(U32(block*size), src)
	LEAQ(Mem{Base: dst, Index: ldd, Scale: 4}, dst)
	if block > 4 {
		LEAQ(Mem{Base: dst, Index: ldd, Scale: 4}, dst)
	}
	SUBQ(U32(block), cols)
	JNZ(LabelRef("column"))
	VZEROUPPER()
	RET()
}

func main() {
	ConstraintExpr("amd64")
	ones := GLOBL("lanes", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(1<<64-1))
	}
	for i := range 4 {
		DATA(32+8*i, U64(0))
	}
	one := GLOBL("one", RODATA|NOPTR)
	DATA(0, U64(math.Float64bits(1)))
	for _, wide := range []bool{false, true} {
		for _, size := range []int{8, 4} {
			t := target{wide: wide, size: size, ones: ones}
			t.gemm()
			t.trsm()
			t.dot()
			t.pack()
			if size == 8 {
				t.factor(one)
			}
		}
	}
	transpose64()
	transpose32()
	Generate()
}
