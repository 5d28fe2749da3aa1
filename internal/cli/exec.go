// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/muesli/cancelreader"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"copse/internal/api"
	"copse/internal/client"
	"copse/internal/view"
)

func (a *app) exec() *cobra.Command {
	var (
		user  string
		noTTY bool
	)
	command := &cobra.Command{
		Use:   "exec NAME -- CMD…",
		Short: "Run a command inside a container",
		Long: `Run a command inside a container. It gets a terminal where standard input and output are one. The
exit code is the command's. With --format json output comes as objects with base64 data in
stdout or stderr, the last one with exit.`,
		Example: `  copse exec mariadb -- mariadb --version
  copse exec keystone -- bash`,
		Args:              arguments(2, -1, "the NAME of a container and a command"),
		ValidArgsFunction: a.completeContainer,
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] == "--" {
				args = append(args[:1:1], args[2:]...)
			}
			if len(args) < 2 {
				return arguments(2, -1, "the NAME of a container and a command")(cmd, args)
			}
			_, in := terminal(a.streams.In)
			_, out := terminal(a.streams.Out)
			request := api.ExecRequest{
				Container: args[0], Command: args[1:], User: user,
				TTY: in && out && !noTTY && a.view.Format() != view.JSON,
			}
			return a.execute(cmd.Context(), request)
		},
	}
	// What comes after NAME is the command's, its flags too.
	command.Flags().SetInterspersed(false)
	command.Flags().StringVarP(&user, "user", "u", "", "run as this `USER` instead of the container's own")
	command.Flags().BoolVarP(&noTTY, "no-tty", "T", false, "give it no terminal")
	return command
}

// execute runs the command and passes input, output and the size of the terminal on.
func (a *app) execute(ctx context.Context, request api.ExecRequest) error {
	restore := func() error { return nil }
	screen, _ := terminal(a.streams.Out)
	if request.TTY {
		request.Width, request.Height = screenSize(screen)
	}
	stream, err := ask(a, func(c *client.Client) (*client.ExecStream, error) { return c.Exec(ctx, request) })
	if err != nil {
		return err
	}
	closed := sync.OnceValue(stream.Close)
	defer context.AfterFunc(ctx, func() { _ = closed() })() // the loop below sees the end
	if request.TTY {
		keyboard, _ := terminal(a.streams.In)
		state, err := term.MakeRaw(int(keyboard.Fd()))
		if err != nil {
			return errors.Join(fmt.Errorf("cannot make the terminal raw: %w", err), closed())
		}
		restore = func() error { return term.Restore(int(keyboard.Fd()), state) }
	}

	var owned sync.WaitGroup
	stopInput := a.sendInput(stream, &owned)
	stopSizes := func() {}
	if request.TTY {
		stopSizes = sendSizes(stream, screen, &owned)
	}
	status, err := a.receive(stream)
	_ = closed() // nothing more is wanted from it; err says what went wrong
	stopInput()
	stopSizes()
	owned.Wait()
	if restoreErr := restore(); err == nil {
		err = restoreErr
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return err
	case status != 0:
		return exit(status)
	}
	return nil
}

// receive writes what the program writes and returns its exit status.
func (a *app) receive(stream *client.ExecStream) (int, error) {
	for {
		frame, err := stream.Receive()
		if err != nil {
			return 0, err
		}
		if frame.Error != "" {
			return 0, errors.New(frame.Error)
		}
		if a.view.Format() == view.JSON {
			err = a.view.Frame(&frame)
		} else {
			_, outErr := a.streams.Out.Write(frame.Stdout)
			_, errErr := a.streams.Err.Write(frame.Stderr)
			err = errors.Join(outErr, errErr)
		}
		if err != nil {
			return 0, err
		}
		if frame.Exit != nil {
			return *frame.Exit, nil
		}
	}
}

// sendInput passes standard input on until its end. stop ends it; where a read cannot be ended
// (a regular file, a pipe of a test) nobody waits for it.
func (a *app) sendInput(stream *client.ExecStream, owned *sync.WaitGroup) (stop func()) {
	reader, err := cancelreader.NewReader(a.streams.In)
	if err != nil {
		// No poll on this file: it is read without.
		go pump(stream, a.streams.In)
		return func() {}
	}
	finished := make(chan struct{})
	owned.Add(1)
	release := sync.OnceFunc(owned.Done)
	go func() {
		defer close(finished)
		defer release()
		pump(stream, reader)
	}()
	return func() {
		if !reader.Cancel() {
			release()
			return
		}
		<-finished
		_ = reader.Close() // it only gives the poll's descriptors back
	}
}

// pump sends what it reads as frames, then the end. An error of sending is seen by the receiver too.
func pump(stream *client.ExecStream, in io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := in.Read(buffer)
		if n > 0 {
			if stream.Send(api.Frame{Stdin: buffer[:n]}) != nil {
				return
			}
		}
		if err != nil {
			_ = stream.Send(api.Frame{EOF: true}) // the receiver sees a broken stream
			return
		}
	}
}

// sendSizes passes changes of the terminal's size on until stop.
func sendSizes(stream *client.ExecStream, screen *os.File, owned *sync.WaitGroup) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	owned.Go(func() {
		for range changed {
			width, height := screenSize(screen)
			if stream.Send(api.Frame{Width: width, Height: height}) != nil {
				return
			}
		}
	})
	return func() {
		signal.Stop(changed)
		close(changed)
	}
}

func screenSize(screen *os.File) (width, height uint) {
	w, h, err := term.GetSize(int(screen.Fd()))
	if err != nil || w < 0 || h < 0 {
		return 0, 0
	}
	return uint(w), uint(h)
}
