// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"copse/internal/view"
)

// interactive reports whether there is somebody to ask.
func (a *app) interactive() bool {
	if _, in := terminal(a.streams.In); !in || a.view.Format() == view.JSON {
		return false
	}
	screen, err := a.screen()
	if err != nil {
		return false
	}
	return screen.Close() == nil
}

// screen is where questions go: the stream for errors, or where that is not a terminal (as in
// `copse up 2>log`) the terminal itself.
func (a *app) screen() (io.WriteCloser, error) {
	if file, ok := terminal(a.streams.Err); ok {
		return keepOpen{file}, nil
	}
	return os.OpenFile("/dev/tty", os.O_WRONLY, 0)
}

// keepOpen is a stream that belongs to somebody else.
type keepOpen struct{ io.Writer }

func (keepOpen) Close() error { return nil }

// errDeclined is the answer "no"; nothing has been done.
var errDeclined = errors.New("nothing was done: you said no")

// confirm asks a question whose answer is yes or no; no is the default.
func (a *app) confirm(ctx context.Context, question string) error {
	answer, err := a.prompt(ctx, question+" [y/N] ")
	if err != nil {
		return err
	}
	switch strings.ToLower(answer) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}

// confirmTyped asks for a word to be typed: for what cannot be undone.
func (a *app) confirmTyped(ctx context.Context, question, word string) error {
	answer, err := a.prompt(ctx, fmt.Sprintf("%s Type %s to go on: ", question, word))
	if err != nil {
		return err
	}
	if answer != word {
		return errDeclined
	}
	return nil
}

// prompt asks and reads one line. An interrupt ends the wait; the read itself cannot be ended
// and goes with the process.
func (a *app) prompt(ctx context.Context, question string) (string, error) {
	screen, err := a.screen()
	if err != nil {
		return "", fmt.Errorf("cannot ask: %w", err)
	}
	defer screen.Close()
	if _, err := fmt.Fprint(screen, question); err != nil {
		return "", err
	}
	type line struct {
		text string
		err  error
	}
	read := make(chan line, 1)
	if a.input == nil {
		a.input = bufio.NewReader(a.streams.In)
	}
	go func() {
		text, err := a.input.ReadString('\n')
		read <- line{strings.TrimSpace(text), err}
	}()
	select {
	case <-ctx.Done():
		_, _ = fmt.Fprintln(screen) // the prompt's line is open still
		return "", ctx.Err()
	case answer := <-read:
		if answer.err != nil && answer.text == "" {
			return "", errDeclined
		}
		return answer.text, nil
	}
}
