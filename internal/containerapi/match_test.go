// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestMatch(t *testing.T) {
	const both = -1
	tests := []struct {
		dialect       dialect
		pattern, name string
		want          bool
	}{
		{both, "*", "a", true},
		{both, "*", "", true},
		{both, "*", ".a", false},
		{both, ".*", ".a", true},
		{both, "?a", ".a", false},
		{both, "[.]a", ".a", false},
		{both, "a*b*c", "aXbYbZc", true},
		{both, "a*b*c", "aXbYbZ", false},
		{both, "?", "é", true},
		{both, "?", "\xff", true},
		{both, "[a-c]x", "bx", true},
		{both, "[a-c]x", "dx", false},
		{both, "[!a]", "b", true},
		{both, "[!a]", "a", false},
		{both, "[]a]", "]", true},
		{both, "[!]a]", "]", false},
		{both, "[a", "[a", true},
		{both, "[!a", "[!a", true},
		{both, "[]", "[]", true},
		{both, "[a-]", "-", true},
		{both, "[-a]", "-", true},
		{both, "[c-a]", "b", false},
		{both, "[--0]", ".", false}, // hidden
		{both, "x[--0]", "x.", true},
		{pythonGlob, "[^a]", "b", false},
		{pythonGlob, "[^a]", "^", true},
		{shellGlob, "[^a]", "b", true},
		{pythonGlob, `\*`, `\x`, true},
		{shellGlob, `\*`, `\x`, false},
		{shellGlob, `\*`, `*`, true},
		{shellGlob, `\.*`, `.a`, true},
		{shellGlob, `[\]]`, `]`, true},
		{shellGlob, "[[:digit:]x]", "7", true},
		{shellGlob, "[[:digit:]x]", "a", false},
		{shellGlob, "[![:upper:]]", "a", true},
		{pythonGlob, "[[:digit:]x]", "7", false},
	}
	for _, test := range tests {
		dialects := []dialect{test.dialect}
		if test.dialect == both {
			dialects = []dialect{pythonGlob, shellGlob}
		}
		for _, d := range dialects {
			if got := d.match(test.pattern, test.name); got != test.want {
				t.Errorf("dialect %d: %q matches %q: got %t, want %t", d, test.pattern, test.name, got, test.want)
			}
		}
	}
}

func TestGlobFindsPaths(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{"src/a.conf", "src/b.conf", "src/.c.conf", "src/sub/a.conf", "other/sub/a.conf"} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nowhere", filepath.Join(root, "src/dangling")); err != nil {
		t.Fatal(err)
	}
	tree := filesystem{root: root, workDir: "/src"}
	tests := map[string][]string{
		"/src/*.conf":     {"/src/a.conf", "/src/b.conf"},
		"/src/.*":         {"/src/.c.conf"},
		"/*/sub/*":        {"/other/sub/a.conf", "/src/sub/a.conf"},
		"/*/sub/a.conf":   {"/other/sub/a.conf", "/src/sub/a.conf"},
		"/**/a.conf":      {"/src/a.conf"},
		"/src/sub/":       {"/src/sub/"},
		"/src/a.conf/":    nil,
		"/src/*/":         {"/src/sub/"},
		"/src/dangling":   {"/src/dangling"},
		"/src/d*":         {"/src/dangling"},
		"/src/none":       nil,
		"/none/*":         nil,
		"*.conf":          {"a.conf", "b.conf"},
		"sub/*":           {"sub/a.conf"},
		"a.conf":          {"a.conf"},
		"//src//sub/a.*":  {"//src//sub/a.conf"},
		"/src/[ab].con?":  {"/src/a.conf", "/src/b.conf"},
		"/src/a.conf/*":   nil,
		"/src/../src/a.*": {"/src/../src/a.conf"},
	}
	for pattern, want := range tests {
		for _, d := range []dialect{pythonGlob, shellGlob} {
			if got := tree.glob(d, pattern); !slices.Equal(got, want) {
				t.Errorf("dialect %d: %q found %q, want %q", d, pattern, got, want)
			}
		}
	}
}

// pythonRegexp translates a glob in another way than the matcher works, as
// Python's fnmatch does; ok is false for what Go's regular expressions cannot say.
func pythonRegexp(pattern string) (*regexp.Regexp, bool) {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '*':
			b.WriteString(".*")
			continue
		case '?':
			b.WriteString(".")
			continue
		case '[':
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
			continue
		}
		end := i + 1
		if end < len(pattern) && pattern[end] == '!' {
			end++
		}
		if end < len(pattern) && pattern[end] == ']' {
			end++
		}
		for end < len(pattern) && pattern[end] != ']' {
			end++
		}
		if end >= len(pattern) {
			b.WriteString(`\[`)
			continue
		}
		set := pattern[i+1 : end]
		if strings.Contains(set, "-") {
			return nil, false // ranges are for the table
		}
		b.WriteString("[")
		if rest, negated := strings.CutPrefix(set, "!"); negated {
			b.WriteString("^")
			set = rest
		}
		b.WriteString(regexp.MustCompile(`[\\\]\[^&~|]`).ReplaceAllString(set, `\$0`))
		b.WriteString("]")
		i = end
	}
	b.WriteString(`\z`)
	compiled, err := regexp.Compile(b.String())
	return compiled, err == nil
}

func FuzzPythonMatch(f *testing.F) {
	for _, seed := range [][2]string{
		{"*", "a"}, {"a*b?c", "aXXbYc"}, {"[!a]*", "bcd"}, {"[]a]", "]"}, {"[", "["}, {"[!", "[!"}, {"*[!x]*", "xxy"}, {"**", ""}, {`\[*`, `\[a`}, {"[^a]", "^"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) || strings.ContainsFunc(pattern, func(r rune) bool { return r >= utf8.RuneSelf }) || len(pattern)+len(name) > 200 {
			return
		}
		translated, ok := pythonRegexp(pattern)
		if !ok {
			return
		}
		want := translated.MatchString(name) && (!strings.HasPrefix(name, ".") || strings.HasPrefix(pattern, "."))
		if got := pythonGlob.match(pattern, name); got != want {
			t.Errorf("%q matches %q: got %t, want %t by %s", pattern, name, got, want, translated)
		}
	})
}

// A shell pattern in which everything is escaped matches just itself.
func FuzzShellMatchEscaped(f *testing.F) {
	for _, seed := range []string{"a", "*", "[a-z]", `\`, ".hidden", "é?"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if len(name) > 200 {
			return
		}
		var pattern strings.Builder
		for i := 0; i < len(name); i++ {
			if name[i] < utf8.RuneSelf {
				pattern.WriteByte('\\')
			}
			pattern.WriteByte(name[i])
		}
		if shellGlob.hasMagic(pattern.String()) {
			t.Errorf("%q has magic", pattern.String())
		}
		if !shellGlob.match(pattern.String(), name) || shellGlob.literal(pattern.String()) != name {
			t.Errorf("%q does not match %q", pattern.String(), name)
		}
		if shellGlob.match(pattern.String(), name+"x") {
			t.Errorf("%q matches more than %q", pattern.String(), name)
		}
		shellGlob.match(name, name) // whatever it is, it ends
	})
}
