package importers

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth bounds the nesting of the JSON that is read.
const maxDepth = 64

// scanner reads one JSON document, front to back. Its methods consume one
// value each and return an error with the file and the line where it is not
// what was asked for. NaN, Infinity and -Infinity, which Python writes, are
// numbers.
type scanner struct {
	file string
	data []byte
	pos  int
}

func newScanner(file string, data []byte) *scanner {
	return &scanner{file: file, data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
}

// errorf reports a problem at the current position.
func (s *scanner) errorf(format string, args ...any) error {
	pos := min(s.pos, len(s.data))
	line := 1 + bytes.Count(s.data[:pos], []byte("\n"))
	column := pos - bytes.LastIndexByte(s.data[:pos], '\n')
	return fmt.Errorf("%s: line %d, column %d: %s", s.file, line, column, fmt.Sprintf(format, args...))
}

// unexpected reports that the value at the current position is not a want.
func (s *scanner) unexpected(want string) error {
	c, ok := s.peek()
	switch {
	case !ok:
		return s.errorf("the file ends where %s should be: truncated?", want)
	case c < ' ' || c >= utf8.RuneSelf:
		return s.errorf("byte %#x where %s should be", c, want)
	}
	return s.errorf("%q where %s should be", c, want)
}

// peek returns the next byte that is not white space, without consuming it.
func (s *scanner) peek() (byte, bool) {
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c, true
		}
	}
	return 0, false
}

func (s *scanner) consume(c byte) bool {
	if got, ok := s.peek(); !ok || got != c {
		return false
	}
	s.pos++
	return true
}

// object calls each with every key of an object; each must consume the value.
// A key that occurs twice is an error.
func (s *scanner) object(want string, each func(key string) error) error {
	if !s.consume('{') {
		return s.unexpected(want)
	}
	if s.consume('}') {
		return nil
	}
	seen := make(map[string]struct{})
	for {
		if c, ok := s.peek(); !ok || c != '"' {
			return s.unexpected("a key")
		}
		start := s.pos
		key, err := s.text()
		if err != nil {
			return err
		}
		if _, twice := seen[key]; twice {
			s.pos = start
			return s.errorf("key %q occurs twice", key)
		}
		seen[key] = struct{}{}
		if !s.consume(':') {
			return s.unexpected("a colon")
		}
		if err := each(key); err != nil {
			return err
		}
		if s.consume('}') {
			return nil
		}
		if !s.consume(',') {
			return s.unexpected("a comma or }")
		}
	}
}

// array calls each for every element of an array; each must consume it.
func (s *scanner) array(want string, each func(i int) error) error {
	if !s.consume('[') {
		return s.unexpected(want)
	}
	if s.consume(']') {
		return nil
	}
	for i := 0; ; i++ {
		if err := each(i); err != nil {
			return err
		}
		if s.consume(']') {
			return nil
		}
		if !s.consume(',') {
			return s.unexpected("a comma or ]")
		}
	}
}

// floats appends an array of numbers to dst.
func (s *scanner) floats(want string, dst []float64) ([]float64, error) {
	err := s.array(want, func(int) error {
		x, err := s.number()
		dst = append(dst, x)
		return err
	})
	return dst, err
}

// text reads a string.
func (s *scanner) text() (string, error) {
	if !s.consume('"') {
		return "", s.unexpected("a string")
	}
	start := s.pos
	for s.pos < len(s.data) {
		switch c := s.data[s.pos]; {
		case c == '"':
			raw := s.data[start:s.pos]
			s.pos++
			if !utf8.Valid(raw) {
				return "", s.errorf("the string before this place is not valid UTF-8")
			}
			return string(raw), nil
		case c == '\\':
			return s.escapedText(start)
		case c < ' ':
			return "", s.errorf("control character %#x in a string", c)
		}
		s.pos++
	}
	return "", s.errorf("the file ends inside a string: truncated?")
}

// escapedText finishes a string that started at start and has an escape at
// the current position.
func (s *scanner) escapedText(start int) (string, error) {
	text := bytes.Clone(s.data[start:s.pos])
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		switch {
		case c == '"':
			s.pos++
			if !utf8.Valid(text) {
				return "", s.errorf("the string before this place is not valid UTF-8")
			}
			return string(text), nil
		case c < ' ':
			return "", s.errorf("control character %#x in a string", c)
		case c != '\\':
			text = append(text, c)
			s.pos++
			continue
		}
		r, err := s.escape()
		if err != nil {
			return "", err
		}
		text = utf8.AppendRune(text, r)
	}
	return "", s.errorf("the file ends inside a string: truncated?")
}

