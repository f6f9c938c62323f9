//go:build unix

package process

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

// A trainer in sh: epoch e is as good as e/10. It stays for further requests.
const stays = `while read request; do
	trial=$(echo "$request" | sed 's/.*"trial":"\([^"]*\)".*/\1/')
	until=$(echo "$request" | sed 's/.*"until":\([0-9]*\).*/\1/')
	echo $$ >> PIDS
	echo "{\"type\":\"record\",\"trial\":\"$trial\",\"epoch\":$until,\"val_accuracy\":0.$until}"
	echo "{\"type\":\"end\",\"trial\":\"$trial\",\"end\":\"completed\"}"
	MORE
done`

func script(t *testing.T, more string) (*Trainer, func() int) {
	t.Helper()
	dir := t.TempDir()
	file, pids := filepath.Join(dir, "train.sh"), filepath.Join(dir, "pids")
	text := strings.NewReplacer("PIDS", pids, "MORE", more).Replace(stays)
	if err := os.WriteFile(file, []byte(text), 0o777); err != nil {
		t.Fatal(err)
	}
	tr := &Trainer{Command: "sh " + file}
	t.Cleanup(tr.Close)
	return tr, func() int {
		data, err := os.ReadFile(pids)
		if err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for _, pid := range strings.Fields(string(data)) {
			seen[pid] = true
		}
		return len(seen)
	}
}

func request(until int) trainer.Request {
	return trainer.Request{Trial: "t1", Model: "m", Dataset: "d", Epochs: 9, Until: until}
}

func TestAProgramMayStayOrEnd(t *testing.T) {
	for _, c := range []struct {
		name, more string
		programs   int
	}{
		{"stays", ":", 1},
		{"ends", "exit 0", 3},
	} {
		tr, programs := script(t, c.more)
		for until := 1; until <= 3; until++ {
			var got []trainer.Record
			end, err := tr.Train(t.Context(), request(until), func(r trainer.Record) error {
				got = append(got, r)
				return nil
			})
			if err != nil || end.End != metadataset.EndCompleted {
				t.Fatalf("%s, request %d: %+v, %v", c.name, until, end, err)
			}
			if len(got) != 1 || got[0].ValAccuracy != float64(until)/10 {
				t.Errorf("%s, request %d: %+v", c.name, until, got)
			}
			time.Sleep(20 * time.Millisecond) // for one that ends to end
		}
		if n := programs(); n != c.programs {
			t.Errorf("%s: %d programs served 3 requests, want %d", c.name, n, c.programs)
		}
	}
}

func TestWhatGoesWrongIsToldInOneLine(t *testing.T) {
	for _, c := range []struct{ command, want string }{
		{"no-such-program", "not found"},
		{"echo 'import error' >&2; exit 3", "import error"},
		{"exit 3", "exit status 3"},
		{"echo hello", "not a message"},
		{`read r; echo '{"type":"error","trial":"t1","reason":"no such model"}'`, "no such model"},
		{`read r; echo '{"type":"record","trial":"t2","epoch":1}'`, `message of trial "t2"`},
	} {
		tr := &Trainer{Command: c.command, Stderr: filepath.Join(t.TempDir(), "log"), Grace: time.Second}
		_, err := tr.Train(t.Context(), request(1), func(trainer.Record) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %s", c.command, err, c.want)
		}
		tr.Close()
	}
}

func TestACancelledProgramEndsWithAllItStarted(t *testing.T) {
	dir := t.TempDir()
	// Neither the program nor its child listens to polite requests.
	tr := &Trainer{Command: "trap '' TERM; (trap '' TERM; sleep 30; touch " + filepath.Join(dir, "survived") + ") & echo $! > " +
		filepath.Join(dir, "child") + "; wait; sleep 30", Grace: 50 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := tr.Train(ctx, request(1), func(trainer.Record) error { return nil })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled: %v", err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "child"))
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		state, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat"))
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %s is still there", pid)
}
