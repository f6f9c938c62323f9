// Package timmworker carries the Python worker that fine-tunes timm models, so
// that a program without its source tree, or a node that shares nothing but the
// folder of a sweep, has the worker that belongs to it.
//
// It refuses to run anything: package timm does.
package timmworker

import "embed"

// Name is the name of the Python package.
const Name = "timm_worker"

// Sources are the Python files, without tests.
//
//go:embed *.py
var Sources embed.FS
