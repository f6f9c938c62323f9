// Package builtin holds the data sets that need no file: small real ones with a
// free licence, and procedural families that are drawn from a seed.
//
// They come in two kinds that share no picture and no class: targets, on which
// networks are fine-tuned, and sources, on which they are pretrained. A family
// that occurs in both kinds has other classes in each: Latin letters in the
// source, Greek ones in a target.
//
// Every picture has its own stream of random numbers, named by the data set,
// the class and a number, so a picture does not depend on how many there are,
// on the order of drawing or on the number of cores. The package refuses to
// read files; the user's own pictures are the business of package images.
package builtin

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"quicktune/generate/images"
	"quicktune/generate/trainer"
	"quicktune/internal/stream"
)

// Info describes a data set that can be loaded.
type Info struct {
	Name     string
	Title    string // what is to be told apart, in a few words
	Classes  int
	Pictures int  // that Load makes
	Real     bool // pictures of the world, not drawn by this package
	Licence  string
}

// dataset is a data set of this package.
type dataset struct {
	Info
	symmetric bool
	draw      drawer            // of a procedural one
	load      func(*images.Set) // of a real one
	colour    bool
}

// drawer draws one picture of a class on a blank canvas.
type drawer func(c *canvas, class int, r *rand.Rand)

// Targets lists the data sets to fine-tune on, the real ones first.
func Targets() []Info { return infos(targets) }

// Sources lists the data sets to pretrain on. All are procedural, and Draw makes
// them of any size.
func Sources() []Info { return infos(sources) }

func infos(sets []dataset) []Info {
	list := make([]Info, len(sets))
	for i, d := range sets {
		list[i] = d.Info
	}
	return list
}

func find(name string) (*dataset, error) {
	for _, list := range [][]dataset{targets, sources} {
		if i := slices.IndexFunc(list, func(d dataset) bool { return d.Name == name }); i >= 0 {
			return &list[i], nil
		}
	}
	var names []string
	for _, d := range targets {
		names = append(names, d.Name)
	}
	return nil, fmt.Errorf("there is no data set %q; use one of %s", name, strings.Join(names, ", "))
}

// Has reports whether there is a target or a source of the name.
func Has(name string) bool {
	_, err := find(name)
	return err == nil
}

// Load makes a target or a source at its usual size.
func Load(ctx context.Context, name string) (*images.Set, error) {
	d, err := find(name)
	if err != nil {
		return nil, err
	}
	if d.Real {
		s := &images.Set{Name: d.Name, Symmetric: d.symmetric, Channels: 1}
		d.load(s)
		return s, nil
	}
	return d.make(ctx, d.Pictures/d.Classes)
}

// Draw makes a procedural data set with perClass pictures of each class. The
// first pictures of each class are those of a smaller one.
func Draw(ctx context.Context, name string, perClass int) (*images.Set, error) {
	d, err := find(name)
	if err != nil {
		return nil, err
	}
	if d.Real {
		return nil, fmt.Errorf("data set %q is real: it has as many pictures as it has", name)
	}
	if perClass < 1 {
		return nil, fmt.Errorf("data set %q: %d pictures a class are too few", name, perClass)
	}
	return d.make(ctx, perClass)
}

func (d *dataset) make(ctx context.Context, perClass int) (*images.Set, error) {
	n := d.Classes * perClass
	s := &images.Set{
		Name: d.Name, Symmetric: d.symmetric, Width: trainer.Side, Channels: 1,
		Pixels: make([]uint8, n*trainer.Pixels), Labels: make([]int, n),
	}
	if d.colour {
		s.Channels = trainer.Channels
	}
	h := fnv.New64a()
	h.Write([]byte(d.Name))
	seed := h.Sum64()
	for class := range d.Classes {
		s.Classes = append(s.Classes, fmt.Sprintf("%03d", class))
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for class := range d.Classes {
		g.Go(func() error {
			c := newCanvas()
			for k := range perClass {
				if err := ctx.Err(); err != nil {
					return err
				}
				c.clear()
				d.draw(c, class, stream.New("images/builtin", seed, uint64(class), uint64(k)))
				i := class*perClass + k
				s.Labels[i] = class
				c.store(s.Picture(i), !d.colour)
			}
			return nil
		})
	}
	return s, g.Wait()
}
