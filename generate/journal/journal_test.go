package journal

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"quicktune/generate/trainer"
	"quicktune/metadataset"
)

func record(trial string, epoch int) trainer.Record {
	return trainer.Record{
		Trial: trial, Epoch: epoch, TrainLoss: 1 / float64(epoch), ValLoss: math.NaN(), ValAccuracy: 0.1 * float64(epoch),
		TestAccuracy: 0.1, LearningRate: 1e-3, TrainSeconds: 2, EvalSeconds: 0.5,
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content strips what depends on the clock.
func content(s *State) any {
	type trial struct {
		Records []trainer.Record
		End     trainer.End
	}
	m := make(map[string]trial)
	for id, t := range s.Trials {
		m[id] = trial{t.Records, t.End}
	}
	return m
}

func same(t testing.TB, got, want *State) {
	t.Helper()
	if d := cmp.Diff(content(want), content(got), cmpopts.EquateNaNs()); d != "" {
		t.Errorf("the journal gives another state (-want +got):\n%s", d)
	}
}

// filled writes a small journal and returns its path and what it says.
func filled(t testing.TB) (path string, want *State) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "journal.log")
	j, err := Open(path, "p1")
	must(t, err)
	for trial := range 3 {
		id := fmt.Sprintf("t%d", trial)
		must(t, j.Start(id, "w"))
		for e := 1; e <= 3+trial; e++ {
			added, err := j.Record(record(id, e))
			must(t, err)
			if !added {
				t.Fatalf("epoch %d was not added", e)
			}
		}
		if trial < 2 {
			must(t, j.End(trainer.End{Trial: id, End: metadataset.EndCompleted, Reason: "a \"reason\""}))
		}
	}
	must(t, j.Close())
	want, err = Read(path)
	must(t, err)
	return path, want
}

func TestWhatWasWrittenIsRead(t *testing.T) {
	path, state := filled(t)
	if state.Plan != "p1" || state.Torn != 0 || !state.Ended("t0") || state.Ended("t2") || state.Epochs("t2") != 5 || state.Epochs("t9") != 0 {
		t.Errorf("%+v", state)
	}
	if d := cmp.Diff(record("t2", 4), state.Trials["t2"].Records[3], cmpopts.EquateNaNs()); d != "" {
		t.Error(d)
	}
	if got := state.Trials["t1"].End.Reason; got != `a "reason"` {
		t.Errorf("reason %q", got)
	}
	j, err := Open(path, "p1")
	must(t, err)
	defer j.Close()
	j.View(func(s *State) { same(t, s, state) })
}

// A process that is killed leaves a prefix of the file. Whatever the prefix, the
// complete lines count, and going on gives the same file as without the kill.
func TestEveryTornTailIsCutOff(t *testing.T) {
	path, want := filled(t)
	data, err := os.ReadFile(path)
	must(t, err)
	for cut := range len(data) {
		if cut%7 != 0 && cut < len(data)-400 {
			continue // every seventh byte, and each of the last lines
		}
		short := filepath.Join(t.TempDir(), "journal.log")
		must(t, os.WriteFile(short, data[:cut], 0o666))
		lines := bytes.Count(data[:cut], []byte("\n"))
		state, err := Read(short)
		must(t, err)
		if keep := bytes.LastIndexByte(data[:cut], '\n') + 1; state.Torn != cut-keep {
			t.Fatalf("cut at %d: %d torn bytes, want %d", cut, state.Torn, cut-keep)
		}
		j, err := Open(short, "p1")
		must(t, err)
		for _, id := range []string{"t0", "t1", "t2"} {
			for _, r := range want.Trials[id].Records {
				if _, err := j.Record(r); err != nil {
					t.Fatalf("cut at %d, after %d lines: %v", cut, lines, err)
				}
			}
			if want.Ended(id) {
				must(t, j.End(want.Trials[id].End))
			}
		}
		must(t, j.Close())
		again, err := Read(short)
		must(t, err)
		same(t, again, want)
	}
}

