// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"copse/internal/durable"
	"copse/internal/engine"
	"copse/internal/tree"
)

// The agent's containers in the engine.
const (
	containerName = "copse-agent"
	replacedName  = "copse-agent-replaced"
	labelBuild    = "copse.agent.build"
)

// answerTime is how long a new agent may take until its API answers.
const answerTime = 30 * time.Second

// Launcher starts an agent on this host as a container made of the running program.
type Launcher struct {
	Engine interface {
		engine.Containers
		engine.Processes
		engine.Images
		Info(ctx context.Context) (engine.Info, error)
		// ImportImage makes an image of a file system in a tar archive; changes are
		// Dockerfile instructions.
		ImportImage(ctx context.Context, archive io.Reader, reference string, changes ...string) error
	}
	// EngineSocket is the engine's unix socket, which the agent is given.
	EngineSocket string
	StateDir     string
	Socket       string
	// Answer asks the API for the build of the agent behind it.
	Answer func(ctx context.Context) (build string, err error)
	// Tell is called with what is being done, one line each.
	Tell func(string)
}

// Ensure sees to it that an agent made of the running program answers: it starts one where there
// is none, and replaces one of another build, which is put back if the new one does not answer.
// What the agent's containers run is not touched.
func (l *Launcher) Ensure(ctx context.Context) (started bool, err error) {
	build, err := Build()
	if err != nil {
		return false, err
	}
	return l.ensure(ctx, build)
}

func (l *Launcher) ensure(ctx context.Context, build string) (started bool, err error) {
	if answered, err := l.Answer(ctx); err == nil && answered == build {
		return false, l.settle(ctx)
	}
	old, err := l.Engine.Inspect(ctx, containerName)
	there := err == nil
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		return false, fmt.Errorf("cannot look for the agent: %w", err)
	}
	reference := "copse/agent:" + build
	if err := l.pack(ctx, reference); err != nil {
		return false, err
	}
	if there && old.Labels[labelBuild] == build {
		return true, l.restart(ctx, build)
	}
	if !there {
		if there, err = l.recover(ctx); err != nil {
			return false, err
		}
	}
	if !there {
		l.Tell("starting the agent")
		if err := l.run(ctx, reference, build); err != nil {
			return false, errors.Join(err, l.remove(context.WithoutCancel(ctx), containerName))
		}
		return true, nil
	}
	return true, l.replace(ctx, reference, build)
}

// restart starts an agent of the right build that does not answer.
func (l *Launcher) restart(ctx context.Context, build string) error {
	l.Tell("starting the agent again")
	if err := l.Engine.SetRestartPolicy(ctx, containerName, "always"); err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	if err := l.Engine.Start(ctx, containerName); err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	if err := l.wait(ctx, build); err != nil {
		return err
	}
	return l.remove(ctx, replacedName) // where a replacement was cut off before it had started this one
}

// settle ends a replacement that was cut off, where the agent that answers is the right one: it has
// replaced another one, or was about to be replaced and has the other name since.
func (l *Launcher) settle(ctx context.Context) error {
	_, err := l.Engine.Inspect(ctx, containerName)
	if err == nil {
		return l.remove(ctx, replacedName)
	}
	if !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("cannot look for the agent: %w", err)
	}
	_, err = l.recover(ctx)
	return err
}

// recover puts back an agent that a replacement which was cut off had renamed. The name comes last:
// an agent that has it is not looked after any more.
func (l *Launcher) recover(ctx context.Context) (bool, error) {
	_, err := l.Engine.Inspect(ctx, replacedName)
	if errors.Is(err, engine.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot look for an agent that was being replaced: %w", err)
	}
	err = l.Engine.SetRestartPolicy(ctx, replacedName, "always")
	if err == nil {
		err = l.Engine.Rename(ctx, replacedName, containerName)
	}
	if err != nil {
		return false, fmt.Errorf("cannot put back an agent that was being replaced: %w", err)
	}
	return true, nil
}

