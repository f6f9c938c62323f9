package quicktune_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestThePapersAreWhereTheReadmeSays looks up every function that the table of
// the papers names.
func TestThePapersAreWhereTheReadmeSays(t *testing.T) {
	data, err := os.ReadFile("README.md")
	must(t, err)
	_, section, _ := strings.Cut(string(data), "\n## The papers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	found := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 {
			continue
		}
		source := ""
		for _, m := range quoted.FindAllStringSubmatch(cells[3], -1) {
			name := m[1]
			if strings.HasSuffix(name, ".go") {
				text, err := os.ReadFile(filepath.FromSlash(name))
				must(t, err)
				source = string(text)
				continue
			}
			found++
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + regexp.QuoteMeta(name) + `[(\[]`).MatchString(source) {
				t.Errorf("%s: there is no function %s", strings.TrimSpace(cells[3]), name)
			}
		}
	}
	if found < 20 {
		t.Errorf("the table names %d functions; has it moved?", found)
	}
}