func TestDamageBeforeTheEndIsToldByLine(t *testing.T) {
	path, _ := filled(t)
	data, err := os.ReadFile(path)
	must(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	change := func(f func([][]byte)) []byte {
		c := make([][]byte, len(lines))
		for i, l := range lines {
			c[i] = bytes.Clone(l)
		}
		f(c)
		return bytes.Join(c, nil)
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"a flipped bit", change(func(l [][]byte) { l[3][20] ^= 1 }), "line 4: the checksum does not fit; lines before it are good: to go on from them, keep the first"},
		{"no line feed", change(func(l [][]byte) { l[3] = bytes.TrimSpace(l[3]) }), "line 4: the checksum"},
		{"a line twice", change(func(l [][]byte) { l[3] = append(l[3], l[3]...) }), `line 5: trial "t0": epoch 2 after epoch 2`},
		{"a line missing", change(func(l [][]byte) { l[3] = nil }), `line 4: trial "t0": epoch 3 after epoch 1`},
		{"no first line", change(func(l [][]byte) { l[0] = nil }), "line 1: a journal begins with"},
		{"two first lines", change(func(l [][]byte) { l[1] = l[0] }), "line 2: a journal begins with"},
		{"an event after the end", change(func(l [][]byte) { l[8] = append(bytes.Clone(l[2]), l[8]...) }), `trial "t0" has ended before`},
		{"text in between", change(func(l [][]byte) { l[2] = append([]byte("hello\n"), l[2]...) }), "line 3: not an event"},
	} {
		bad := filepath.Join(t.TempDir(), "journal.log")
		must(t, os.WriteFile(bad, c.data, 0o666))
		if _, err := Read(bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: read gives %v, want %q", c.name, err, c.want)
		}
		if _, err := Open(bad, "p1"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: open gives %v, want %q", c.name, err, c.want)
		}
		if now, _ := os.ReadFile(bad); !bytes.Equal(now, c.data) {
			t.Errorf("%s: the damaged file was changed", c.name)
		}
	}
}

func TestAnEpochCountsOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.log")
	j, err := Open(path, "p")
	must(t, err)
	first := record("a", 1)
	if added, err := j.Record(first); !added || err != nil {
		t.Fatal(added, err)
	}
	again := first
	again.TrainSeconds = 99
	if added, err := j.Record(again); added || err != nil {
		t.Error("an epoch was replaced", err)
	}
	if _, err := j.Record(record("a", 3)); err == nil {
		t.Error("an epoch was left out")
	}
	must(t, j.End(trainer.End{Trial: "a", End: metadataset.EndDiverged}))
	must(t, j.End(trainer.End{Trial: "a", End: metadataset.EndCompleted}))
	if added, err := j.Record(record("a", 2)); added || err != nil {
		t.Error("an epoch came after the end", err)
	}
	if err := j.Start("a", "w"); err == nil {
		t.Error("a trial was started after its end")
	}
	if err := j.End(trainer.End{Trial: "b"}); err == nil {
		t.Error("an end without an end")
	}
	must(t, j.Close())
	s, err := Read(path)
	must(t, err)
	if a := s.Trials["a"]; len(a.Records) != 1 || a.Records[0].TrainSeconds != 2 || a.End.End != metadataset.EndDiverged {
		t.Errorf("%+v", a)
	}
}

func TestTwoProcessesDoNotShareAJournal(t *testing.T) {
	path, _ := filled(t)
	j, err := Open(path, "p1")
	must(t, err)
	if _, err := Open(path, "p1"); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("error %v", err)
	}
	must(t, j.Close())
	if _, err := Open(path, "p2"); err == nil || !strings.Contains(err.Error(), "another plan") {
		t.Errorf("error %v", err)
	}
}

func TestDurableIsToldAfterASync(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "journal.log"), "p")
	must(t, err)
	told := 0
	j.OnDurable(func() { told++ })
	must(t, j.Sync())
	if told != 1 {
		t.Errorf("told %d times after a sync", told)
	}
	j.OnDurable(func() { told++ })
	must(t, j.Close())
	if told != 2 {
		t.Errorf("told %d times after closing", told)
	}
}

