package images

import (
	"bufio"
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
	config, _, err := image.DecodeConfig(bufio.NewReader(io.LimitReader(f, maxPictureBytes)))
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
	again, err := files.Open(name)
	if err != nil {
		return decoded{}, err
	}
	defer again.Close()
	src, _, err := image.Decode(bufio.NewReader(io.LimitReader(again, maxPictureBytes)))
	if err != nil {
		return decoded{}, err
	}
	if src.Bounds().Empty() {
		return decoded{}, errors.New("no pixels")
	}
	flat := flatten(src)
	return decoded{resize(flat), flat.width, flat.grey()}, nil
}
