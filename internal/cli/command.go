package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
// counts as bad input and tells how the command is used.
func Arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := check(c, args); err != nil {
			return Inputf("%w: use %s", err, c.UseLine())
		}
		return nil
	}
}

// Conditions refuses flags that were given without what they are for, which their
// usage says: "with --trainer timm: interpreter" is only for that value of that
// flag, "with --probe or --probes: ..." for commands with either.
func Conditions(flags *pflag.FlagSet) error {
	var idle []string
	lacking := ""
	flags.Visit(func(f *pflag.Flag) {
		condition, _, _ := strings.Cut(f.Usage, ": ")
		condition, conditional := strings.CutPrefix(condition, "with ")
		if conditional && (lacking == "" || lacking == condition) && !holds(flags, condition) {
			lacking, idle = condition, append(idle, "--"+f.Name)
		}
	})
	if lacking == "" {
		return nil
	}
	return Inputf("%s: only with %s", strings.Join(idle, ", "), lacking)
}

// holds tells whether one of some flags is given, or has its value.
func holds(flags *pflag.FlagSet, condition string) bool {
	for one := range strings.SplitSeq(condition, " or ") {
		name, value, valued := strings.Cut(strings.TrimPrefix(one, "--"), " ")
		f := flags.Lookup(name)
		if f == nil {
			continue
		}
		if is := f.Value.String(); valued && is == value || !valued && f.Changed && is != "false" {
			return true
		}
	}
	return false
}
