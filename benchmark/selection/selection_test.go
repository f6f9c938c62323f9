package selection

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

func execute(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := New(&out, &out)
	c.SetArgs(args)
	c.SetErr(&out)
	if err := c.Execute(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String()
}

func TestTheReportRepeatsThePublishedTables(t *testing.T) {
	out := execute(t)
	for _, want := range []string{
		"You et al., JMLR 2022, table 9: 27 of 27 agree",
		"Model Spider, NeurIPS 2023: 69 of 72 agree",
		"Aircraft, LEEP: printed 0.244, computed 0.2213",
		"cnn11: 11 supervised CNNs, 11 data sets",
		"SFDA, as printed",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	// The prior looks at no image and still ranks the 11 CNNs better than every
	// score published for them.
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "  static prior (mean rank)") {
			if f := strings.Fields(line); f[4] != "0.837" {
				t.Errorf("the prior of the first pool has tau_w %s", f[4])
			}
			break
		}
	}
	if again := execute(t); again != out {
		t.Error("two runs differ")
	}
}

func TestTheReportIsJSONOnDemand(t *testing.T) {
	var r Report
	if err := json.Unmarshal([]byte(execute(t, "--json")), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Pools) != 8 || len(r.Repeated) != 2 || len(r.Gains) != 30 || len(r.Rankings) != 33 {
		t.Errorf("%d pools, %d tables, %d gains, %d rankings", len(r.Pools), len(r.Repeated), len(r.Gains), len(r.Rankings))
	}
	for _, p := range r.Pools {
		if p.Datasets >= 6 && (p.Rows[0].Tau.Low == nil || *p.Rows[0].Tau.Low > p.Rows[0].Tau.Mean || *p.Rows[0].Tau.High < p.Rows[0].Tau.Mean) {
			t.Errorf("%s: interval of %+v", p.Name, p.Rows[0].Tau)
		}
	}
}

var discard = slog.New(slog.DiscardHandler)
