package builtin

import "math/rand/v2"

// drawn is a procedural data set.
func drawn(name, title string, classes, perClass int, symmetric, colour bool, draw drawer) dataset {
	return dataset{
		Info:      Info{Name: name, Title: title, Classes: classes, Pictures: classes * perClass, Licence: "drawn from a seed"},
		symmetric: symmetric, colour: colour, draw: draw,
	}
}

// Letters of the targets. No lower-case Greek or upper-case Cyrillic letter is
// among them that looks like a Latin one, for those are in a source.
var (
	digitLetters    = []rune("0123456789")
	greekLetters    = []rune("αβγδεζηθλμξπσφχψω")
	cyrillicLetters = []rune("БГДЖЗИЛПФЦЧШЩЪЫЬЭЮЯ")
	latinLetters    = []rune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
)

// The real targets are in real.go.
var targets = append(realTargets,
	drawn("automata", "rules of cellular automata", len(automataRules), 100, false, true, automata),
	drawn("cells", "stained cells", 8, 150, true, true, cells),
	drawn("counting", "one to eight things", 8, 150, true, true, counting),
	drawn("cyrillic", "upper-case Cyrillic letters", len(cyrillicLetters), 64, false, true, letters(cyrillicLetters, 0.35, 2)),
	drawn("fractals", "clouds of points", 20, 60, false, true, fractals(targetGroup)),
	drawn("gratings", "direction and width of stripes in noise", 16, 75, false, false, gratings),
	drawn("greek", "lower-case Greek letters", len(greekLetters), 72, false, true, letters(greekLetters, 0.35, 2)),
	drawn("loops", "closed curves and curves with a gap", 2, 600, true, true, loops),
	drawn("numerals", "printed digits, turned and scratched", len(digitLetters), 120, false, true, letters(digitLetters, 0.6, 3)),
	drawn("palettes", "mosaics by their hues", 10, 120, true, true, palettes),
	drawn("relations", "where a disc is, seen from a square", 5, 240, false, true, relations),
	drawn("shapes", "figures in clutter", len(targetFigures), 100, false, true, shapes(targetFigures)),
	drawn("signs", "made-up handwriting", 25, 48, false, false, strokes(targetGroup)),
	drawn("solids", "lit bodies", len(solidFigures), 150, false, true, solids),
	drawn("symmetry", "kinds of symmetry", 5, 240, true, true, symmetry),
	drawn("textures", "materials", 16, 75, false, true, textures(targetGroup)),
	drawn("typefaces", "fonts by two of their letters", len(fontFiles), 100, false, false, typefaces(append(append([]rune(nil), greekLetters...), cyrillicLetters...))),
)

// The groups from which classes are drawn, so that no class of a target is one
// of a source.
const (
	targetGroup = 1
	sourceGroup = 2
)

// experts are the sources of one domain each.
var experts = []dataset{
	drawn("source-letters", "Latin letters", len(latinLetters), 150, false, true, letters(latinLetters, 0.4, 2)),
	drawn("source-fractals", "clouds of points", 40, 150, false, true, fractals(sourceGroup)),
	drawn("source-shapes", "figures in clutter", len(sourceFigures), 400, false, true, shapes(sourceFigures)),
	drawn("source-signs", "made-up handwriting", 50, 120, false, false, strokes(sourceGroup)),
	drawn("source-textures", "materials", 40, 150, false, true, textures(sourceGroup)),
}

// sources are the experts and the union of their classes.
var sources = append(experts, drawn("source-mixed", "all of the other sources", totalClasses(experts), 60, false, true, union(experts)))

func totalClasses(list []dataset) int {
	n := 0
	for _, d := range list {
		n += d.Classes
	}
	return n
}

// union draws from the data sets of a list, whose classes are numbered through.
func union(list []dataset) drawer {
	return func(c *canvas, class int, r *rand.Rand) {
		for _, d := range list {
			if class < d.Classes {
				d.draw(c, class, r)
				return
			}
			class -= d.Classes
		}
	}
}
