// Package images turns labelled pictures into data sets for training: it reads
// class folders, the Meta-Album layout and zip archives of either, brings every
// picture to the one size that the trainers take, and splits.
//
// The same files give the same bytes on every machine: pictures are sorted by
// name, the resizing is integer arithmetic, and the split depends on the number
// of pictures alone.
//
// The package refuses to guess: a labels.csv that does not fit its images is an
// error, never a smaller data set. It never writes a file, does not extract
// archives, and does not augment.
package images

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"quicktune/generate/trainer"
	"quicktune/internal/stream"
)

// Set is a data set before the split.
type Set struct {
	Name string
	// Classes are the names of the classes, in ascending order of their bytes.
	// Each has at least one picture.
	Classes []string
	// Pixels holds the pictures one after the other, trainer.Pixels bytes each,
	// laid out as in [trainer.Split].
	Pixels []uint8
	// Labels holds one class a picture, an index of Classes.
	Labels []int
	// Symmetric tells that a mirrored picture belongs to the same class.
	Symmetric bool
	// Width is the median width of the pictures as they were found, in pixels.
	Width int
	// Channels is 1 if every picture is grey, else 3.
	Channels int
	// Warnings tells, one line each, what was left out: broken pictures, classes
	// without a picture, pictures without a label.
	Warnings []string
}

// Len is the number of pictures.
func (s *Set) Len() int { return len(s.Labels) }

// Picture returns the pixels of picture i.
func (s *Set) Picture(i int) []uint8 {
	return s.Pixels[i*trainer.Pixels : (i+1)*trainer.Pixels]
}

// Hash returns a SHA-256, in lower-case hexadecimal, of all that training sees:
// the pixels, the labels, the number of classes and whether pictures may be
// mirrored.
func (s *Set) Hash() string {
	h := sha256.New()
	var head [17]byte
	binary.LittleEndian.PutUint64(head[0:], uint64(len(s.Classes)))
	binary.LittleEndian.PutUint64(head[8:], uint64(s.Len()))
	if s.Symmetric {
		head[16] = 1
	}
	h.Write(head[:])
	labels := make([]byte, 0, 4*s.Len())
	for _, l := range s.Labels {
		labels = binary.LittleEndian.AppendUint32(labels, uint32(l))
	}
	h.Write(labels)
	h.Write(s.Pixels)
	return hex.EncodeToString(h.Sum(nil))
}

// splitSeed is the number that seeds the shuffle before the split, in the
// released code of Quick-Tune and here. The generators differ, and so do the
// permutations.
const splitSeed = 93

// Sizes returns how many of n pictures go to training, validation and test.
// The rule is that of Pineda Arango et al., "Quick-Tune: Quickly Learning Which
// Pretrained Model to Finetune and How" (ICLR 2024), as released: of all
// pictures in random order, whatever their class, the first 20 %, rounded down,
// are for validation, as many again for test, and the rest for training.
func Sizes(n int) (train, validation, test int) {
	fifth := n / 5
	return n - 2*fifth, fifth, fifth
}

// Split divides the set by the rule of [Sizes]. It does not depend on the seed
// of a sweep: a data set has one split. It fails if there is nothing to validate
// on, or less than two classes to train on.
func (s *Set) Split() (*trainer.Images, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	_, validation, test := Sizes(s.Len())
	order := stream.New("images/split", splitSeed, uint64(s.Len())).Perm(s.Len())
	part := func(order []int) trainer.Split {
		p := trainer.Split{Pixels: make([]uint8, 0, len(order)*trainer.Pixels), Labels: make([]int, 0, len(order))}
		for _, i := range order {
			p.Pixels = append(p.Pixels, s.Picture(i)...)
			p.Labels = append(p.Labels, s.Labels[i])
		}
		return p
	}
	t := &trainer.Images{
		Name: s.Name, Classes: len(s.Classes), Symmetric: s.Symmetric,
		Validation: part(order[:validation]),
		Test:       part(order[validation : validation+test]),
		Train:      part(order[validation+test:]),
	}
	first := t.Train.Labels[0]
	for _, l := range t.Train.Labels {
		if l != first {
			return t, nil
		}
	}
	return nil, fmt.Errorf("data set %q: all %d pictures that the split leaves for training are of class %q: add pictures of the others",
		s.Name, t.Train.Len(), s.Classes[first])
}

// minPictures is the least number of pictures that leaves one for validation.
const minPictures = 5

func (s *Set) check() error {
	switch {
	case s.Len() == 0:
		return fmt.Errorf("data set %q has no pictures", s.Name)
	case len(s.Classes) == 1:
		return fmt.Errorf("data set %q has one class, %q: there is nothing to tell apart", s.Name, s.Classes[0])
	case s.Len() < minPictures:
		return fmt.Errorf("data set %q has %d pictures: it takes at least %d to have one for validation", s.Name, s.Len(), minPictures)
	case len(s.Pixels) != s.Len()*trainer.Pixels:
		return errors.New("the pixels do not fit the labels")
	}
	return nil
}
