// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/nearest"
	"copse/internal/view"
)

// app is one run of the program: what commands share.
type app struct {
	streams Streams
	parts   parts
	args    []string
	view    *view.View
	global  globals
	agent   *client.Client // made at first use
	input   *bufio.Reader  // of what is asked, made at first use
}

// globals are the flags that every command has.
type globals struct {
	format, host, cloud, socket string
	envFiles                    []string
}

// The groups of commands in the help.
const (
	groupRun   = "run"
	groupLook  = "look"
	groupImage = "image"
	groupOther = "other"
)

// root makes the tree of commands.
func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "copse",
		Short: "Run OpenStack as trees of container sets",
		Long: `Copse runs OpenStack as trees of container sets: it builds the images, starts the cloud,
and changes any part of it without touching another.

NAME is a container, a set or a component; where a name is ambiguous, set/NAME or
component/NAME. No NAME means the whole cloud.`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run the cloud:"},
		&cobra.Group{ID: groupLook, Title: "Look at it:"},
		&cobra.Group{ID: groupImage, Title: "Images and files:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	flags := root.PersistentFlags()
	flags.StringVar(&a.global.format, "format", "", "the `FORMAT` of output: human, plain or json (default: human on a terminal, else plain)")
	flags.StringVar(&a.global.host, "host", "", "the `ADDRESS` of another host, reached by SSH: [user@]host[:port]")
	flags.StringVar(&a.global.cloud, "cloud", "", "the cloud `FILE` (default: ./cloud.yaml, else /etc/copse/cloud.yaml, else none)")
	flags.StringArrayVar(&a.global.envFiles, "env-file", nil, "a `FILE` of KEY=VALUE lines that set values; may be repeated")
	flags.StringVar(&a.global.socket, "socket", "", "the `PATH` of the agent's socket (default: $COPSE_SOCKET, else "+api.DefaultSocket+")")
	root.SetFlagErrorFunc(a.flagError)
	for group, commands := range map[string][]*cobra.Command{
		groupRun:   {a.up(), a.plan(), a.preflight(), a.upgrade(), a.rollback(), a.start(), a.stop(), a.restart(), a.down(), a.abort(), a.retry(), a.runJob(), a.secret()},
		groupLook:  {a.ps(), a.tree(), a.logs(), a.top(), a.exec(), a.health(), a.config(), a.verify(), a.history(), a.incidents(), a.changes(), a.change(), a.jobs()},
		groupImage: {a.build(), a.images(), a.prune(), a.render(), a.openrc(), a.values()},
		groupOther: {a.runAgent(), a.versionCommand(), a.completion()},
	} {
		for _, command := range commands {
			command.GroupID = group
			command.DisableFlagsInUseLine = true
			root.AddCommand(command)
		}
	}
	root.SetHelpCommandGroupID(groupOther)
	completeFlag(root, "format", cobra.FixedCompletions(view.Formats(), cobra.ShellCompDirectiveNoFileComp))
	return root
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

// hint names the nearest of the known names: `; did you mean "x"?`, or nothing.
func hint(name string, known []string) string { return nearest.Hint(name, known) }

// unknownCommand is the error for a word that is no command below cmd.
func unknownCommand(cmd *cobra.Command, name string) error {
	var known []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			known = append(known, c.Name())
		}
	}
	return &usageError{fmt.Sprintf("unknown command %q%s: `%s --help` lists what there is", name, hint(name, known), cmd.CommandPath())}
}

// flagError makes a usage error of what the parser of flags says, with the nearest flag.
func (a *app) flagError(cmd *cobra.Command, err error) error {
	if !cmd.HasParent() {
		for _, arg := range a.args {
			if !strings.HasPrefix(arg, "-") {
				return unknownCommand(cmd, arg)
			}
		}
	}
	suggestion := ""
	unknown := (*pflag.NotExistError)(nil)
	if errors.As(err, &unknown) && len(unknown.GetSpecifiedName()) > 1 {
		var known []string
		collect := func(f *pflag.Flag) { known = append(known, "--"+f.Name) }
		cmd.Flags().VisitAll(collect)
		cmd.InheritedFlags().VisitAll(collect)
		suggestion = hint("--"+unknown.GetSpecifiedName(), known)
	}
	return &usageError{fmt.Sprintf("%v%s: see `%s --help`", err, suggestion, cmd.CommandPath())}
}

// arguments checks the number of arguments; most < 0 is any number. what names them in the message.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return &usageError{fmt.Sprintf("`%s` needs %s: see `%s --help`", cmd.CommandPath(), what, cmd.CommandPath())}
		case most == 0 && len(args) > 0:
			return &usageError{fmt.Sprintf("`%s` takes no arguments, but was given %q", cmd.CommandPath(), args[0])}
		case most >= 0 && len(args) > most:
			return &usageError{fmt.Sprintf("`%s` takes %s, but was given %q as well", cmd.CommandPath(), what, args[most])}
		}
		return nil
	}
}

// parent makes a command that only has others below it.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use: use, Short: short, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	for _, child := range children {
		child.DisableFlagsInUseLine = true
		command.AddCommand(child)
	}
	return command
}

// socket is where the agent listens.
func (a *app) socket() string {
	if a.global.socket != "" {
		return a.global.socket
	}
	if socket := a.streams.env("COPSE_SOCKET"); socket != "" {
		return socket
	}
	return api.DefaultSocket
}

// client returns the client of the agent that the flags name.
func (a *app) client() (*client.Client, error) {
	if a.agent != nil {
		return a.agent, nil
	}
	dialer := client.Unix(a.socket())
	if a.global.host != "" {
		var err error
		dialer, err = client.SSH(client.SSHOptions{
			Destination:      a.global.host,
			Socket:           a.socket(),
			AgentSocket:      a.streams.env("SSH_AUTH_SOCK"),
			Home:             a.streams.env("HOME"),
			SystemKnownHosts: "/etc/ssh/ssh_known_hosts",
		})
		if err != nil {
			return nil, &usageError{err.Error()}
		}
	}
	a.agent = client.New(dialer)
	return a.agent, nil
}

// declaration is what the flags and the environment say about what is wanted.
func (a *app) declaration(address string) declaration {
	d := declaration{CloudFile: a.global.cloud, EnvFiles: a.global.envFiles, Environment: a.streams.Environ, Address: address, Elsewhere: a.global.host != ""}
	if d.CloudFile == "" {
		for _, file := range []string{"cloud.yaml", filepath.Join("/etc", "copse", "cloud.yaml")} {
			if _, err := os.Stat(file); err == nil {
				d.CloudFile = file
				break
			}
		}
	}
	return d
}

// operator is who asks, for the history.
func (a *app) operator() string {
	for _, name := range []string{"SUDO_USER", "USER", "LOGNAME"} {
		if value := a.streams.env(name); value != "" {
			return value
		}
	}
	// Service managers and bare shells set none of these.
	if current, err := user.Current(); err == nil {
		return current.Username
	}
	return ""
}

// ask calls the agent.
func ask[T any](a *app, call func(*client.Client) (T, error)) (T, error) {
	c, err := a.client()
	if err != nil {
		var zero T
		return zero, err
	}
	return call(c)
}
