package slurm

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Resources are what a job asks for.
type Resources struct {
	Partition string        // "" for the cluster's default
	Time      time.Duration // limit of a job; 0 for the partition's
	Gres      string        // such as gpu:1, "" for none
	CPUs      int           // of a job; 0 for the cluster's default
	Memory    string        // of a job, such as 16G; "" for the cluster's default
	Extra     []string      // further options of sbatch and srun
}

// options writes them for sbatch or srun. The signal comes so long before the
// time limit, but not in the first half of the time.
func (r *Resources) options(signal string, warning time.Duration) []string {
	var list []string
	add := func(format string, value any) { list = append(list, fmt.Sprintf(format, value)) }
	if r.Partition != "" {
		add("--partition=%s", r.Partition)
	}
	if r.Gres != "" {
		add("--gres=%s", r.Gres)
	}
	if r.CPUs > 0 {
		add("--cpus-per-task=%d", r.CPUs)
	}
	if r.Memory != "" {
		add("--mem=%s", r.Memory)
	}
	if r.Time > 0 {
		add("--time=%d", max(1, int(r.Time.Round(time.Minute).Minutes())))
		add("--signal="+signal+"@%d", int(min(warning, r.Time/2).Seconds()))
	}
	return append(list, r.Extra...)
}

// Held is a job that lasts as long as a program which is spoken with through
// pipes: srun waits in the queue, runs it on a node and carries its standard
// streams. Where such a program stays, one job after the other would cost a place
// in the queue each time.
//
// The program ends when its standard input does, so that the job ends with the
// process that holds it, however that ends.
type Held struct {
	Name string // nobody else's job has it
	Resources
}

// Command is the command line that runs a program in the job.
func (h Held) Command(program []string) []string {
	line := append([]string{"srun", "--job-name=" + h.Name, "--nodes=1", "--ntasks=1", "--export=ALL"}, h.options("TERM", DefaultWarning)...)
	return append(line, program...)
}

// Cancel ends the job, if there is one. An srun that was killed leaves its job
// behind.
func (h Held) Cancel(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "scancel", "--name="+h.Name, "--user="+strconv.Itoa(os.Getuid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("scancel: %w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// NameOf makes a name for jobs that belong to a directory.
func NameOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "qt-" + hex.EncodeToString(sum[:5])
}
