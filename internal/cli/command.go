package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Execute runs a command line on a tree of commands, with errors left to the
// caller and bad flags and unknown commands marked as bad input.
func Execute(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer) error {
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SilenceErrors = true
	root.SilenceUsage = true
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return Inputf("%w (%s --help lists the flags)", err, c.CommandPath())
	})
	err := root.ExecuteContext(ctx)
	if err != nil && strings.HasPrefix(err.Error(), "unknown command") {
		return Input(err)
	}
	return err
}

// Arguments wraps cobra's check of positional arguments, so that a wrong one
// counts as bad input.
func Arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error { return Input(check(c, args)) }
}
