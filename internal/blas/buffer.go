package blas

import (
	"fmt"
	"sync"
)

var pool64, pool32 sync.Pool

// getBuffer returns scratch of n elements with unknown contents.
func getBuffer[T Float](n int) *[]T {
	pool := &pool32
	if is64[T]() {
		pool = &pool64
	}
	if b, _ := pool.Get().(*[]T); b != nil && cap(*b) >= n {
		*b = (*b)[:n]
		return b
	}
	b := make([]T, n)
	return &b
}

func putBuffer[T Float](b *[]T) {
	if is64[T]() {
		pool64.Put(b)
	} else {
		pool32.Put(b)
	}
}

func checkSize(routine, name string, n int) {
	if n < 0 {
		panic(fmt.Sprintf("blas: %s: %s is %d, want at least 0", routine, name, n))
	}
}

// checkMatrix panics unless a slice of the given length holds a rows x cols
// matrix with leading dimension ld.
func checkMatrix(routine, name string, rows, cols, ld, length int) {
	if ld < max(1, cols) {
		panic(fmt.Sprintf("blas: %s: leading dimension %d of %s is less than its %d columns", routine, ld, name, cols))
	}
	if rows > 0 && cols > 0 && length < (rows-1)*ld+cols {
		panic(fmt.Sprintf("blas: %s: %s has %d elements, %d x %d with leading dimension %d needs %d",
			routine, name, length, rows, cols, ld, (rows-1)*ld+cols))
	}
}

// checkVector panics unless a slice of the given length holds n elements.
func checkVector(routine, name string, n, length int) {
	if length < n {
		panic(fmt.Sprintf("blas: %s: %s has %d elements, needs %d", routine, name, length, n))
	}
}
