package cputime

import (
	"runtime"
	"testing"
	"time"
)

func TestWorkTakesTimeAndSleepDoesNot(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells processor time here")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := Thread()
	time.Sleep(100 * time.Millisecond)
	if slept := Thread() - before; slept > 50*time.Millisecond {
		t.Errorf("a sleep of 100 ms took %v of the processor", slept)
	}
	x := 1.0
	for Thread()-before < 20*time.Millisecond {
		for range 100_000 {
			x = x*1.0000001 + 1e-9
		}
	}
	if all := Process(); x == 0 || all < Thread() {
		t.Errorf("the process took %v, its thread %v", all, Thread())
	}
}
