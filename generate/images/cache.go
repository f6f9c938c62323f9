package images

import (
	"context"
	"fmt"
	"sync"

	"quicktune/generate/trainer"
)

// Cache hands out split data sets by name and keeps the last few in memory. It
// may be used by several goroutines; a set is loaded once, however many ask.
type Cache struct {
	load func(ctx context.Context, name string) (*trainer.Images, error)
	keep int

	mu    sync.Mutex
	sets  map[string]*cached
	order []string // the least recently used first
}

type cached struct {
	ready  chan struct{}
	images *trainer.Images
	err    error
}

// NewCache returns a cache of keep data sets, at least 1, that load loads.
func NewCache(keep int, load func(ctx context.Context, name string) (*trainer.Images, error)) *Cache {
	return &Cache{load: load, keep: max(1, keep), sets: make(map[string]*cached)}
}

// Get returns a data set. An error is not kept: the next Get tries again.
func (c *Cache) Get(ctx context.Context, name string) (*trainer.Images, error) {
	c.mu.Lock()
	entry, ok := c.sets[name]
	if !ok {
		entry = &cached{ready: make(chan struct{})}
		c.sets[name] = entry
	}
	c.touch(name)
	c.mu.Unlock()
	if ok {
		select {
		case <-entry.ready:
			return entry.images, entry.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	entry.err = fmt.Errorf("loading data set %q stopped", name) // should load panic
	defer func() {
		if entry.err != nil {
			c.mu.Lock()
			if c.sets[name] == entry {
				delete(c.sets, name)
			}
			c.mu.Unlock()
		}
		close(entry.ready)
	}()
	entry.images, entry.err = c.load(ctx, name)
	return entry.images, entry.err
}

// touch makes name the most recently used and drops what is too much.
func (c *Cache) touch(name string) {
	for i, n := range c.order {
		if n == name {
			c.order = append(c.order[:i], c.order[i+1:]...)
			break
		}
	}
	c.order = append(c.order, name)
	for len(c.order) > c.keep {
		delete(c.sets, c.order[0])
		c.order = c.order[1:]
	}
}
