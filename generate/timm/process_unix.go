//go:build unix

package timm

import (
	"os/exec"
	"syscall"
)

// own makes a command the head of a process group of its own, so that signals of
// the terminal do not reach it and all that it starts can be ended together.
func own(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
}

// kill ends a process group.
func kill(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may be gone
}