func (l *Launcher) replace(ctx context.Context, reference, build string) error {
	l.Tell("replacing the agent by this version")
	if err := l.remove(ctx, replacedName); err != nil {
		return err
	}
	old, err := l.Engine.Inspect(ctx, containerName)
	if err == nil {
		err = l.Engine.Rename(ctx, containerName, replacedName)
	}
	if err != nil {
		return fmt.Errorf("cannot replace the agent: %w", err)
	}
	err = l.Engine.SetRestartPolicy(ctx, replacedName, "no")
	if err == nil {
		err = l.Engine.Stop(ctx, replacedName, 20*time.Second)
	}
	var restoreStore func() error
	if err == nil {
		restoreStore, err = l.copyStore()
	}
	if err == nil {
		err = l.run(ctx, reference, build)
	}
	if err == nil {
		return l.remove(ctx, replacedName)
	}
	ctx = context.WithoutCancel(ctx)
	l.Tell("the new agent does not answer: putting the old one back")
	back := l.remove(ctx, containerName)
	if restoreStore != nil {
		back = errors.Join(back, restoreStore())
	}
	back = errors.Join(back,
		l.Engine.Rename(ctx, replacedName, containerName),
		l.Engine.SetRestartPolicy(ctx, containerName, "always"),
		l.Engine.Start(ctx, containerName))
	if back == nil {
		back = l.wait(ctx, old.Labels[labelBuild])
	}
	if back != nil {
		return fmt.Errorf("cannot replace the agent: %w; and the old one cannot be put back: %w", err, back)
	}
	return fmt.Errorf("cannot replace the agent, the old one runs again: %w", err)
}

// copyStore copies the store of an agent that has been stopped, and returns what puts it back.
func (l *Launcher) copyStore() (restore func() error, err error) {
	path := filepath.Join(l.StateDir, "store", "copse.db")
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot copy the agent's store: %w", err)
	}
	saved := path + ".replaced"
	if err := durable.WriteFile(saved, content, 0o600, 0, 0); err != nil {
		return nil, fmt.Errorf("cannot copy the agent's store: %w", err)
	}
	return func() error { return os.Rename(saved, path) }, nil
}

func (l *Launcher) remove(ctx context.Context, name string) error {
	if err := l.Engine.Remove(ctx, name, true); err != nil && !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("cannot remove container %s: %w", name, err)
	}
	return nil
}

func (l *Launcher) run(ctx context.Context, reference, build string) error {
	info, err := l.Engine.Info(ctx)
	if err != nil {
		return fmt.Errorf("cannot create the agent's container: %w", err)
	}
	if _, err := l.Engine.Create(ctx, containerName, l.spec(reference, build, info.MissingCapabilities)); err != nil {
		return fmt.Errorf("cannot create the agent's container: %w", err)
	}
	if err := l.Engine.Start(ctx, containerName); err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	return l.wait(ctx, build)
}

// capabilities are those that the agent uses, without those that this host cannot give and that
// it can do without.
func capabilities(missing []string) []string {
	given := []string{
		"CHOWN",            // files and directories for the containers' users
		"DAC_OVERRIDE",     // to write among them
		"DAC_READ_SEARCH",  // to see whose process has a port
		"FOWNER",           // modes of what it has given away
		"FSETID",           // the set-group bit of directories
		"KILL",             // to end what a killed engine has forgotten
		"NET_ADMIN",        // the pair of interfaces to the outside; parameters of the network
		"NET_BIND_SERVICE", // to try whether a port is free
		"SYS_ADMIN",        // to enter the engine's mount namespace; shared mounts
		"SYS_CHROOT",       // to enter the engine's mount namespace
		"SYS_PTRACE",       // to find the engine's mount namespace; whose process has a port; containers' processes
	}
	const module = "SYS_MODULE" // kernel modules, where a set asks for one
	if !slices.Contains(missing, module) {
		given = append(given, module)
	}
	return given
}

