//go:build !unix

package timm

import "os/exec"

func own(*exec.Cmd) {}

// kill ends a process.
func kill(cmd *exec.Cmd) {
	_ = cmd.Process.Kill() // it may be gone
}
