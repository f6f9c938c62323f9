package timm

import (
	"archive/zip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"quicktune/generate/images"
	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
)

// description tells a worker of a data set: which pictures it has, and how they
// are split.
type description struct {
	Format     string   `json:"format"`
	Version    int      `json:"version"`
	Name       string   `json:"name"`
	Path       string   `json:"path"` // of the pictures; relative to the description, or absolute
	Hash       string   `json:"hash"`
	Classes    []string `json:"classes"`
	Symmetric  bool     `json:"symmetric"`
	Labels     []int    `json:"labels"` // of every picture, in the order of their names
	Order      []int    `json:"order"`  // validation, test, training
	Validation int      `json:"validation"`
	Test       int      `json:"test"`
}

const (
	descriptionFormat  = "quicktune timm data set"
	descriptionVersion = 1
)

// FileName is the name of the file that describes a data set: bytes other than
// letters, digits, '-', '_' and '.' become %XX, and so does a leading dot.
func FileName(dataset string) string { return escape(dataset) + ".json" }

func escape(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Described reports whether dir describes the pictures with a hash already.
func Described(dir, dataset, hash string) bool {
	data, err := os.ReadFile(filepath.Join(dir, FileName(dataset)))
	var d description
	return err == nil && json.Unmarshal(data, &d) == nil &&
		d.Format == descriptionFormat && d.Version == descriptionVersion && d.Hash == hash
}

// Describe writes the description of a data set into dir. The pictures stay
// where they are, at path; those of a set without files, path "", are written
// beside the description.
func Describe(dir string, s *images.Set, path string) error {
	order, validation, test, err := split(s)
	if err != nil {
		return err
	}
	d := description{
		Format: descriptionFormat, Version: descriptionVersion,
		Name: s.Name, Path: path, Hash: s.Hash(), Classes: s.Classes, Symmetric: s.Symmetric,
		Labels: s.Labels, Order: order, Validation: validation, Test: test,
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if path == "" {
		d.Path = escape(s.Name) + ".zip"
		if err := writePictures(filepath.Join(dir, d.Path), s); err != nil {
			return err
		}
	}
	return atomicfile.Write(filepath.Join(dir, FileName(s.Name)), func(w io.Writer) error {
		return json.NewEncoder(w).Encode(d)
	})
}

// split returns the order of the pictures in the split. It depends on their
// number alone, so the split of a set whose labels are numbers shows it.
func split(s *images.Set) (order []int, validation, test int, err error) {
	probe := &images.Set{Name: s.Name, Classes: make([]string, s.Len()), Pixels: s.Pixels, Labels: make([]int, s.Len())}
	for i := range probe.Labels {
		probe.Labels[i] = i
	}
	parts, err := probe.Split()
	if err != nil {
		return nil, 0, 0, err
	}
	for _, p := range []trainer.Split{parts.Validation, parts.Test, parts.Train} {
		order = append(order, p.Labels...)
	}
	return order, parts.Validation.Len(), parts.Test.Len(), nil
}

// writePictures writes a set without files as an archive in the Meta-Album
// layout, whose order of names is that of the set.
func writePictures(path string, s *images.Set) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err // written with the description that was
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		z := zip.NewWriter(w)
		table := [][]string{{"FILE_NAME", "CATEGORY"}}
		for i, label := range s.Labels {
			name := fmt.Sprintf("%07d.png", i)
			f, err := z.CreateHeader(&zip.FileHeader{Name: "images/" + name, Method: zip.Store})
			if err != nil {
				return err
			}
			if err := png.Encode(f, picture(s.Picture(i))); err != nil {
				return err
			}
			table = append(table, []string{name, s.Classes[label]})
		}
		f, err := z.Create("labels.csv")
		if err != nil {
			return err
		}
		if err := csv.NewWriter(f).WriteAll(table); err != nil {
			return err
		}
		return z.Close()
	})
}

func picture(pix []uint8) image.Image {
	im := image.NewNRGBA(image.Rect(0, 0, trainer.Side, trainer.Side))
	for i := range trainer.Side * trainer.Side {
		im.SetNRGBA(i%trainer.Side, i/trainer.Side, color.NRGBA{pix[3*i], pix[3*i+1], pix[3*i+2], 255})
	}
	return im
}
