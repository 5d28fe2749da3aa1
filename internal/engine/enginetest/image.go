// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package enginetest

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Program is the path of testbox in the image.
const Program = "/testbox"

// ImageChanges are the Dockerfile's lines that make an image of ImageArchive: to be given to
// an import together with it.
func ImageChanges(labels map[string]string) []string {
	changes := []string{
		`ENTRYPOINT ["` + Program + `"]`,
		`CMD ["wait"]`,
		`ENV FROM_IMAGE=yes`,
		// If the engine ran it, each container would be unhealthy.
		`HEALTHCHECK --interval=1s CMD ["` + Program + `", "exit", "1"]`,
	}
	for key, value := range labels {
		changes = append(changes, "LABEL "+key+"="+value)
	}
	return changes
}

// ImageArchive builds testbox, and returns a tar archive of a file system with it: the
// smallest image that the suite can run. It also has the user "tester", 1234:1234, and the
// file /data/seed, which belongs to that user and has mode 0640.
func ImageArchive(t testing.TB) []byte {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "testbox")
	build := exec.Command("go", "build", "-o", binary, "copse/internal/engine/enginetest/testbox")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build testbox: %v\n%s", err, output)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, entry := range []struct {
		header  tar.Header
		content []byte
	}{
		{tar.Header{Name: "testbox", Mode: 0o755}, program},
		{tar.Header{Name: "etc/", Typeflag: tar.TypeDir, Mode: 0o755}, nil},
		{tar.Header{Name: "etc/passwd", Mode: 0o644}, []byte("root:x:0:0::/:\ntester:x:1234:1234::/:\n")},
		{tar.Header{Name: "etc/group", Mode: 0o644}, []byte("root:x:0:\ntester:x:1234:\nextra:x:1300:\n")},
		{tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}, nil},
		{tar.Header{Name: "data/", Typeflag: tar.TypeDir, Mode: 0o755, Uid: 1234, Gid: 1234}, nil},
		{tar.Header{Name: "data/seed", Mode: 0o640, Uid: 1234, Gid: 1234}, []byte("seed")},
	} {
		entry.header.Size = int64(len(entry.content))
		if err := w.WriteHeader(&entry.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(entry.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

// fileArchive is a tar archive of one file, for CopyTo.
func fileArchive(t testing.TB, header tar.Header, content string) *bytes.Buffer {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	header.Size = int64(len(content))
	if err := w.WriteHeader(&header); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &archive
}
