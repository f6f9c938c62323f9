package quicktunetable

import (
	"fmt"
	"slices"
	"sync"

	"quicktune/space"
)

var reference = sync.OnceValue(func() *Layout {
	s := space.QuickTune()
	var models, rest []string
	for i := range s.Len() {
		h := s.Param(i)
		switch {
		case h.Name == augmentation:
			rest = append(rest, random, trivial)
		case h.Name == "model":
			for _, v := range h.Choices {
				models = append(models, "cat:model:"+v.String())
			}
		case h.Type == space.Categorical:
			if !h.Default.IsInactive() {
				rest = append(rest, "cat:"+h.Name+":"+h.Default.String())
			}
			for _, v := range h.Choices {
				rest = append(rest, "cat:"+h.Name+":"+v.String())
			}
		case h.Type != space.Constant:
			rest = append(rest, h.Name)
		}
	}
	slices.Sort(models)
	slices.Sort(rest)
	l, err := NewLayout(append(models, rest...))
	if err != nil {
		// The header is derived from the embedded space: a test builds it.
		panic(fmt.Sprintf("reference layout: %v", err))
	}
	return l
})
