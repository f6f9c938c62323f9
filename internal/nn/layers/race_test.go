//go:build race

package layers

func init() { raced = true }
