// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/client"

	"copse/internal/engine"
)

// Logs implements engine.Processes.
func (e *Engine) Logs(ctx context.Context, id string, options engine.LogOptions, handle func(engine.LogLine)) error {
	inspected, err := e.api.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return e.fail(err, "read the logs of container %s", id)
	}
	request := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: options.Follow}
	if !options.Since.IsZero() {
		request.Since = apiTime(options.Since)
	}
	if !options.Until.IsZero() {
		request.Until = apiTime(options.Until)
	}
	if options.Tail > 0 {
		request.Tail = strconv.Itoa(options.Tail)
	}
	stream, err := e.api.ContainerLogs(ctx, inspected.Container.ID, request)
	if err != nil {
		return e.fail(err, "read the logs of container %s", id)
	}
	defer stream.Close()

	stdout := &lineWriter{stream: "stdout", handle: handle}
	stderr := &lineWriter{stream: "stderr", handle: handle}
	if config := inspected.Container.Config; config != nil && config.Tty {
		err = stdout.readLines(stream)
	} else {
		_, err = stdcopy.StdCopy(stdout, stderr, stream)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stdout.flush()
	stderr.flush()
	return e.fail(err, "read the logs of container %s", id)
}

// mostLine is how long a line may be, in bytes: longer ones come in parts.
const mostLine = 64 << 10

// lineWriter makes lines of what the engine sends for one stream: messages that begin with a
// time, and end with a line's end unless the line was longer than a message may be (16 KiB).
// The rest then follows in further messages, each with a time of its own, which is dropped. What is
// longer than mostLine goes on as another line: a container may write without ever ending one.
type lineWriter struct {
	stream string
	handle func(engine.LogLine)
	// started, with time and text, is a line whose end has not come yet.
	started bool
	time    time.Time
	text    strings.Builder
}

// Write takes one message, or with a TTY one line.
func (w *lineWriter) Write(message []byte) (int, error) {
	for rest := message; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte{'\n'})
		rest = after
		stamp, text := cutTime(line)
		if !w.started {
			w.started, w.time = true, stamp
		}
		for over := w.text.Len() + len(text) - mostLine; over > 0; over = w.text.Len() + len(text) - mostLine {
			w.text.Write(text[:len(text)-over])
			text = text[len(text)-over:]
			at := w.time
			w.flush()
			w.started, w.time = true, at
		}
		w.text.Write(text)
		if ended {
			w.flush()
		}
	}
	return len(message), nil
}

// readLines takes the plain stream of a TTY, in which messages have no bounds: a long line has
// the times of its parts inside.
func (w *lineWriter) readLines(stream io.Reader) error {
	reader := bufio.NewReaderSize(stream, mostLine)
	for {
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			err = nil // it is taken up to here, and goes on
		}
		if _, writeErr := w.Write(line); writeErr != nil {
			return writeErr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// flush hands over the line that is under way.
func (w *lineWriter) flush() {
	if !w.started {
		return
	}
	w.handle(engine.LogLine{Time: w.time, Stream: w.stream, Text: strings.TrimSuffix(w.text.String(), "\r")})
	w.started = false
	w.text.Reset()
}

// cutTime splits "2026-11-21T13:15:16.123456789Z text". Without a time all is text.
func cutTime(line []byte) (time.Time, []byte) {
	stamp, text, found := bytes.Cut(line, []byte{' '})
	if !found {
		return time.Time{}, line
	}
	parsed, err := time.Parse(time.RFC3339Nano, string(stamp))
	if err != nil {
		return time.Time{}, line
	}
	return parsed, text
}
