// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// caseText is one case of a file: its title and its lines, with their numbers.
type caseText struct {
	title string
	lines []caseLine
}

// caseLine is one line and the block of indented lines that follows it.
type caseLine struct {
	where string
	text  string
	block string
}

func TestCases(t *testing.T) {
	files, err := filepath.Glob("cases/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cases, err := parseCases(file, string(data))
		if err != nil {
			t.Fatal(err)
		}
		topic := strings.TrimSuffix(filepath.Base(file), ".txt")
		for _, c := range cases {
			t.Run(topic+"/"+c.title, func(t *testing.T) { play(t, c) })
		}
	}
}

func parseCases(file, text string) ([]caseText, error) {
	var cases []caseText
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSuffix(line, "\n")
		where := fmt.Sprintf("%s:%d", file, number)
		if title, found := strings.CutPrefix(line, "== "); found {
			cases = append(cases, caseText{title: title})
			continue
		}
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		if len(cases) == 0 {
			return nil, fmt.Errorf("%s: a line before the first case", where)
		}
		current := &cases[len(cases)-1]
		if block, found := strings.CutPrefix(line, "\t"); found {
			if len(current.lines) == 0 {
				return nil, fmt.Errorf("%s: an indented line after none", where)
			}
			current.lines[len(current.lines)-1].block += block + "\n"
			continue
		}
		current.lines = append(current.lines, caseLine{where: where, text: line})
	}
	return cases, nil
}

// player is a case being played.
type player struct {
	t        *testing.T
	root     string
	env      map[string]string
	uid, gid uint32
	last     result
	before   map[string]string
}

func play(t *testing.T, c caseText) {
	p := &player{t: t, root: t.TempDir(), env: map[string]string{
		"PATH": "/usr/local/bin:/usr/bin:/bin", "KOLLA_CONFIG_STRATEGY": "COPY_ALWAYS",
	}}
	// Users other than root get in; the directory is new and private until here.
	if err := os.Chmod(p.root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := tested.install(p.root); err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string]string{"etc/passwd": passwd, "etc/group": groups} {
		if err := writeFile(filepath.Join(p.root, path), "0644", "root:root", content); err != nil {
			t.Fatal(err)
		}
	}
	asserted := false
	for _, line := range c.lines {
		verb, rest, _ := strings.Cut(line.text, " ")
		step, known := steps()[verb]
		if !known {
			t.Fatalf("%s: there is no step %q", line.where, verb)
		}
		asserted = asserted || verb == "run" || verb == "want"
		if err := step(p, rest, line.block); err != nil {
			t.Fatalf("%s: %s: %v\nlast run: %s", line.where, line.text, err, p.last)
		}
	}
	if !asserted {
		t.Fatal("the case asserts nothing")
	}
}

// steps is the language of the cases; README.md describes it.
func steps() map[string]func(p *player, rest, block string) error {
	return map[string]func(*player, string, string) error{
		"dir":       (*player).dir,
		"file":      (*player).file,
		"link":      (*player).link,
		"rm":        func(p *player, rest, _ string) error { return os.RemoveAll(p.path(rest)) },
		"fifo":      func(p *player, rest, _ string) error { return syscall.Mkfifo(p.path(rest), 0o644) },
		"mount":     (*player).mount,
		"json":      func(p *player, _, block string) error { return p.config("config.json", block) },
		"yaml":      func(p *player, _, block string) error { return p.config("config.yaml", block) },
		"env":       (*player).setEnv,
		"as":        (*player).as,
		"shell":     func(p *player, rest, _ string) error { return installShell(p.root, rest) },
		"run":       (*player).run,
		"says":      func(p *player, rest, _ string) error { return p.said(rest, true, p.last.stdout+p.last.stderr) },
		"says-not":  func(p *player, rest, _ string) error { return p.said(rest, false, p.last.stdout+p.last.stderr) },
		"prints":    func(p *player, rest, _ string) error { return p.said(rest+"\n", true, p.last.stdout) },
		"want":      (*player).want,
		"unchanged": (*player).unchanged,
	}
}

