package cputime

import (
	"time"

	"golang.org/x/sys/unix"
)

func process() time.Duration { return used(unix.RUSAGE_SELF) }

func thread() time.Duration { return used(unix.RUSAGE_THREAD) }

func used(who int) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(who, &u); err != nil {
		return time.Since(started)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
