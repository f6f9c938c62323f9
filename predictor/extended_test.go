package predictor

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"

	"quicktune/internal/realdata"
	"quicktune/space"
	"quicktune/space/quicktunetable"
)

// extended holds the real curves of the Extended meta-dataset as tasks, encoded
// by an encoder made from all of them.
type extended struct {
	encoder *Encoder
	tasks   []Task
	configs [][]space.Config
}

var loadExtended = sync.OnceValues(func() (extended, error) { return readExtended(extendedDir) })

var extendedDir string

func realTasks(t testing.TB) extended {
	t.Helper()
	extendedDir = realdata.Path(t, "quicktune", "extended")
	x, err := loadExtended()
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func readExtended(dir string) (extended, error) {
	var x extended
	var perf, cost map[string]json.RawMessage
	var desc map[string][]float64
	for name, dst := range map[string]any{"perf.json": &perf, "cost.json": &cost, "descriptors.json": &desc} {
		data, err := os.ReadFile(dir + "/" + name)
		if err == nil {
			err = json.Unmarshal(data, dst)
		}
		if err != nil {
			return x, err
		}
	}
	f, err := os.Open(dir + "/table.csv")
	if err != nil {
		return x, err
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		return x, err
	}
	layout, err := quicktunetable.NewLayout(rows[0])
	if err != nil {
		return x, err
	}
	byID := map[string]space.Config{}
	var all []space.Config
	for i, r := range rows[1:] {
		c, err := layout.FromRow(i, r)
		if err != nil {
			return x, err
		}
		byID[layout.ID(r)] = c
		all = append(all, c)
	}
	if x.encoder, err = NewEncoder(space.QuickTune(), "model", all); err != nil {
		return x, err
	}
	var names []string
	for name := range desc {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		var p, c map[string][]float64
		if err := json.Unmarshal(perf[name], &p); err != nil {
			return x, err
		}
		if err := json.Unmarshal(cost[name], &c); err != nil {
			return x, err
		}
		t := Task{Name: name, Meta: desc[name]}
		var ids []string
		for id := range p {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		var configs []space.Config
		for _, id := range ids {
			e, err := x.encoder.Encode(nil, byID[id])
			if err != nil {
				return x, err
			}
			for i := range p[id] {
				p[id][i] /= 100
			}
			configs = append(configs, byID[id])
			t.Config, t.Scores, t.Seconds = append(t.Config, e), append(t.Scores, p[id]), append(t.Seconds, c[id])
		}
		x.tasks = append(x.tasks, t)
		x.configs = append(x.configs, configs)
	}
	return x, nil
}
