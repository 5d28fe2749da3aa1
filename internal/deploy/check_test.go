// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"copse/internal/engine"
	"copse/internal/tree"
)

// writes is a program that writes, in pieces, and exits with status 1.
type writes []string

// Exec implements Programs.
func (w writes) Exec(_ context.Context, _ string, e engine.Exec) (int, error) {
	for _, piece := range w {
		if _, err := io.WriteString(e.Stdout, piece); err != nil {
			return 0, err
		}
	}
	return 1, nil
}

func TestOutputOfACheck(t *testing.T) {
	long := strings.Repeat("x", 3*mostOutput)
	for name, c := range map[string]struct {
		writes writes
		want   string
	}{
		"nothing":            {nil, "exit status 1"},
		"its last line":      {writes{"one\ntw", "o\n\n"}, "two"},
		"a long line":        {writes{long}, long[:300] + "…"},
		"much before it":     {writes{long, long, "\nthe end\n"}, "the end"},
		"control characters": {writes{"a\x00b\rc\x1b[31md\x7f\u009be"}, "a b c [31md  e"},
		"a secret":           {writes{"mysql://db:hunter2@db"}, "mysql://db:(secret)@db"},
		"a cut secret":       {writes{long[:295] + "hunter2"}, long[:295] + "(secr" + "…"},
		"not text":           {writes{"caf\xe9"}, "caf\uFFFD"},
	} {
		t.Run(name, func(t *testing.T) {
			d := Deployer{Options: Options{Checks: c.writes, Secrets: &secrets{hides: "hunter2"}}}
			ok, output, err := d.RunCheck(t.Context(), "api.1", &tree.Check{Test: []string{"check"}})
			if ok || err != nil || output != c.want {
				t.Errorf("%t, %q, %v; want %q", ok, output, err, c.want)
			}
		})
	}
}

// TestCheckWithoutEnd: what a container has its check write must not fill the agent's memory.
func TestCheckWithoutEnd(t *testing.T) {
	var e ending
	piece := bytes.Repeat([]byte("x"), 100_000)
	for range 100 {
		if n, err := e.Write(piece); n != len(piece) || err != nil {
			t.Fatal(n, err)
		}
		if n, err := e.Write([]byte("last")); n != 4 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(e) != mostOutput || cap(e) > 4*mostOutput || !strings.HasSuffix(string(e), "xlast") {
		t.Errorf("%d bytes in a buffer of %d, want the last %d", len(e), cap(e), mostOutput)
	}
}
