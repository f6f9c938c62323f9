package space

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// The format field of a description, and the version that this package writes
// and reads.
const (
	jsonFormat  = "quicktune-space"
	jsonVersion = 1
)

// spaceJSON is the layout of a description. Field order is part of the
// canonical form.
type spaceJSON struct {
	Format          string      `json:"format"`
	Version         int         `json:"version"`
	Name            string      `json:"name"`
	Hyperparameters []paramJSON `json:"hyperparameters"`
	Conditions      []Condition `json:"conditions"`
}

type paramJSON struct {
	Name    string  `json:"name"`
	Type    string  `json:"type"`
	Choices []Value `json:"choices,omitempty"`
	Lower   Value   `json:"lower,omitzero"`
	Upper   Value   `json:"upper,omitzero"`
	Log     bool    `json:"log,omitempty"`
	Default Value   `json:"default,omitzero"`
	Group   string  `json:"group,omitempty"`
}

// MarshalJSON writes None as null, and a Float so that it is told from an Int:
// 1.0. An Inactive value and numbers that are not finite are errors.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.kind {
	case KindNone:
		return []byte("null"), nil
	case KindBool, KindInt:
		return []byte(v.String()), nil
	case KindFloat:
		if math.IsNaN(v.num) || math.IsInf(v.num, 0) {
			return nil, fmt.Errorf("number %g has no JSON form", v.num)
		}
		text := v.String()
		if !strings.ContainsAny(text, ".e") {
			text += ".0"
		}
		return []byte(text), nil
	case KindString:
		return marshalPlain(v.str)
	}
	return nil, errors.New("an inactive value has no JSON form: leave it out")
}

// UnmarshalJSON reads null as None, a number with a point or an exponent as a
// Float and any other one as an Int.
func (v *Value) UnmarshalJSON(data []byte) error {
	switch text := string(data); {
	case text == "null":
		*v = None
	case text == "true" || text == "false":
		*v = Bool(text == "true")
	case strings.HasPrefix(text, `"`):
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*v = String(s)
	case strings.HasPrefix(text, "[") || strings.HasPrefix(text, "{"):
		return errors.New("a value is null, true, false, a number or a text, not a list or an object")
	case strings.ContainsAny(text, ".eE"):
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("number %.40s is beyond the range of a float64", text)
		}
		*v = Float(f)
	default:
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil || i > maxInt || i < -maxInt {
			return fmt.Errorf("whole number %.40s is beyond 2^53", text)
		}
		*v = Int(i)
	}
	return nil
}

// marshalPlain encodes without the escapes that are meant for HTML.
func marshalPlain(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// MarshalJSON writes the description that [Parse] reads. The same space always
// gives the same bytes.
func (s *Space) MarshalJSON() ([]byte, error) {
	out := spaceJSON{
		Format:          jsonFormat,
		Version:         jsonVersion,
		Name:            s.name,
		Hyperparameters: make([]paramJSON, len(s.params)),
		Conditions:      s.conds,
	}
	if out.Conditions == nil {
		out.Conditions = []Condition{}
	}
	for i, h := range s.params {
		p := paramJSON{Name: h.Name, Type: h.Type.String(), Choices: h.Choices, Log: h.Log, Default: h.Default, Group: h.Group}
		switch h.Type {
		case Real:
			p.Lower, p.Upper = Float(h.Lower), Float(h.Upper)
		case Integer:
			p.Lower, p.Upper = Int(int64(h.Lower)), Int(int64(h.Upper))
		}
		out.Hyperparameters[i] = p
	}
	return marshalPlain(out)
}

func (s *Space) computeHash() (string, error) {
	data, err := s.MarshalJSON()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// Hash returns the SHA-256 of the canonical JSON, the bytes of
// [Space.MarshalJSON], in lower-case hexadecimal.
func (s *Space) Hash() string { return s.hash }

// Parse reads a description in the package's own JSON format. Unknown fields,
// other versions and anything that [New] refuses are errors that say where.
// In hand-written files 1 may stand for 1.0 wherever the hyperparameter has
// fractions.
func Parse(data []byte) (*Space, error) {
	var in spaceJSON
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return nil, fmt.Errorf("space JSON: %w", placeError(data, err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("space JSON: something follows the description")
	}
	if in.Format != jsonFormat {
		return nil, fmt.Errorf("space JSON: format is %q, not %q", in.Format, jsonFormat)
	}
	if in.Version != jsonVersion {
		return nil, fmt.Errorf("space JSON: version is %d, this program reads %d", in.Version, jsonVersion)
	}
	params := make([]Hyperparameter, len(in.Hyperparameters))
	byName := map[string]*Hyperparameter{}
	for i, p := range in.Hyperparameters {
		h, err := p.hyperparameter()
		if err != nil {
			return nil, fmt.Errorf("space JSON: hyperparameter %q: %w", p.Name, err)
		}
		params[i] = h
		byName[h.Name] = &params[i]
	}
	coerceConditions(in.Conditions, byName)
	s, err := New(in.Name, params, in.Conditions)
	if err != nil {
		return nil, fmt.Errorf("space JSON: %w", err)
	}
	return s, nil
}

func (p paramJSON) hyperparameter() (Hyperparameter, error) {
	h := Hyperparameter{Name: p.Name, Choices: p.Choices, Log: p.Log, Default: p.Default, Group: p.Group}
	known := false
	for t, name := range typeNames {
		if name == p.Type {
			h.Type, known = Type(t), true
		}
	}
	if !known {
		return h, fmt.Errorf("unknown type %q: use %s", p.Type, strings.Join(typeNames[:], ", "))
	}
	switch h.Type {
	case Real, Integer:
		for _, bound := range []Value{p.Lower, p.Upper} {
			if bound.kind != KindInt && bound.kind != KindFloat {
				return h, fmt.Errorf("type %s needs the numbers lower and upper", p.Type)
			}
		}
		h.Lower, h.Upper = p.Lower.num, p.Upper.num
	default:
		if !p.Lower.IsInactive() || !p.Upper.IsInactive() {
			return h, fmt.Errorf("type %s has choices, not bounds", p.Type)
		}
		promoteChoices(h.Choices)
	}
	return h, nil
}

// promoteChoices makes all numbers Floats if one of them is.
func promoteChoices(choices []Value) {
	for _, v := range choices {
		if v.kind == KindFloat {
			for i, w := range choices {
				if w.kind == KindInt {
					choices[i] = Float(w.num)
				}
			}
			return
		}
	}
}

// coerceConditions gives the numbers in conditions the kind that their parents
// have.
func coerceConditions(conds []Condition, params map[string]*Hyperparameter) {
	for _, c := range conds {
		for _, all := range c.AnyOf {
			for _, clause := range all {
				if h := params[clause.Parent]; h != nil {
					for i, v := range clause.Values {
						clause.Values[i] = h.coerce(v)
					}
				}
			}
		}
	}
}

// placeError adds the line to an error of the JSON decoder where it is known.
func placeError(data []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &mismatch):
		offset = mismatch.Offset
	}
	if offset < 0 || offset > int64(len(data)) {
		return err
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(data[:offset], []byte("\n")), err)
}
