package quicktune_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// licences are those under which dependencies may come, each with words that
// only it has.
var licences = []struct{ name, words string }{
	{"Apache-2.0", "Apache License Version 2.0"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"OFL-1.1", "SIL Open Font License, Version 1.1"},
	{"BSD-3-Clause", "Neither the name of"},
	{"BSD-3-Clause", "names of its contributors may be used to endorse"},
	{"BSD-2-Clause", "Redistributions in binary form must reproduce the above copyright notice"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
}

// judged are modules whose licence is none of these, with what a person who read
// it found. The test fails when the first words are no longer the same.
var judged = map[string]struct{ licence, begins string }{
	// Drawing to SVG: attribution suffices.
	"github.com/ajstarks/svgo": {"CC-BY-4.0", "Creative Commons Attribution 4.0 International Public License"},
	// A choice of two; the FreeType licence asks for a word in the documents.
	"github.com/golang/freetype": {"FTL", "Use of the Freetype-Go software is subject to your choice of exactly one of the following two licenses: * The FreeType License"},
}

// licenceFile matches the names of files that hold a licence.
var licenceFile = regexp.MustCompile(`(?i)^(un)?licen[cs]e|^copying`)

// words is a text with single blanks, in which licences are recognised.
func words(text []byte) string { return strings.Join(strings.Fields(string(text)), " ") }

// licenceOf names the licence of a text, "" if it is none of those above.
func licenceOf(text []byte) string {
	for _, l := range licences {
		if strings.Contains(words(text), l.words) {
			return l.name
		}
	}
	return ""
}

// TestLicencesOfDependenciesAreKnown reads the licence of every module that the
// commands and the tests are built from. With -v it lists them.
func TestLicencesOfDependenciesAreKnown(t *testing.T) {
	all, err := packages()
	must(t, err)
	dirs := map[string]string{}
	for _, p := range all {
		if p.Module != nil && p.Module.Path != module {
			dirs[p.Module.Path] = p.Module.Dir
		}
	}
	for _, name := range slices.Sorted(maps.Keys(dirs)) {
		entries, err := os.ReadDir(dirs[name])
		must(t, err)
		var found []string
		for _, e := range entries {
			if e.IsDir() || !licenceFile.MatchString(e.Name()) {
				continue
			}
			text, err := os.ReadFile(filepath.Join(dirs[name], e.Name()))
			must(t, err)
			if licence := licenceOf(text); licence != "" {
				found = append(found, licence)
			} else if j := judged[name]; j.begins != "" && strings.HasPrefix(words(text), j.begins) {
				found = append(found, j.licence)
			}
		}
		if len(found) == 0 {
			t.Errorf("%s: no known licence in %s; read it, and add it to this test if it suits Apache-2.0", name, dirs[name])
		}
		t.Logf("%-45s %s", name, strings.Join(found, ", "))
	}
	for name := range judged {
		if dirs[name] == "" {
			t.Errorf("%s is judged, but nothing needs it any more", name)
		}
	}
}

func TestLicencesAreRecognised(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"\n      Apache License\n   Version 2.0, January 2004\n", "Apache-2.0"},
		{"Permission is hereby granted, free\nof charge, to any person obtaining a copy of", "MIT"},
		{"* Redistributions in binary form must reproduce the\n  above copyright notice. Neither the name of X", "BSD-3-Clause"},
		{"* Redistributions in binary form must reproduce the\n  above copyright notice.", "BSD-2-Clause"},
		{"GNU GENERAL PUBLIC LICENSE Version 3", ""},
		{"All rights reserved.", ""},
		{"", ""},
	} {
		if got := licenceOf([]byte(c.text)); got != c.want {
			t.Errorf("%q is %q, want %q", c.text, got, c.want)
		}
	}
}