// After a failed write the file is as before it, and nothing more is written.
func TestAFailedWriteLeavesAGoodFile(t *testing.T) {
	path, want := filled(t)
	j, err := Open(path, "p1")
	must(t, err)
	must(t, j.log.Close())
	if _, err := j.Record(record("t2", 6)); err == nil {
		t.Fatal("no error")
	}
	if _, err := j.Record(record("t2", 6)); err == nil || !strings.HasPrefix(err.Error(), "journal: ") {
		t.Errorf("a write after a failed one gives %v", err)
	}
	if err := j.Close(); err == nil {
		t.Error("closing forgets the failure")
	}
	s, err := Read(path)
	must(t, err)
	same(t, s, want)
}

func TestManyWorkersWriteAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.log")
	j, err := Open(path, "p")
	must(t, err)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			id := fmt.Sprint("t", w)
			for e := 1; e <= 50; e++ {
				if _, err := j.Record(record(id, e)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	must(t, j.Close())
	s, err := Read(path)
	must(t, err)
	for w := range 16 {
		if n := s.Epochs(fmt.Sprint("t", w)); n != 50 {
			t.Errorf("worker %d: %d epochs", w, n)
		}
	}
}

// Any order of starts, records and ends, with interrupts, is read back as it was
// kept in memory.
func TestMemoryAndFileAgree(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		j, err := Open(path, "p")
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 40).Draw(t, "events") {
			id := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "trial")
			switch rapid.IntRange(0, 9).Draw(t, "kind") {
			case 0:
				_ = j.Start(id, "w") // an ended trial refuses
			case 1:
				if err := j.End(trainer.End{Trial: id, End: metadataset.EndFailed, Reason: rapid.String().Draw(t, "reason")}); err != nil {
					t.Fatal(err)
				}
			case 2:
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
				if j, err = Open(path, "p"); err != nil {
					t.Fatal(err)
				}
			default:
				next := 1
				j.View(func(s *State) { next += s.Epochs(id) })
				if _, err := j.Record(record(id, next-rapid.IntRange(0, min(1, next-1)).Draw(t, "back"))); err != nil {
					t.Fatal(err)
				}
			}
		}
		read, err := Read(path)
		if err != nil {
			t.Fatal(err)
		}
		j.View(func(s *State) {
			for id, trial := range s.Trials {
				other := read.Trials[id]
				if other == nil {
					other = &Trial{}
				}
				if len(trial.Records) != len(other.Records) || trial.End.End != other.End.End {
					t.Fatalf("%s: %d epochs and %q, on disk %d and %q", id, len(trial.Records), trial.End.End, len(other.Records), other.End.End)
				}
			}
		})
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzParse(f *testing.F) {
	path, _ := filled(f)
	data, err := os.ReadFile(path)
	must(f, err)
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parse(data)
		if err != nil {
			return
		}
		if s.Torn < 0 || s.Torn > len(data) {
			t.Fatalf("%d torn of %d bytes", s.Torn, len(data))
		}
		again, err := parse(data[:len(data)-s.Torn])
		if err != nil || again.Torn != 0 || len(again.Trials) != len(s.Trials) {
			t.Errorf("the good part gives %v", err)
		}
	})
}

func BenchmarkRecord(b *testing.B) {
	j, err := Open(filepath.Join(b.TempDir(), "journal.log"), "p")
	must(b, err)
	epoch := 0
	for b.Loop() {
		epoch++
		if _, err := j.Record(record("t", epoch)); err != nil {
			b.Fatal(err)
		}
	}
	must(b, j.Close())
}

func BenchmarkRead(b *testing.B) {
	path := filepath.Join(b.TempDir(), "journal.log")
	j, err := Open(path, "p")
	must(b, err)
	for t := range 1000 {
		for e := range 50 {
			_, err := j.Record(record(fmt.Sprint("t", t), e+1))
			must(b, err)
		}
	}
	must(b, j.Close())
	for b.Loop() {
		if _, err := Read(path); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(50_000, "epochs")
}
