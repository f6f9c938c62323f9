package importers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// defaultStall is how long a download may bring nothing.
const defaultStall = 30 * time.Second

// download fetches one URL into the cache. What has arrived is in a .part
// file, beside it a .json file with the validators of the server's version;
// the part becomes the file only when it is whole.
type download struct {
	url   *url.URL
	cache string
	opts  *Options
	limit int64
	// resumable tells whether what has arrived serves a later attempt.
	resumable bool
}

// validators identify the version of a file on the server.
type validators struct {
	URL          string `json:"url"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// condition returns what If-Range takes, "" if the server gave nothing strong
// enough to continue by.
func (v validators) condition() string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.LastModified
}

var unsafeName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// file is where the whole download lies. The hash tells apart addresses that
// end alike.
func (d *download) file() string {
	sum := sha256.Sum256([]byte(d.url.String()))
	name := strings.Trim(unsafeName.ReplaceAllString(path.Base(d.url.Path), "_"), "._")
	return filepath.Join(d.cache, hex.EncodeToString(sum[:8])+"-"+clip(name))
}

func (d *download) part() string { return d.file() + ".part" }
func (d *download) info() string { return d.file() + ".json" }

// discard removes everything that the cache holds of the download.
func (d *download) discard() {
	for _, f := range []string{d.file(), d.part(), d.info()} {
		os.Remove(f)
	}
}

// errorf adds the address to a message.
func (d *download) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", d.url.Redacted(), fmt.Errorf(format, args...))
}

// fetch returns the path of the whole file.
func (d *download) fetch(ctx context.Context) (string, error) {
	if err := os.MkdirAll(d.cache, 0o755); err != nil {
		return "", d.errorf("cannot make the cache folder: %w", err)
	}
	unlock, err := lockFile(d.file() + ".lock")
	if errors.Is(err, errLocked) {
		return "", d.errorf("another import is downloading this file to %s: wait for it or use another cache folder", d.cache)
	}
	if err != nil {
		return "", d.errorf("%w", err)
	}
	defer unlock()
	known := d.load()
	if _, err := os.Stat(d.file()); err == nil && d.opts.SHA256 != "" {
		f, err := os.Open(d.file())
		if err != nil {
			return "", d.errorf("%w", err)
		}
		sum, err := hashFile(ctx, f)
		f.Close()
		if err != nil {
			return "", d.errorf("%w", err)
		}
		if strings.EqualFold(sum, d.opts.SHA256) {
			return d.file(), nil
		}
		d.discard()
		known = validators{}
	}
	err = d.transfer(ctx, known)
	if errors.Is(err, errRestart) {
		d.discard()
		err = d.transfer(ctx, validators{})
	}
	if err != nil {
		return "", err
	}
	return d.file(), nil
}

// errLocked means that another process has the lock.
var errLocked = errors.New("locked by another process")

// errRestart means that what the cache holds does not fit the server's file.
var errRestart = errors.New("the partial download does not fit the file on the server")

// load returns the validators of what the cache holds.
func (d *download) load() validators {
	var v validators
	data, err := os.ReadFile(d.info())
	if err != nil || json.Unmarshal(data, &v) != nil || v.URL != d.url.String() {
		d.discard() // without them, nothing in the cache can be trusted
		return validators{}
	}
	return v
}

// transfer makes one request and stores its answer.
func (d *download) transfer(ctx context.Context, known validators) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := d.opts.StallTimeout
	if stall <= 0 {
		stall = defaultStall
	}
	errStalled := fmt.Errorf("no data for %s", stall)
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	defer timer.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return d.errorf("%w", err)
	}
	req.Header.Set("Accept-Encoding", "identity") // ranges and sizes are those of the file itself
	var have int64
	if _, err := os.Stat(d.file()); err == nil {
		if known.ETag != "" {
			req.Header.Set("If-None-Match", known.ETag)
		} else if known.LastModified != "" {
			req.Header.Set("If-Modified-Since", known.LastModified)
		}
	} else if info, err := os.Stat(d.part()); err == nil && info.Size() > 0 && known.condition() != "" {
		have = info.Size()
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
		req.Header.Set("If-Range", known.condition())
	}
	client := d.opts.Client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		var urlErr *url.Error
		if errors.As(err, &urlErr) {
			err = urlErr.Err // the address is in the message already
		}
		if errors.Is(err, context.Canceled) {
			return err
		}
		return d.errorf("%w", err)
	}
	defer resp.Body.Close()

	flags := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
	total := resp.ContentLength // -1 if unknown
	switch resp.StatusCode {
	case http.StatusNotModified:
		return nil
	case http.StatusOK:
		have = 0
	case http.StatusPartialContent:
		start, size, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if !ok || start != have || have == 0 {
			return errRestart
		}
		total = size
		flags = os.O_WRONLY | os.O_APPEND
	case http.StatusRequestedRangeNotSatisfiable:
		if have > 0 {
			return errRestart
		}
		return d.errorf("the server answers %s", resp.Status)
	default:
		return d.errorf("the server answers %s", resp.Status)
	}
	if total > d.limit {
		return d.errorf("is %s, more than the limit of %s", formatBytes(total), formatBytes(d.limit))
	}
	if have == 0 {
		os.Remove(d.file())
		known = validators{d.url.String(), resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}
		if err := d.store(known); err != nil {
			return d.errorf("%w", err)
		}
	}
	d.resumable = d.opts.CacheDir != "" && known.condition() != ""
	f, err := os.OpenFile(d.part(), flags, 0o644)
	if err != nil {
		return d.errorf("%w", err)
	}
	err = d.copy(ctx, f, resp.Body, have, total, func() { timer.Reset(stall) })
	if syncErr := f.Sync(); err == nil {
		err = syncErr
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Rename(d.part(), d.file()); err != nil {
		return d.errorf("%w", err)
	}
	return nil
}

// copy appends the body to the part and checks that it is whole.
func (d *download) copy(ctx context.Context, f *os.File, body io.Reader, done, total int64, alive func()) error {
	report := func() {
		if d.opts.Progress != nil {
			d.opts.Progress(Progress{Phase: "download", Done: done, Total: total})
		}
	}
	report()
	arrived := func() string {
		text := formatBytes(done)
		if total >= 0 {
			text += " of " + formatBytes(total)
		}
		if d.resumable {
			text += ": run again to continue"
		}
		return text
	}
	buf := make([]byte, 256<<10)
	for {
		n, err := body.Read(buf)
		if n > 0 {
			alive()
			if done+int64(n) > d.limit {
				return d.errorf("brings more than the limit of %s", formatBytes(d.limit))
			}
			if _, err := f.Write(buf[:n]); err != nil {
				return d.errorf("%w", err)
			}
			done += int64(n)
			report()
		}
		switch {
		case err == io.EOF && (total < 0 || done == total):
			return nil
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			return d.errorf("the connection ended after %s", arrived())
		case err != nil:
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			if errors.Is(err, context.Canceled) {
				return err
			}
			return d.errorf("%w after %s", err, arrived())
		}
	}
}

// store writes the validators of the part that is about to begin.
func (d *download) store(v validators) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	os.Remove(d.part()) // it may be of another version
	return os.WriteFile(d.info(), data, 0o644)
}

var contentRange = regexp.MustCompile(`^bytes (\d{1,18})-(\d{1,18})/(\d{1,18})$`)

// parseContentRange reads "bytes 100-199/200". A range that does not run to
// the end of the file, or an unknown size, is not ok.
func parseContentRange(s string) (start, size int64, ok bool) {
	m := contentRange.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(m[i+1], 10, 64) // at most 18 digits
	}
	return n[0], n[2], n[0] <= n[1] && n[1] == n[2]-1
}
