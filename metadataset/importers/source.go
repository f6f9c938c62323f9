package importers

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// source is an opened folder, archive or file.
type source struct {
	tree    *tree
	display string // what to call it in the report
	sha256  string
	close   func()
}

// openSource opens a path or downloads a URL.
func openSource(ctx context.Context, from string, opts *Options) (*source, error) {
	limits := opts.Limits.withDefaults()
	if want := opts.SHA256; want != "" {
		if raw, err := hex.DecodeString(want); err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("expected checksum %q is not a SHA-256 in hexadecimal", clip(want))
		}
	}
	if u, err := url.Parse(from); err == nil && strings.Contains(from, "://") {
		if u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("%s: cannot fetch %s addresses: use http or https", u.Redacted(), u.Scheme)
		}
		return openURL(ctx, u, opts, limits)
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", from, plain(err))
	}
	name := filepath.Base(from)
	if abs, err := filepath.Abs(from); err == nil {
		name = filepath.Base(abs)
	}
	if !info.IsDir() {
		return openFile(ctx, from, name, from, opts, limits)
	}
	if opts.SHA256 != "" {
		return nil, fmt.Errorf("%s: a folder has no checksum: give one only for a file or a URL", from)
	}
	t, err := newTree(name, os.DirFS(from), limits)
	if err != nil {
		return nil, err
	}
	return &source{tree: t, display: from, close: func() {}}, nil
}

// openURL downloads and opens.
func openURL(ctx context.Context, u *url.URL, opts *Options, limits Limits) (*source, error) {
	cache := opts.CacheDir
	remove := func() {}
	if cache == "" {
		dir, err := os.MkdirTemp("", "quicktune-import-")
		if err != nil {
			return nil, err
		}
		cache = dir
		remove = func() { os.RemoveAll(dir) }
	}
	d := &download{url: u, cache: cache, opts: opts, limit: limits.Download}
	file, err := d.fetch(ctx)
	if err != nil {
		remove()
		return nil, err
	}
	name := path.Base(u.Path)
	if name == "/" || name == "." {
		name = u.Hostname()
	}
	src, err := openFile(ctx, file, name, u.Redacted(), opts, limits)
	if err != nil {
		// What was fetched is of no use: do not offer it again.
		if ctx.Err() == nil {
			d.discard()
		}
		remove()
		return nil, err
	}
	closeFile := src.close
	src.close = func() { closeFile(); remove() }
	return src, nil
}

// openFile opens a zip or JSON file. name is what it is called in messages,
// whatever its name on disk.
func openFile(ctx context.Context, file, name, display string, opts *Options, limits Limits) (*source, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", display, plain(err))
	}
	src, err := openStream(ctx, f, name, opts, limits)
	if err != nil {
		f.Close()
		return nil, err
	}
	src.display = display
	return src, nil
}

func openStream(ctx context.Context, f *os.File, name string, opts *Options, limits Limits) (*source, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: is no regular file", name)
	}
	sum, err := hashFile(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	if opts.SHA256 != "" && !strings.EqualFold(sum, opts.SHA256) {
		return nil, fmt.Errorf("%s: SHA-256 is %s, not the expected %s", name, sum, strings.ToLower(opts.SHA256))
	}
	head := make([]byte, sniffed)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("%s: %w", name, plain(err))
	}
	head = head[:n]
	src := &source{sha256: sum, close: func() { f.Close() }}
	if bytes.HasPrefix(head, []byte("PK")) {
		z, err := zip.NewReader(f, info.Size())
		if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
			return nil, fmt.Errorf("%s: %w", name, plain(err))
		}
		src.tree, err = newZipTree(name, z, limits)
		return src, err
	}
	if why := notData(head); why != "" {
		return nil, fmt.Errorf("%s: %s", name, why)
	}
	// A single task: the tree is the file.
	if path.Ext(name) == "" {
		name += ".json"
	}
	src.tree = &tree{
		name: ".", files: []string{name}, sizes: map[string]int64{name: info.Size()}, limits: limits,
		open: func(string) (io.ReadCloser, error) {
			return io.NopCloser(io.NewSectionReader(f, 0, info.Size())), nil
		},
	}
	return src, nil
}

// hashFile returns the SHA-256 of a file in hexadecimal.
func hashFile(ctx context.Context, f *os.File) (string, error) {
	h := sha256.New()
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if _, err := io.CopyN(h, f, 16*chunk); err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		} else if err != nil {
			return "", err
		}
	}
}
