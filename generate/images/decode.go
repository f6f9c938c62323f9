package images

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	_ "image/gif" // the formats that can be read
	_ "image/jpeg"
	_ "image/png"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	_ "golang.org/x/image/bmp"
	_ "golang.org/x/image/tiff"
	_ "golang.org/x/image/webp"
)

// extensions of the formats that can be read. Of an animation the first picture
// counts; the orientation that a camera noted is ignored.
var extensions = []string{".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp"}

// isPicture reports whether a file name is that of a picture. Hidden files, such
// as the resource forks that some systems add to archives, are none.
func isPicture(name string) bool {
	return !strings.HasPrefix(path.Base(name), ".") && slices.Contains(extensions, strings.ToLower(path.Ext(name)))
}

// Bounds of one picture: what is greater is taken for broken.
const (
	maxPictureBytes  = 256 << 20
	maxPicturePixels = 64 << 20
)

// decoded is a picture at the trainers' size.
type decoded struct {
	pix   []uint8
	width int // as it was found
	grey  bool
}

// inMemory is a picture's file. It can be read at an offset, without which the
// decoder of TIFF makes a buffer as long as any offset that a file names, and
// peeked into, without which package image hides that it can.
type inMemory struct{ *bytes.Reader }

// Peek returns the next n bytes without taking them, or all with io.EOF if there
// are fewer.
func (r inMemory) Peek(n int) ([]byte, error) {
	out := make([]byte, n)
	got, err := r.ReadAt(out, r.Size()-int64(r.Len()))
	return out[:got], err
}

// decode reads and resizes one picture. A decoder that panics counts as a
// broken picture.
func decode(files fs.FS, name string) (d decoded, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the decoder gave up: %v", p)
		}
	}()
	f, err := files.Open(name)
	if err != nil {
		return decoded{}, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxPictureBytes))
	if err != nil {
		return decoded{}, err
	}
	config, _, err := image.DecodeConfig(inMemory{bytes.NewReader(content)})
	switch {
	case errors.Is(err, image.ErrFormat):
		return decoded{}, errors.New("not a picture in a format that can be read")
	case err != nil:
		return decoded{}, err
	case config.Width <= 0 || config.Height <= 0:
		return decoded{}, fmt.Errorf("%d x %d pixels", config.Width, config.Height)
	case int64(config.Width)*int64(config.Height) > maxPicturePixels:
		return decoded{}, fmt.Errorf("%d x %d pixels are more than the %d million that are read", config.Width, config.Height, maxPicturePixels>>20)
	}
	src, _, err := image.Decode(inMemory{bytes.NewReader(content)})
	if err != nil {
		return decoded{}, err
	}
	if src.Bounds().Empty() {
		return decoded{}, errors.New("no pixels")
	}
	flat := flatten(src)
	return decoded{resize(flat), flat.width, flat.grey()}, nil
}
