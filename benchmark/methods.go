package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"quicktune/baselines"
	"quicktune/internal/cli"
	"quicktune/search"
)

func newMethods(stdout io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:     "methods",
		Short:   "list the search methods with source, settings and what they use",
		Example: "  go run ./benchmark methods",
		Args:    cli.Arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			for _, m := range baselines.Methods() {
				fmt.Fprintf(stdout, "%s: %s\n  source    %s\n  settings  %s\n  uses      %s\n", m.Name, m.Title, m.Source, m.Details, uses(m.Uses))
				settings, err := baselines.Settings(m.Name)
				if err != nil {
					return err
				}
				for _, s := range settings {
					fmt.Fprintf(stdout, "  --set %s.%s=%s  %s: %s\n", m.Name, s.Name, s.Default, s.About, s.Range)
				}
			}
			return nil
		},
	}
}

// uses says in words what a method looks at.
func uses(u search.Uses) string {
	words := []string{"scores"}
	for _, w := range []struct {
		does bool
		word string
	}{
		{u.Fidelity, "partial curves"},
		{u.Cost, "costs"},
		{u.MetaData, "curves of other data sets"},
		{u.Budget, "the budget"},
	} {
		if w.does {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ", ")
}

// chooseMethods builds the methods of a comma-separated list, or all of them,
// with settings such as hyperband.eta=4.
func chooseMethods(list string, settings []string) ([]search.Method, error) {
	names := strings.Split(list, ",")
	if list == "all" {
		names = nil
		for _, m := range baselines.Methods() {
			names = append(names, m.Name)
		}
	}
	changed := make(map[string]map[string]string)
	for _, s := range settings {
		key, value, ok := strings.Cut(s, "=")
		method, setting, dotted := strings.Cut(key, ".")
		if !ok || !dotted {
			return nil, cli.Inputf("--set %s: want METHOD.SETTING=VALUE, such as hyperband.eta=4", s)
		}
		if !slices.Contains(names, method) {
			return nil, cli.Inputf("--set %s: method %q is not among --methods %s", s, method, list)
		}
		if changed[method] == nil {
			changed[method] = make(map[string]string)
		}
		changed[method][setting] = value
	}
	var methods []search.Method
	for i, name := range names {
		name = strings.TrimSpace(name)
		if slices.Contains(names[:i], name) {
			return nil, cli.Inputf("--methods: %s is given twice", name)
		}
		m, err := baselines.New(name, changed[name])
		if err != nil {
			return nil, cli.Input(err)
		}
		methods = append(methods, m)
	}
	return methods, nil
}
