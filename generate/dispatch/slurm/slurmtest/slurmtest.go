// Package slurmtest gives tests a Slurm cluster of their own.
//
// It refuses to run where Slurm is not installed or the user is not root: tests
// are skipped there, and fail where CI=true says that every test must run.
package slurmtest

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Start starts a cluster of virtual nodes with fake GPUs, which lasts as long as
// the test, and returns what runs the commands of scripts/slurm-testbed on it.
// Commands of Slurm that the test runs find the cluster.
func Start(t *testing.T, nodes, gpus int) func(args ...string) string {
	t.Helper()
	unable := t.Skip
	if os.Getenv("CI") == "true" {
		unable = t.Fatal
	}
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin")
	if _, err := exec.LookPath("slurmctld"); err != nil {
		unable("Slurm is not installed (slurm-wlm, munge)")
	}
	if os.Getuid() != 0 {
		unable("a Slurm of one's own needs root")
	}
	// The socket's path must be short.
	dir, err := os.MkdirTemp("/tmp", "slurm")
	if err != nil {
		t.Fatal(err)
	}
	script := script(t)
	do := func(args ...string) string {
		t.Helper()
		// The daemons must not hold the pipes: files are not waited for.
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd := exec.Command(script, append([]string{args[0], dir}, args[1:]...)...)
		cmd.Stdout, cmd.Stderr = out, out
		err = cmd.Run()
		words, _ := os.ReadFile(out.Name())
		if err != nil {
			t.Fatalf("slurm-testbed %v: %v\n%s", args, err, words)
		}
		return strings.TrimSpace(string(words))
	}
	t.Cleanup(func() {
		do("stop")
		if t.Failed() {
			t.Logf("the cluster's files are in %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	t.Setenv("SLURM_TESTBED_PORT", strconv.Itoa(port(t, nodes)))
	do("start", strconv.Itoa(nodes), strconv.Itoa(gpus))
	t.Setenv("SLURM_CONF", filepath.Join(dir, "slurm.conf"))
	return do
}

// script finds the test bed, above the directory of the test.
func script(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		path := filepath.Join(dir, "scripts", "slurm-testbed")
		if _, err := os.Stat(path); err == nil {
			return path
		} else if up := filepath.Dir(dir); !errors.Is(err, fs.ErrNotExist) || up == dir {
			t.Fatalf("no scripts/slurm-testbed: %v", err)
		} else {
			dir = up
		}
	}
}

// port finds as many free ports in a row as the controller and its nodes need.
// Tests of other packages may have a cluster at the same time.
func port(t *testing.T, nodes int) int {
	t.Helper()
	const first, last = 16000, 20000
	for base := first + os.Getpid()%200*20; base < last; base += 20 {
		if free(base, nodes+1) {
			return base
		}
	}
	t.Fatal("no free ports")
	return 0
}

func free(base, n int) bool {
	for p := base; p < base+n; p++ {
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", p))
		if err != nil {
			return false
		}
		l.Close()
	}
	return true
}
