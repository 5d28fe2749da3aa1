// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// bootstrapOptions are those of mmdebstrap that decide what is in a root file system.
func bootstrapOptions() []string {
	return []string{
		"--variant=minbase", "--include=ca-certificates", "--format=tar", "--aptopt=Acquire::Languages \"none\"",
		// The mirror of the host that builds is nobody's business at run time.
		`--customize-hook=rm -rf "$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*`,
		`--customize-hook=rm -f "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/etc/machine-id; : > "$1"/etc/machine-id`,
	}
}

// settingsVariable tells mmdebstrap's hooks which file has apt's settings for this host.
const settingsVariable = "COPSE_APT_CONF"

// bootstrap makes a root file system from the package source and returns it as the file of a tar
// archive below directory. Lines that mmdebstrap writes go to log.
func bootstrap(ctx context.Context, root RootFS, source PackageSource, directory string, log func(string)) (string, error) {
	program, err := exec.LookPath("mmdebstrap")
	if err != nil {
		return "", errors.New("cannot bootstrap the root file system of the images: mmdebstrap is not installed; " +
			"install the package mmdebstrap, or name an image to pull under base in the image override")
	}
	excludes, keyring := filepath.Join(directory, "dpkg.cfg"), filepath.Join(directory, "keyring.gpg")
	sources, archive := filepath.Join(directory, "sources.list"), filepath.Join(directory, "rootfs.tar")
	list := source.list(root.Suites, keyring)
	if len(list) == 0 {
		return "", fmt.Errorf("cannot bootstrap suite %s: the package source has none of %s", root.Suite, strings.Join(root.Suites, ", "))
	}
	for file, content := range map[string][]byte{excludes: root.Exclude, keyring: source.keyring, sources: []byte(list)} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			return "", fmt.Errorf("cannot bootstrap suite %s: %w", root.Suite, err)
		}
	}
	// How the host reaches its package source may have a proxy's password in it: it stands in no
	// argument list, which all can see, and not in the file system that is made. mmdebstrap's option
	// for settings leaves them there.
	settings := filepath.Join(directory, "apt.conf")
	if err := os.WriteFile(settings, []byte(source.configuration("")), 0o600); err != nil {
		return "", fmt.Errorf("cannot bootstrap suite %s: %w", root.Suite, err)
	}
	arguments := append(bootstrapOptions(), "--dpkgopt="+excludes,
		`--setup-hook=cp "$`+settingsVariable+`" "$1"/etc/apt/apt.conf.d/98copse`,
		`--customize-hook=rm -f "$1"/etc/apt/apt.conf.d/98copse`)
	command := exec.CommandContext(ctx, program, append(arguments, root.Suite, archive, sources)...)
	command.Env = append(os.Environ(), settingsVariable+"="+settings)
	// mmdebstrap removes its directory when it is asked to end.
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = time.Minute
	reader, writer := io.Pipe()
	command.Stdout, command.Stderr = writer, writer
	last := &tail{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		lines := bufio.NewReader(reader)
		for {
			line, err := lines.ReadString('\n')
			for _, complete := range last.write([]byte(line)) {
				log(complete)
			}
			if err != nil {
				return
			}
		}
	}()
	err = command.Run()
	_ = writer.Close() // a pipe's end never fails to close
	<-done
	if err != nil {
		return "", &StepError{Image: "rootfs", Instruction: "mmdebstrap " + root.Suite, Log: last.all(), Err: err}
	}
	return archive, nil
}

// archiveOf writes a docker-archive with one image of one layer.
func archiveOf(root RootFS, layerFile string, out io.Writer) error {
	layer, err := tarball.LayerFromFile(layerFile)
	if err != nil {
		return fmt.Errorf("cannot read the root file system %s: %w", layerFile, err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("cannot make an image of the root file system: %w", err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		return fmt.Errorf("cannot make an image of the root file system: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", architecture()
	file.Config = v1.Config{
		Cmd:    []string{"/bin/sh"},
		Env:    []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		Labels: map[string]string{LabelImage: "rootfs", LabelRelease: root.Suite, LabelContent: root.Reference},
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		return fmt.Errorf("cannot make an image of the root file system: %w", err)
	}
	tag, err := name.NewTag(root.Reference)
	if err != nil {
		return fmt.Errorf("cannot make an image of the root file system: %w", err)
	}
	return tarball.Write(tag, image, out)
}