func (p *player) path(path string) string { return filepath.Join(p.root, path) }

// dir PATH MODE OWNER
func (p *player) dir(rest, _ string) error {
	words := strings.Fields(rest)
	if len(words) != 3 {
		return fmt.Errorf("want PATH MODE OWNER")
	}
	if err := os.MkdirAll(p.path(words[0]), 0o755); err != nil {
		return err
	}
	return setProperties(p.path(words[0]), words[1], words[2])
}

// file PATH MODE OWNER "CONTENT", or the content as block
func (p *player) file(rest, block string) error {
	words := strings.SplitN(rest, " ", 4)
	if len(words) < 3 {
		return fmt.Errorf("want PATH MODE OWNER CONTENT")
	}
	content := block
	if len(words) == 4 {
		text, err := strconv.Unquote(words[3])
		if err != nil {
			return fmt.Errorf("content %s: %w", words[3], err)
		}
		content = text
	}
	return writeFile(p.path(words[0]), words[1], words[2], content)
}

// link PATH TARGET
func (p *player) link(rest, _ string) error {
	path, target, found := strings.Cut(rest, " ")
	if !found {
		return fmt.Errorf("want PATH TARGET")
	}
	if err := os.MkdirAll(filepath.Dir(p.path(path)), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, p.path(path))
}

// mount PATH: what is at PATH becomes a mount point, as a volume is
func (p *player) mount(rest, _ string) error {
	path := p.path(rest)
	if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("the case needs to mount: %w", err)
	}
	p.t.Cleanup(func() {
		if err := syscall.Unmount(path, 0); err != nil {
			p.t.Errorf("cannot unmount %s: %v", path, err)
		}
	})
	return nil
}

func (p *player) config(name, content string) error {
	return writeFile(p.path("/var/lib/kolla/config_files/"+name), "0644", "root:root", content)
}

// env KEY=VALUE sets, env -KEY removes
func (p *player) setEnv(rest, _ string) error {
	if key, found := strings.CutPrefix(rest, "-"); found {
		delete(p.env, key)
		return nil
	}
	key, value, found := strings.Cut(rest, "=")
	if !found {
		return fmt.Errorf("want KEY=VALUE")
	}
	p.env[key] = value
	return nil
}

// as OWNER
func (p *player) as(rest, _ string) error {
	uid, gid, err := ownerIDs(rest)
	p.uid, p.gid = uint32(uid), uint32(gid)
	return err
}

// run CODE PROGRAM ARGUMENT…
func (p *player) run(rest, _ string) error {
	words := strings.Fields(rest)
	if len(words) < 2 {
		return fmt.Errorf("want CODE PROGRAM")
	}
	code, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	if p.before, err = snapshot(p.root); err != nil {
		return err
	}
	var env []string
	for key, value := range p.env {
		env = append(env, key+"="+value)
	}
	slices.Sort(env)
	if p.last, err = tested.run(p.root, p.uid, p.gid, env, words[1:]...); err != nil {
		return err
	}
	if p.last.exit != code {
		return fmt.Errorf("want exit code %d", code)
	}
	return nil
}

func (p *player) said(text string, want bool, output string) error {
	if strings.Contains(output, text) != want {
		return fmt.Errorf("%q in the output: want %t", text, want)
	}
	return nil
}

// want PATH missing | link TARGET | dir MODE OWNER | file MODE OWNER "CONTENT"
func (p *player) want(rest, _ string) error {
	path, want, _ := strings.Cut(rest, " ")
	got, err := describe(p.path(path))
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("it is: %s", got)
	}
	return nil
}

// unchanged: the last run changed nothing
func (p *player) unchanged(_, _ string) error {
	after, err := snapshot(p.root)
	if err != nil {
		return err
	}
	for path, what := range after {
		if p.before[path] != what {
			return fmt.Errorf("%s was made or changed", path)
		}
	}
	for path := range p.before {
		if _, there := after[path]; !there {
			return fmt.Errorf("%s was removed", path)
		}
	}
	return nil
}
