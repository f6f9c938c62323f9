//go:build !unix

package program

import "os/exec"

// Shell is a command line, run by the system's shell.
func Shell(command string) *exec.Cmd { return exec.Command("cmd", "/C", command) }

func group(*exec.Cmd) {}

// A process that has ended needs no end.
func terminate(c *exec.Cmd) { _ = c.Process.Kill() }
func kill(c *exec.Cmd)      { _ = c.Process.Kill() }
