package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"quicktune/generate/trainer"
	"quicktune/internal/atomicfile"
)

// WriteFolder writes the pictures as PNG files of 32 x 32 pixels, a folder for
// each class, to a directory that must not exist. Load reads the same pictures and
// classes from there. The directory is seen whole or not at all; a process that is
// killed leaves dir+".new.tmp" behind, which the next one replaces.
func (s *Set) WriteFolder(ctx context.Context, dir string) error {
	dir = filepath.Clean(dir)
	switch _, err := os.Lstat(dir); {
	case err == nil:
		return fmt.Errorf("%s: %w", dir, fs.ErrExist)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	fresh := dir + ".new.tmp"
	if err := errors.Join(os.RemoveAll(fresh), os.MkdirAll(fresh, 0o777)); err != nil {
		return err
	}
	err := s.writeClasses(ctx, fresh)
	if err == nil {
		err = os.Rename(fresh, dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(fresh))
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}

func (s *Set) writeClasses(ctx context.Context, dir string) error {
	for _, c := range s.Classes {
		if strings.ContainsAny(c, `/\`) || !filepath.IsLocal(c) {
			return fmt.Errorf("class %q cannot be the name of a folder", c)
		}
		if err := os.Mkdir(filepath.Join(dir, c), 0o777); err != nil {
			return err
		}
	}
	m := image.NewNRGBA(image.Rect(0, 0, trainer.Side, trainer.Side))
	var data bytes.Buffer
	for i, label := range s.Labels {
		if err := ctx.Err(); err != nil {
			return err
		}
		for p, rgb := 0, s.Picture(i); p < len(m.Pix); p, rgb = p+4, rgb[3:] {
			m.Pix[p], m.Pix[p+1], m.Pix[p+2], m.Pix[p+3] = rgb[0], rgb[1], rgb[2], 0xff
		}
		data.Reset()
		if err := png.Encode(&data, m); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, s.Classes[label], fmt.Sprintf("%05d.png", i)), data.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}
