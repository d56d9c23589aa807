package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// literal makes a help template of text, which then prints as it is.
func literal(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }

// commandHelp is what `-help` of a command prints.
func commandHelp(name string, cmd *cli.Command) string {
	var b strings.Builder
	switch {
	case len(cmd.Subcommands) > 0:
		fmt.Fprintf(&b, "Usage: %s <subcommand> [options] [args]\n", name)
	case cmd.ArgsUsage == "":
		fmt.Fprintf(&b, "Usage: %s [options]\n", name)
	default:
		fmt.Fprintf(&b, "Usage: %s [options] %s\n", name, cmd.ArgsUsage)
	}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(cmd.Description), "\n\n") {
		b.WriteByte('\n')
		if strings.HasPrefix(paragraph, "    ") { // an example
			b.WriteString("  " + strings.ReplaceAll(paragraph, "\n", "\n  ") + "\n")
		} else {
			b.WriteString(wrap(paragraph, "  "))
		}
	}
	if len(cmd.Subcommands) > 0 {
		b.WriteString("\nSubcommands:\n")
		commandList(&b, cmd.Subcommands)
		return b.String()
	}
	for _, category := range []string{apiFlags, ""} {
		flags := flagsOf(cmd, category)
		if len(flags) == 0 {
			continue
		}
		if category == "" {
			category = "Command Options"
		}
		b.WriteString("\n" + category + "\n")
		for _, f := range flags {
			value := ""
			if f.TakesValue() {
				value = "=<value>"
			}
			fmt.Fprintf(&b, "\n  -%s%s\n%s", f.Names()[0], value, wrap(sentence(f.GetUsage()), "     "))
		}
	}
	return b.String()
}

// flagsOf lists a command's flags of a category by name.
func flagsOf(cmd *cli.Command, category string) []cli.DocGenerationFlag {
	var flags []cli.DocGenerationFlag
	for _, f := range cmd.Flags {
		in := ""
		if c, ok := f.(cli.CategorizableFlag); ok {
			in = c.GetCategory()
		}
		if d, ok := f.(cli.DocGenerationFlag); ok && in == category {
			flags = append(flags, d)
		}
	}
	slices.SortFunc(flags, func(a, b cli.DocGenerationFlag) int { return strings.Compare(a.Names()[0], b.Names()[0]) })
	return flags
}

// sentence makes one of a table's short description.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + strings.TrimSuffix(s[1:], ".") + "."
}

// wrap breaks text into lines of at most 76 columns.
func wrap(text, indent string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
			b.WriteString(indent + word)
			column = len(indent) + len(word)
			continue
		case column+1+len(word) > 76:
			b.WriteString("\n" + indent + word)
			column = len(indent) + len(word)
		default:
			b.WriteString(" " + word)
			column += 1 + len(word)
		}
	}
	b.WriteByte('\n')
	return b.String()
}
