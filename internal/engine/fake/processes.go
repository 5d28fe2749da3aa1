// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"copse/internal/engine"
	"copse/internal/tree"
)

// File is a file that was copied into a container.
type File struct {
	Content  string
	Mode     int64 // permission bits
	UID, GID int
}

// Exec implements engine.Processes.
func (e *Engine) Exec(ctx context.Context, id string, exec engine.Exec) (int, error) {
	var program Program
	code := 0
	err := e.do(ctx, "Exec", e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if c.State != engine.Running {
			return fmt.Errorf("it is %s: %w", c.State, engine.ErrConflict)
		}
		program = c.program
		// The container's environment is the program's, below what the caller adds.
		environment := maps.Clone(c.Environment)
		if environment == nil {
			environment = map[string]string{}
		}
		maps.Copy(environment, exec.Environment)
		exec.Environment = environment
		if exec.User == "" {
			exec.User = c.spec.User
		}
		return nil
	})
	if err != nil || program.Exec == nil {
		return code, err
	}
	if exec.Stdout == nil {
		exec.Stdout = io.Discard
	}
	if exec.Stderr == nil {
		exec.Stderr = io.Discard
	}
	if exec.TTY {
		exec.Stderr = exec.Stdout
	}
	code, err = program.Exec(ctx, exec)
	if err != nil {
		return 0, err
	}
	return code, ctx.Err()
}

// Print lets a container write a line.
func (e *Engine) Print(id, stream, text string) error {
	e.lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return err
	}
	e.write(c, stream, text, e.now())
	e.notify()
	return nil
}

// write appends to a container's log.
func (e *Engine) write(c *containerState, stream, text string, at time.Time) {
	if stream == "" || c.spec.TTY {
		stream = "stdout"
	}
	c.logs = append(c.logs, engine.LogLine{Time: at, Stream: stream, Text: text})
}

// Logs implements engine.Processes.
func (e *Engine) Logs(ctx context.Context, id string, options engine.LogOptions, handle func(engine.LogLine)) error {
	next, first := 0, true
	for {
		var lines []engine.LogLine
		var changed chan struct{}
		var due time.Time
		ended := false
		read := func() error {
			c, err := e.find(id)
			if err != nil {
				return err
			}
			for _, line := range c.logs[next:] {
				if !line.Time.Before(options.Since) && (options.Until.IsZero() || !line.Time.After(options.Until)) {
					lines = append(lines, line)
				}
			}
			if first && options.Tail > 0 {
				lines = lines[max(0, len(lines)-options.Tail):]
			}
			next, id = len(c.logs), c.ID
			changed, due = e.changed, e.nextDue()
			ended = !options.Follow || !c.running()
			return nil
		}
		var err error
		if first {
			err = e.do(ctx, "Logs", e.nameOf(id), read)
		} else if err = e.locked(read); errors.Is(err, engine.ErrNotFound) {
			return nil // removed: there is nothing more to follow
		}
		if err != nil {
			return err
		}
		first = false
		for _, line := range lines {
			handle(line)
		}
		if ended {
			return nil
		}
		if err := e.wait(ctx, changed, due); err != nil {
			return err
		}
	}
}

// inRunning runs f on a container that runs.
func (e *Engine) inRunning(ctx context.Context, op, id string, f func(*containerState)) error {
	return e.do(ctx, op, e.nameOf(id), func() error {
		c, err := e.find(id)
		if err != nil {
			return err
		}
		if !c.running() {
			return fmt.Errorf("it does not run: %w", engine.ErrConflict)
		}
		f(c)
		return nil
	})
}

// Top implements engine.Processes.
func (e *Engine) Top(ctx context.Context, id string) ([]engine.Process, error) {
	var processes []engine.Process
	err := e.inRunning(ctx, "Top", id, func(c *containerState) {
		processes = slices.Clone(c.program.Processes)
		if processes == nil {
			command := slices.Concat(c.spec.Entrypoint, c.spec.Command)
			processes = []engine.Process{{PID: c.PID, PPID: 1, User: c.spec.User, Command: strings.Join(command, " ")}}
		}
	})
	return processes, err
}

// Stats implements engine.Processes.
func (e *Engine) Stats(ctx context.Context, id string) (engine.Stats, error) {
	var stats engine.Stats
	err := e.inRunning(ctx, "Stats", id, func(c *containerState) {
		stats = c.program.Stats
		if stats == (engine.Stats{}) {
			stats = engine.Stats{CPU: time.Millisecond, Memory: 1 << 20, Pids: 1, MemoryLimit: 16 << 30}
		}
		if c.spec.Memory > 0 {
			stats.MemoryLimit = c.spec.Memory
		}
	})
	return stats, err
}

// CopyTo implements engine.Processes. The files can be read with Files.
func (e *Engine) CopyTo(ctx context.Context, id, directory string, archive io.Reader) error {
	files, err := unpack(directory, archive)
	return e.do(ctx, "CopyTo", e.nameOf(id), func() error {
		c, notFound := e.find(id)
		if notFound != nil {
			return notFound
		}
		if err != nil {
			return err
		}
		if c.spec.ReadOnly && !c.mounted(directory) {
			return errors.New("its root file system is read-only")
		}
		if c.files == nil {
			c.files = map[string]File{}
		}
		maps.Copy(c.files, files)
		return nil
	})
}

// CopyFrom implements engine.Processes: files that were copied into the container, and those of
// ImageFiles of its image.
func (e *Engine) CopyFrom(ctx context.Context, id, file string) (io.ReadCloser, error) {
	var archive bytes.Buffer
	err := e.do(ctx, "CopyFrom", e.nameOf(id), func() error {
		c, notFound := e.find(id)
		if notFound != nil {
			return notFound
		}
		f, found := c.files[file]
		if !found && e.ImageFiles != nil {
			var content string
			content, found = e.ImageFiles(c.spec.Image, file)
			f = File{Content: content, Mode: 0o644}
		}
		if !found {
			return fmt.Errorf("no file %s: %w", file, engine.ErrNotFound)
		}
		w := tar.NewWriter(&archive)
		header := &tar.Header{Name: path.Base(file), Typeflag: tar.TypeReg, Mode: f.Mode, Uid: f.UID, Gid: f.GID, Size: int64(len(f.Content))}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err := io.WriteString(w, f.Content)
		return errors.Join(err, w.Close())
	})
	return io.NopCloser(&archive), err
}

// mounted reports whether a directory lies on a mount that can be written.
func (c *containerState) mounted(directory string) bool {
	return slices.ContainsFunc(c.Mounts, func(m tree.Mount) bool {
		return !m.ReadOnly && (directory == m.Target || strings.HasPrefix(directory, m.Target+"/"))
	})
}

// unpack reads the files of an archive.
func unpack(directory string, archive io.Reader) (map[string]File, error) {
	files := map[string]File{}
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			return nil, err
		}
		files[path.Join(directory, header.Name)] = File{
			Content: string(content), Mode: header.Mode & 0o7777, UID: header.Uid, GID: header.Gid,
		}
	}
}

// Files are those that CopyTo put into a container, by path.
func (e *Engine) Files(id string) map[string]File {
	e.lock()
	defer e.mu.Unlock()
	c, err := e.find(id)
	if err != nil {
		return nil
	}
	return maps.Clone(c.files)
}
