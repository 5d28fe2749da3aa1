// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"copse/internal/api"
	"copse/internal/engine"
)

// postExec runs a program inside a container, joined to the client by frames both ways.
func (a *Agent) postExec(w http.ResponseWriter, r *http.Request) error {
	var asked api.ExecRequest
	if err := decode(w, r, &asked); err != nil {
		return err
	}
	if len(asked.Command) == 0 {
		return &api.Error{Code: "invalid", Message: "there is no command to run: copse exec NAME -- COMMAND"}
	}
	target, err := a.execTarget(asked.Container)
	if err != nil {
		return err
	}
	if r.Header.Get("Upgrade") != api.ExecProtocol {
		return &api.Error{Code: "invalid", Message: "an exec needs the header Upgrade: " + api.ExecProtocol}
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("cannot take over the connection: %w", err)
	}
	defer conn.Close()
	const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + api.ExecProtocol + "\r\n\r\n"
	if _, err := io.WriteString(conn, switching); err != nil {
		return nil // the client has gone
	}

	out := &frameWriter{encoder: json.NewEncoder(conn)}
	stdin, feed := io.Pipe()
	sizes := make(chan engine.Size, 1)
	if asked.Width > 0 && asked.Height > 0 {
		sizes <- engine.Size{Width: asked.Width, Height: asked.Height}
	}
	// The reader ends when the connection is closed, at the latest by the deferred Close above.
	go readFrames(buffered.Reader, feed, sizes)
	code, err := a.Engine.Exec(r.Context(), target, engine.Exec{
		Command: asked.Command, User: asked.User, TTY: asked.TTY, Stdin: stdin,
		Stdout: out.to(func(b []byte) api.Frame { return api.Frame{Stdout: b} }),
		Stderr: out.to(func(b []byte) api.Frame { return api.Frame{Stderr: b} }),
		Resize: sizes,
	})
	_ = stdin.Close() // ends the reader's writes; a pipe's Close does not fail
	last := api.Frame{Exit: &code}
	if err != nil {
		last = api.Frame{Error: err.Error()}
	}
	_ = out.send(last) // a client that has gone needs no answer
	return nil
}

// execTarget resolves a container's name to the engine's name of its active generation.
func (a *Agent) execTarget(name string) (string, error) {
	doc, err := a.document()
	if err != nil {
		return "", err
	}
	names, err := doc.Select([]string{name})
	if err != nil {
		return "", err
	}
	active, err := a.deployer.Active()
	if err != nil {
		return "", err
	}
	var services []string
	for _, n := range names {
		if g := active[n]; g != nil && g.Container.Job == nil {
			services = append(services, n)
		}
	}
	switch len(services) {
	case 0:
		return "", &api.Error{Code: "not-found", Message: fmt.Sprintf("%s does not run: \"copse start %s\" starts it", name, name)}
	case 1:
		return active[services[0]].Name(), nil
	}
	return "", &api.Error{Code: "invalid", Message: fmt.Sprintf("%s is %d containers: name one of %v", name, len(services), services)}
}

// readFrames hands what the client sends to the program until the connection ends.
func readFrames(from *bufio.Reader, stdin *io.PipeWriter, sizes chan engine.Size) {
	defer stdin.Close()
	decoder := json.NewDecoder(from)
	for {
		var f api.Frame
		if err := decoder.Decode(&f); err != nil {
			return
		}
		if f.Width > 0 && f.Height > 0 {
			select {
			case <-sizes: // only the newest size matters
			default:
			}
			sizes <- engine.Size{Width: f.Width, Height: f.Height}
		}
		if len(f.Stdin) > 0 {
			if _, err := stdin.Write(f.Stdin); err != nil {
				return // the program has ended
			}
		}
		if f.EOF {
			_ = stdin.Close()
		}
	}
}

// frameWriter sends frames from several writers, one at a time.
type frameWriter struct {
	mu      sync.Mutex
	encoder *json.Encoder
}

func (f *frameWriter) send(frame api.Frame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.encoder.Encode(frame)
}

func (f *frameWriter) to(wrap func([]byte) api.Frame) io.Writer {
	return writerFunc(func(b []byte) (int, error) {
		if err := f.send(wrap(b)); err != nil {
			return 0, err
		}
		return len(b), nil
	})
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
