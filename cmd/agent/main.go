package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

func main() {
	os.Exit(run(context.Background(), os.Args, os.Stdin, os.Stdout, os.Stderr))
}

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitNothing = 2   // nothing matches what was asked for
	exitUnknown = 127 // no such command
)

// run runs one command line and gives the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	err := newApp(in, out, errOut).RunContext(ctx, args)
	if err == nil {
		return exitOK
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(errOut, strings.TrimRight(text, "\n"))
	}
	if coder := cli.ExitCoder(nil); errors.As(err, &coder) {
		return coder.ExitCode()
	}
	return exitFailed
}

// newApp builds the command tree.
func newApp(in io.Reader, out, errOut io.Writer) *cli.App {
	app := &cli.App{
		Name:                      "muster",
		HelpName:                  "muster",
		Usage:                     "service discovery",
		Reader:                    in,
		Writer:                    out,
		ErrWriter:                 errOut,
		HideVersion:               true, // ours prints what Consul's does
		HideHelpCommand:           true,
		DisableSliceFlagSeparator: true, // a tag may hold a comma
		ExitErrHandler:            func(*cli.Context, error) {},
		Flags:                     []cli.Flag{&cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print the version"}},
		Commands: []*cli.Command{
			agentCommand(), catalogCommand(), configCommand(), connectCommand(), debugCommand(), eventCommand(), forceLeaveCommand(), infoCommand(),
			intentionCommand(), joinCommand(), keygenCommand(), keyringCommand(), kvCommand(), leaveCommand(), lockCommand(), maintCommand(), membersCommand(), monitorCommand(),
			operatorCommand(), reloadCommand(), rttCommand(), servicesCommand(), snapshotCommand(), tlsCommand(), validateCommand(), versionCommand(),
			watchCommand(),
		},
	}
	app.CustomAppHelpTemplate = literal(usage(app))
	app.OnUsageError = usageError
	app.Action = func(c *cli.Context) error {
		switch name := c.Args().First(); {
		case c.Bool("version"):
			printVersion(out)
			return nil
		case name == "":
			return cli.Exit(usage(app), exitUnknown)
		default:
			return cli.Exit(fmt.Sprintf("muster: there is no command %q\n\n%s", name, usage(app)), exitUnknown)
		}
	}
	prepare("muster", app.Commands)
	return app
}

// prepare gives commands what all of them have: their help, and how they speak
// of wrong flags and subcommands.
func prepare(parent string, commands []*cli.Command) {
	for _, cmd := range commands {
		name := parent + " " + cmd.Name
		cmd.HideHelpCommand = true
		cmd.CustomHelpTemplate = literal(commandHelp(name, cmd))
		cmd.OnUsageError = usageError
		if len(cmd.Subcommands) == 0 {
			continue
		}
		cmd.Action = func(c *cli.Context) error {
			text := commandHelp(name, cmd)
			if sub := c.Args().First(); sub != "" {
				text = fmt.Sprintf("%s: there is no subcommand %q\n\n%s", name, sub, text)
			}
			return cli.Exit(text, exitFailed)
		}
		prepare(name, cmd.Subcommands)
	}
}

func usageError(c *cli.Context, err error, _ bool) error {
	return fmt.Errorf("%w\nRun `%s -help` for the flags it has", err, strings.TrimSpace(c.Command.HelpName))
}

// failure is an error in Consul's words, which begin with a capital letter.
func failure(format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...), exitFailed)
}

// noArgs refuses arguments to a command that takes none.
func noArgs(c *cli.Context) error {
	if n := c.NArg(); n > 0 {
		return failure("Too many arguments (expected 0, got %d)", n)
	}
	return nil
}

func usage(app *cli.App) string {
	var b strings.Builder
	b.WriteString("Usage: muster [--version] [--help] <command> [<args>]\n\nAvailable commands are:\n")
	commandList(&b, app.Commands)
	return b.String()
}

func commandList(b *strings.Builder, commands []*cli.Command) {
	sorted := slices.Clone(commands)
	slices.SortFunc(sorted, func(a, b *cli.Command) int { return strings.Compare(a.Name, b.Name) })
	width := 0
	for _, cmd := range sorted {
		width = max(width, len(cmd.Name))
	}
	for _, cmd := range sorted {
		fmt.Fprintf(b, "    %-*s    %s\n", width, cmd.Name, cmd.Usage)
	}
}