var simpleEscapes = map[byte]rune{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

// escape reads one backslash escape, or two that form a surrogate pair.
func (s *scanner) escape() (rune, error) {
	if s.pos+1 >= len(s.data) {
		return 0, s.errorf("the file ends inside a string: truncated?")
	}
	c := s.data[s.pos+1]
	if c == 'u' {
		r, ok := s.hex4(s.pos + 2)
		if !ok {
			return 0, s.errorf(`\u wants four hexadecimal digits`)
		}
		s.pos += 6
		if utf16.IsSurrogate(r) && bytes.HasPrefix(s.data[s.pos:], []byte(`\u`)) {
			if low, ok := s.hex4(s.pos + 2); ok {
				if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
					s.pos += 6
					return pair, nil
				}
			}
		}
		return r, nil
	}
	r, ok := simpleEscapes[c]
	if !ok {
		return 0, s.errorf("unknown escape in a string")
	}
	s.pos += 2
	return r, nil
}

func (s *scanner) hex4(at int) (rune, bool) {
	if at+4 > len(s.data) {
		return 0, false
	}
	var r rune
	for _, c := range s.data[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

var namedNumbers = []struct {
	name  string
	value float64
}{{"NaN", math.NaN()}, {"Infinity", math.Inf(1)}, {"-Infinity", math.Inf(-1)}}

// number reads a number, NaN, Infinity or -Infinity.
func (s *scanner) number() (float64, error) {
	c, ok := s.peek()
	if !ok || c != '-' && (c < '0' || c > '9') && c != 'N' && c != 'I' {
		return 0, s.unexpected("a number")
	}
	for _, n := range namedNumbers {
		if c == n.name[0] && bytes.HasPrefix(s.data[s.pos:], []byte(n.name)) {
			s.pos += len(n.name)
			return n.value, nil
		}
	}
	start := s.pos
	end := numberEnd(s.data, start)
	if end < 0 {
		return 0, s.errorf("not a number")
	}
	s.pos = end
	x, err := strconv.ParseFloat(string(s.data[start:end]), 64)
	if err != nil {
		s.pos = start
		if errors.Is(err, strconv.ErrRange) {
			return 0, s.errorf("number out of range: %s", s.data[start:end])
		}
		return 0, s.errorf("not a number")
	}
	return x, nil
}

// numberEnd returns the position after the JSON number at start, -1 if there
// is none.
func numberEnd(data []byte, start int) int {
	i := start
	digits := func() bool {
		first := i
		for i < len(data) && '0' <= data[i] && data[i] <= '9' {
			i++
		}
		return i > first
	}
	if i < len(data) && data[i] == '-' {
		i++
	}
	whole := i
	if !digits() || data[whole] == '0' && i > whole+1 {
		return -1
	}
	if i < len(data) && data[i] == '.' {
		i++
		if !digits() {
			return -1
		}
	}
	if i < len(data) && (data[i] == 'e' || data[i] == 'E') {
		i++
		if i < len(data) && (data[i] == '+' || data[i] == '-') {
			i++
		}
		if !digits() {
			return -1
		}
	}
	return i
}

// literal consumes the word if it comes next.
func (s *scanner) literal(word string) bool {
	if _, ok := s.peek(); !ok || !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return false
	}
	s.pos += len(word)
	return true
}

// skip consumes any one value.
func (s *scanner) skip() error { return s.skipDepth(0) }

func (s *scanner) skipDepth(depth int) error {
	if depth > maxDepth {
		return s.errorf("nested deeper than %d levels", maxDepth)
	}
	c, _ := s.peek()
	switch {
	case c == '{':
		return s.object("an object", func(string) error { return s.skipDepth(depth + 1) })
	case c == '[':
		return s.array("an array", func(int) error { return s.skipDepth(depth + 1) })
	case c == '"':
		_, err := s.text()
		return err
	case s.literal("null"), s.literal("true"), s.literal("false"):
		return nil
	}
	if c == '-' || '0' <= c && c <= '9' || c == 'N' || c == 'I' {
		_, err := s.number()
		return err
	}
	return s.unexpected("a value")
}

// end checks that nothing but white space is left.
func (s *scanner) end() error {
	if _, more := s.peek(); more {
		return s.errorf("more text after the end of the document")
	}
	return nil
}
