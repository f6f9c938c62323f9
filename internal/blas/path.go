package blas

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
)

// Path names one implementation of the routines of this package.
type Path uint32

// The paths, slowest first among those that agree bit for bit.
const (
	Gonum    Path = iota // gonum.org/v1/gonum; rounds differently
	Portable             // math.FMA, any machine
	AVX2                 // amd64 with AVX2 and FMA
	AVX512               // amd64 with AVX-512F besides
)

var pathNames = [...]string{Gonum: "gonum", Portable: "portable", AVX2: "avx2", AVX512: "avx512"}

// String returns the name QUICKTUNE_BLAS knows the path by.
func (p Path) String() string {
	if int(p) < len(pathNames) {
		return pathNames[p]
	}
	return fmt.Sprintf("Path(%d)", uint32(p))
}

// environment is the variable that overrides the choice of path.
const environment = "QUICKTUNE_BLAS"

var active atomic.Uint32

// Active returns the path in use.
func Active() Path { return Path(active.Load()) }

// Available returns the paths this machine can run, in the order of the
// constants. Gonum and Portable are always among them.
func Available() []Path {
	var ps []Path
	for p := range pathNames {
		if supported(Path(p)) {
			ps = append(ps, Path(p))
		}
	}
	return ps
}

// Select makes p the path of all later calls, from any goroutine, and reports
// an error without changing anything if this machine cannot run it. Calls
// already running finish on the path they began with.
func Select(p Path) error {
	if int(p) >= len(pathNames) || !supported(p) {
		return fmt.Errorf("blas: this machine cannot run the %v kernels; it can run %s", p, nameList(Available()))
	}
	active.Store(uint32(p))
	return nil
}

// choose resolves a value of QUICKTUNE_BLAS. The path is usable even when the
// error is not nil.
func choose(value string, available []Path) (Path, error) {
	best := available[len(available)-1]
	if value == "" {
		return best, nil
	}
	for _, p := range available {
		if p.String() == value {
			return p, nil
		}
	}
	reason := "is not the name of a path"
	for _, name := range pathNames {
		if name == value {
			reason = "needs instructions this CPU lacks"
		}
	}
	return best, fmt.Errorf("%s=%s %s; using %v, this machine can run %s",
		environment, value, reason, best, nameList(available))
}

func nameList(ps []Path) string {
	names := make([]string, len(ps))
	for i, p := range ps {
		names[i] = p.String()
	}
	return strings.Join(names, ", ")
}

func init() {
	p, err := choose(os.Getenv(environment), Available())
	if err != nil {
		slog.Warn(err.Error())
	}
	active.Store(uint32(p))
	register()
}