// spec is the agent's container. It has the engine's socket, which makes it root on the host
// in any case; what else it has is what it uses.
func (l *Launcher) spec(reference, build string, missing []string) tree.Spec {
	bind := func(path string) tree.Mount {
		return tree.Mount{Type: tree.Bind, Source: path, Target: path, CreateHostPath: true}
	}
	return tree.Spec{
		Image:   reference,
		Command: []string{"agent", "--state-dir", l.StateDir, "--socket", l.Socket},
		Environment: map[string]string{
			"DOCKER_HOST": "unix://" + l.EngineSocket,
			"COPSE_HOST":  hostname(),
		},
		Labels:      map[string]string{tree.LabelAgent: "true", labelBuild: build},
		NetworkMode: "host",
		PID:         "host", // to name the process that has a port; to check for processes
		ReadOnly:    true,
		CapDrop:     []string{"ALL"},
		CapAdd:      capabilities(missing),
		// The engine's usual profiles of AppArmor and SELinux forbid every mount, whatever the
		// capabilities; that of seccomp goes by them, and stays.
		SecurityOpt:     []string{"no-new-privileges", "apparmor=unconfined", "label=disable"},
		Mounts:          []tree.Mount{bind(l.StateDir), bind(filepath.Dir(l.Socket)), bind(l.engineMount())},
		Restart:         "always",
		StopGracePeriod: 20 * time.Second,
		Memory:          256 << 20,
		Pids:            512,
		LogDriver:       "json-file",
		LogOptions:      map[string]string{"max-size": "10m", "max-file": "3"},
	}
}

// engineMount is what the agent mounts to reach the engine: the directory of its socket, since an
// engine that starts again makes a new socket, which a mount of the old one would never show.
func (l *Launcher) engineMount() string {
	if dir := filepath.Dir(l.EngineSocket); dir != "/" {
		return dir
	}
	return l.EngineSocket
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "" // the agent then says that it cannot learn it
	}
	return name
}

// wait waits until an agent of that build answers.
func (l *Launcher) wait(ctx context.Context, build string) error {
	limited, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	var last error
	for {
		answered, err := l.Answer(limited)
		if err == nil && answered == build {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("an agent of build %s answers instead of %s", answered, build)
		}
		if last == nil || limited.Err() == nil {
			last = err
		}
		if err := (wallClock{}).Sleep(limited, 50*time.Millisecond); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("the agent did not answer within %s: %w%s", answerTime, last, l.lastLines(ctx))
}

func (l *Launcher) lastLines(ctx context.Context) string {
	var b strings.Builder
	// What cannot be read is not shown: the failure itself is the message.
	_ = l.Engine.Logs(ctx, containerName, engine.LogOptions{Tail: 10}, func(line engine.LogLine) {
		b.WriteString("\n  | " + line.Text)
	})
	if b.Len() == 0 {
		return ""
	}
	return "\nits last lines:" + b.String()
}

// pack makes an image of the running program and nothing else.
func (l *Launcher) pack(ctx context.Context, reference string) error {
	if _, err := l.Engine.Image(ctx, reference); err == nil {
		return nil
	} else if !errors.Is(err, engine.ErrNotFound) {
		return fmt.Errorf("cannot look for the agent's image: %w", err)
	}
	reader, writer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := archiveProgram(writer)
		packed <- errors.Join(err, writer.CloseWithError(err))
	}()
	err := l.Engine.ImportImage(ctx, reader, reference, `ENTRYPOINT ["/copse"]`, `LABEL `+tree.LabelAgent+`=true`)
	_ = reader.Close() // lets the archive end where the engine did not read it to its end; it does not fail
	if packErr := <-packed; err == nil {
		err = packErr
	}
	if err != nil {
		return fmt.Errorf("cannot make the agent's image: %w", err)
	}
	return nil
}

// archiveProgram writes a root file system with the running program in it.
func archiveProgram(w io.Writer) error {
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer program.Close()
	info, err := program.Stat()
	if err != nil {
		return err
	}
	archive := tar.NewWriter(w)
	if err := archive.WriteHeader(&tar.Header{Name: "copse", Mode: 0o755, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	if _, err := io.Copy(archive, program); err != nil {
		return err
	}
	return archive.Close()
}
