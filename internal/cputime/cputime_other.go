//go:build !linux

package cputime

import "time"

func process() time.Duration { return time.Since(started) }

func thread() time.Duration { return time.Since(started) }
