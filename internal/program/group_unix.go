//go:build unix

package program

import (
	"os/exec"
	"syscall"
)

// Shell is a command line, run by the system's shell.
func Shell(command string) *exec.Cmd { return exec.Command("sh", "-c", command) }

// group makes the program the head of a process group of its own, so that
// signals of the terminal do not reach it and all that it starts ends with it.
func group(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// A group that is gone needs no signal.
func terminate(c *exec.Cmd) { _ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM) }
func kill(c *exec.Cmd)      { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
