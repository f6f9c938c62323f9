// Package cputime tells how much processor time work took, which unlike the
// clock does not grow with what else the machine does. Where the system does not
// tell, it falls back to the clock. It refuses to tell whose work it was: a
// caller that measures one thread keeps to it.
package cputime

import "time"

var started = time.Now()

// Process is the processor time of all threads of the process so far.
func Process() time.Duration { return process() }

// Thread is the processor time of the calling thread so far. The caller holds on
// to its thread with runtime.LockOSThread between two calls.
func Thread() time.Duration { return thread() }
