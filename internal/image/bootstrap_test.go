// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var testRoot = RootFS{
	Reference: "copse/rootfs:trixie-0123456789ab", Suite: "trixie",
	Suites: []string{"trixie", "trixie-updates"}, Exclude: []byte("path-exclude=/x\n"),
}

func testSource() PackageSource {
	return PackageSource{
		archives: []archive{{uri: "http://mirror.example/debian"}}, keyring: []byte("KEY"),
		options: map[string]string{"Acquire::Retries": "2"},
	}
}

// program puts a shell script into an otherwise empty PATH as mmdebstrap.
func program(t *testing.T, script string) {
	t.Helper()
	directory := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(directory, "mmdebstrap"), []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", directory)
}

func TestBootstrap(t *testing.T) {
	program(t, `
for last; do :; done
printf 'I: starting\n' >&2
printf '%s\n' "$@" > "$(dirname "$last")/arguments"
mkdir -p "$(dirname "$last")/root/etc/apt/apt.conf.d"
for argument; do
    case $argument in --setup-hook=*) sh -c "${argument#*=}" hook "$(dirname "$last")/root" ;; esac
done
cp "$(dirname "$last")/root/etc/apt/apt.conf.d/98copse" "$(dirname "$last")/settings"
for argument; do
    case $argument in --customize-hook=*apt.conf.d*) sh -c "${argument#*=}" hook "$(dirname "$last")/root" ;; esac
done
while [ $# -gt 3 ]; do shift; done
cp "$3" "$(dirname "$3")/used"
printf tar > "$2"
printf 'I: done' >&2
`)
	directory := t.TempDir()
	var log []string
	source := testSource()
	source.options["Acquire::http::Proxy"] = "http://me:hunter2@proxy.example:3128"
	archive, err := bootstrap(t.Context(), testRoot, source, directory, func(line string) { log = append(log, line) })
	if err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(archive); err != nil || string(content) != "tar" {
		t.Errorf("archive %s: %q, %v", archive, content, err)
	}
	if !cmp.Equal(log, []string{"I: starting"}) {
		t.Errorf("log %q", log)
	}
	for name, want := range map[string]string{
		"used":        "deb [signed-by=" + directory + "/keyring.gpg] http://mirror.example/debian trixie main\n",
		"keyring.gpg": "KEY", "dpkg.cfg": "path-exclude=/x\n",
		"settings": "Acquire::Retries \"2\";\nAcquire::http::Proxy \"http://me:hunter2@proxy.example:3128\";\n",
	} {
		if got, err := os.ReadFile(filepath.Join(directory, name)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, want %q (%v)", name, got, want, err)
		}
	}
	arguments, err := os.ReadFile(filepath.Join(directory, "arguments"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"--variant=minbase\n", "--dpkgopt=" + directory + "/dpkg.cfg\n", "\ntrixie\n" + archive + "\n"} {
		if !strings.Contains(string(arguments), want) {
			t.Errorf("%q is not among the arguments:\n%s", want, arguments)
		}
	}
	if strings.Contains(string(arguments), "hunter2") {
		t.Errorf("a password is among the arguments:\n%s", arguments)
	}
	left, err := os.ReadDir(filepath.Join(directory, "root", "etc", "apt", "apt.conf.d"))
	if err != nil || len(left) != 0 {
		t.Errorf("the root file system keeps %v of the host's settings, %v", left, err)
	}
	if info, err := os.Stat(filepath.Join(directory, "apt.conf")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the settings' file has mode %v, %v", info.Mode(), err)
	}
}

func TestBootstrapFails(t *testing.T) {
	program(t, "echo 'E: no such suite' >&2\nexit 25\n")
	_, err := bootstrap(t.Context(), testRoot, testSource(), t.TempDir(), func(string) {})
	var step *StepError
	if !errors.As(err, &step) || !cmp.Equal(step.Log, []string{"E: no such suite"}) || !strings.Contains(err.Error(), "mmdebstrap trixie") {
		t.Errorf("error %v", err)
	}

	program(t, "")
	_, err = bootstrap(t.Context(), testRoot, testSource(), t.TempDir(), func(string) {})
	if err == nil || !strings.Contains(err.Error(), "install the package mmdebstrap") || !strings.Contains(err.Error(), "base in the image override") {
		t.Errorf("without mmdebstrap: %v", err)
	}

	_, err = bootstrap(t.Context(), RootFS{Suite: "trixie"}, testSource(), t.TempDir(), func(string) {})
	if err == nil {
		t.Error("a bootstrap from no suite succeeded")
	}
}

// TestArchive reads back the docker-archive of a root file system.
func TestArchive(t *testing.T) {
	var layer bytes.Buffer
	writer := tar.NewWriter(&layer)
	if err := writer.WriteHeader(&tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	if err := os.WriteFile(file, layer.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := archiveOf(testRoot, file, &out); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for reader := tar.NewReader(&out); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || len(manifest[0].Layers) != 1 || !cmp.Equal(manifest[0].RepoTags, []string{testRoot.Reference}) {
		t.Fatalf("manifest %+v", manifest)
	}
	var config struct {
		OS     string
		Config struct{ Labels map[string]string }
	}
	if err := json.Unmarshal(files[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if config.OS != "linux" || config.Config.Labels[LabelImage] != "rootfs" {
		t.Errorf("configuration %+v", config)
	}
	if archiveOf(testRoot, file+".lost", io.Discard) == nil {
		t.Error("an archive was made of nothing")
	}
}

// TestInventory runs the script that lists packages as SPDX, on names and versions that need care.
func TestInventory(t *testing.T) {
	const status = `Package: a+b
Status: install ok installed
Maintainer: "Quoted" \ <x@example.org>
Architecture: amd64
Source: a-source (1.0)
Version: 1:2.0~rc1+dfsg-1
Description: a
 Version: not this

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: last
Status: install ok installed
Architecture: all
Version: 3
`
	script, err := filepath.Abs("../../catalog/images/image/sbom.awk")
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "awk", "-v", "name=api", "-v", "version=1", "-f", script)
	command.Stdin = strings.NewReader(status)
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	type reference struct{ ReferenceLocator string }
	var document struct {
		SPDXVersion string
		Packages    []struct {
			SPDXID, Name, VersionInfo, Supplier, SourceInfo string
			ExternalRefs                                    []reference
		}
		Relationships []struct{ RelatedSPDXElement string }
	}
	if err := json.Unmarshal(output, &document); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if document.SPDXVersion != "SPDX-2.3" || len(document.Packages) != 2 || len(document.Relationships) != 2 {
		t.Fatalf("document %+v", document)
	}
	first, last := document.Packages[0], document.Packages[1]
	for got, want := range map[string]string{
		first.SPDXID: "SPDXRef-Package-a-b-amd64", first.Name: "a+b", first.VersionInfo: "1:2.0~rc1+dfsg-1",
		first.Supplier: `Organization: "Quoted" \ <x@example.org>`, first.SourceInfo: "built from a-source (1.0)",
		first.ExternalRefs[0].ReferenceLocator: "pkg:deb/debian/a%2Bb@1%3A2.0%7Erc1%2Bdfsg-1?arch=amd64",
		last.Supplier:                          "NOASSERTION", last.SourceInfo: "built from last",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestQueue takes tasks in the order that serves most others.
func TestQueue(t *testing.T) {
	q := newQueue()
	light, base, middle, top := &task{}, &task{}, &task{}, &task{}
	q.add(light, nil)
	q.add(base, nil)
	q.add(middle, base)
	q.add(top, middle)
	if got := q.take(); got != base {
		t.Fatal("the one that two others wait for is not first")
	}
	base.state = Built
	if held := q.finish(base); len(held) != 0 {
		t.Errorf("%d are held by a success", len(held))
	}
	if got := q.take(); got != middle {
		t.Fatal("the one that one other waits for is not next")
	}
	middle.state = Failed
	if held := q.finish(middle); len(held) != 1 || held[0] != top || top.state != Held {
		t.Errorf("held %v", held)
	}
	if got := q.take(); got != light {
		t.Fatal("the last is not handed out")
	}
	q.finish(light)
	if got := q.take(); got != nil {
		t.Errorf("took %v from nothing", got)
	}
}
