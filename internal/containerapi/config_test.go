// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseJSONFull(t *testing.T) {
	config, warnings, err := ParseJSON([]byte(`{
		"command": "nova-api", "x-note": 1,
		"config_files": [
			{"source": "/s/a", "dest": "/d/a", "owner": "nova", "perm": "0640"},
			{"source": "/s/b", "dest": "/d/b", "owner": "nova:kolla", "perm": "0o6755", "optional": true, "merge": "yes"},
			{"source": "/s/c", "dest": "/d/c", "preserve_properties": true, "perm": ""}],
		"directories": [{"path": "/x", "owner": "nova", "perm": "755"}],
		"files": [{"path": "/y", "owner": "nova", "perm": "0600"}],
		"permissions": [{"path": "/z*", "owner": "nova:", "recurse": 1, "perm": "", "note": ""}]}`))
	if err != nil {
		t.Fatal(err)
	}
	nova := Owner{User: "nova"}
	want := Config{
		Command: "nova-api",
		ConfigFiles: []ConfigFile{
			{Source: "/s/a", Dest: "/d/a", Owner: nova, Perm: 0o640},
			{Source: "/s/b", Dest: "/d/b", Owner: Owner{User: "nova", Group: "kolla"}, Perm: 0o6755, Optional: true, Merge: true},
			{Source: "/s/c", Dest: "/d/c", PreserveProperties: true},
		},
		Directories: []Directory{{Path: "/x", Owner: nova, Perm: 0o755}},
		Files:       []EmptyFile{{Path: "/y", Owner: nova, Perm: 0o600}},
		Permissions: []Permission{{Path: "/z*", Owner: nova, Recurse: true}},
	}
	if difference := cmp.Diff(want, config); difference != "" {
		t.Error(difference)
	}
	if len(warnings) != 2 || !strings.Contains(warnings[0], "x-note") || !strings.Contains(warnings[1], "note") || !strings.Contains(warnings[1], "/z*") {
		t.Errorf("warnings %q", warnings)
	}
}

func TestParseRefusals(t *testing.T) {
	entry := func(fields string) string { return `{"command": "c", "config_files": [{` + fields + `}]}` }
	tests := map[string]struct {
		text string
		says []string
	}{
		"nothing":            {"", []string{"empty"}},
		"not an object":      {"[]", []string{"mapping"}},
		"trailing text":      {`{"command": "c"} x`, []string{"config.json"}},
		"not UTF-8":          {"{\"command\": \"\xff\"}", []string{"UTF-8"}},
		"no command":         {"{}", []string{"command"}},
		"null command":       {`{"command": null}`, []string{"command"}},
		"command number":     {`{"command": 7}`, []string{"command", "7"}},
		"section no list":    {`{"command": "c", "files": {}}`, []string{"files"}},
		"entry no mapping":   {`{"command": "c", "files": ["/x"]}`, []string{"files[0]"}},
		"source number":      {entry(`"source": 1, "dest": "/d"`), []string{"source", "/d"}},
		"empty dest":         {entry(`"source": "/s", "dest": ""`), []string{"dest", "/s"}},
		"zero byte":          {entry(`"source": "/s\u0000", "dest": "/d"`), []string{"source", "/d"}},
		"perm number":        {entry(`"source": "/s", "dest": "/d", "owner": "o", "perm": 640`), []string{"perm", "/d", "640", "quotes"}},
		"perm with blanks":   {entry(`"source": "/s", "dest": "/d", "owner": "o", "perm": " 640"`), []string{"perm", "/d"}},
		"perm 0O":            {entry(`"source": "/s", "dest": "/d", "owner": "o", "perm": "0O640"`), []string{"perm", "/d"}},
		"perm 0o twice":      {entry(`"source": "/s", "dest": "/d", "owner": "o", "perm": "0o0o64"`), []string{"perm", "/d"}},
		"owner without user": {entry(`"source": "/s", "dest": "/d", "owner": ":g", "perm": "640"`), []string{"owner", "/d"}},
		"flag word":          {entry(`"source": "/s", "dest": "/d", "owner": "o", "perm": "640", "merge": "maybe"`), []string{"merge", "/d", "maybe"}},
		"flag number":        {entry(`"source": "/s", "dest": "/d", "owner": "o", "perm": "640", "merge": 2`), []string{"merge", "/d", "2"}},
		"second entry":       {`{"command": "c", "config_files": [{"source": "/s", "dest": "/d", "owner": "o", "perm": "640"}, {"source": "/s", "dest": "/e", "Owner": "o"}]}`, []string{"config_files[1]", "/e", "Owner"}},
		"exclude no list":    {`{"command": "c", "permissions": [{"path": "/p", "owner": "o", "exclude": "x"}]}`, []string{"exclude", "/p"}},
		"exclude lookahead":  {`{"command": "c", "permissions": [{"path": "/p", "owner": "o", "exclude": ["(?!x)"]}]}`, []string{"exclude", "/p", "(?!x)"}},
		"unknown directory":  {`{"command": "c", "directories": [{"path": "/p", "owner": "o", "perm": "755", "mode": 1}]}`, []string{"mode", "/p"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, _, err := ParseJSON([]byte(test.text))
			if err == nil {
				t.Fatal("accepted")
			}
			if ExitCode(err) != exitKnown {
				t.Errorf("exit code %d of %v, want %d", ExitCode(err), err, exitKnown)
			}
			for _, word := range append(test.says, string(InvalidConfig)) {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q is not in: %v", word, err)
				}
			}
		})
	}
}

func TestYAMLScalars(t *testing.T) {
	tests := map[string]any{
		"0o640": "0o640", "'0640'": "0640", `"640"`: "640", "0640": number("0640"), "640": number("640"),
		"0x1F": number("0x1F"), "0b11": number("0b11"), "1_000": number("1_000"), "12:30": number("12:30"), "1.5": number("1.5"),
		"1e3": "1e3", ".inf": number(".inf"), "2026-11-01": number("2026-11-01"), "08": "08",
		"yes": true, "Off": false, "TRUE": true, "y": "y", "'no'": "no",
		"~": nil, "null": nil, "": nil, "NULL": nil, "nUll": "nUll",
		"!!str 640": "640", "!!str yes": "yes", "nova:kolla": "nova:kolla", "|\n  a\n  b": "a\nb\n",
	}
	for text, want := range tests {
		document, err := decodeYAML([]byte("key: " + text + "\n"))
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := document.(map[string]any)["key"]; got != want {
			t.Errorf("%q: got %#v, want %#v", text, got, want)
		}
	}
}

func TestYAMLRefusals(t *testing.T) {
	for name, text := range map[string]string{
		"two documents":   "command: a\n---\ncommand: b\n",
		"unknown tag":     "command: !!python/object a\n",
		"number as a key": "1: a\n",
		"merge of a word": "<<: a\n",
		"alias to itself": "a: &a [*a]\n",
		"billion laughs": "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
			"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f]\n",
	} {
		if _, err := decodeYAML([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestParsePerm(t *testing.T) {
	for text, want := range map[string]fs.FileMode{"000": 0, "644": 0o644, "0644": 0o644, "7777": 0o7777, "0o644": 0o644, "0o4755": 0o4755} {
		if got, ok := parsePerm(text); !ok || got != want {
			t.Errorf("%q: got %o, %t, want %o", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "0", "64", "00644", "0o64", "0o00644", "o644", "689", "-644", "+644", "6 4", "0x644"} {
		if got, ok := parsePerm(text); ok {
			t.Errorf("%q: read as %o", text, got)
		}
	}
}

// fuzzParse holds what is true of every configuration that is accepted.
func fuzzParse(t *testing.T, config Config, err error) {
	if err != nil {
		if ExitCode(err) != exitKnown {
			t.Errorf("exit code %d of %v", ExitCode(err), err)
		}
		return
	}
	for _, file := range config.ConfigFiles {
		if file.Source == "" || file.Dest == "" || file.Perm > permBits || !file.PreserveProperties && file.Owner.User == "" {
			t.Errorf("accepted %+v", file)
		}
	}
	for _, permission := range config.Permissions {
		if permission.Path == "" || permission.Owner.User == "" || permission.Perm != nil && *permission.Perm > permBits {
			t.Errorf("accepted %+v", permission)
		}
	}
}

func FuzzParseJSON(f *testing.F) {
	for _, seed := range []string{
		`{"command": "a"}`, `{"command": "a", "config_files": [{"source": "/a", "dest": "/b", "owner": "c", "perm": "0600"}]}`,
		`{"command": "a", "permissions": [{"path": "/a", "owner": "b:c", "perm": "0o755", "recurse": true, "exclude": ["x"]}]}`,
		`{"command": "a", "directories": [{"path": "/a", "owner": "b", "perm": "755"}], "files": null}`, `[`, `{"a": 1e400}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, _, err := ParseJSON(data)
		fuzzParse(t, config, err)
	})
}

func FuzzParseYAML(f *testing.F) {
	for _, seed := range []string{
		"command: a\n", "command: a\nconfig_files:\n- {source: /a, dest: /b, owner: c, perm: 0o640, optional: yes}\n",
		"command: a\npermissions:\n- &p {path: /a, owner: b}\n- <<: *p\n  path: /c\n", "a: &a [*a]\n", "--- a\n--- b\n", "a: !!binary x", "? a\n: b\n", "command: |\n  a\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, _, err := ParseYAML(data)
		fuzzParse(t, config, err)
	})
}

func FuzzParseState(f *testing.F) {
	for _, seed := range []string{`{}`, `{"/a": {"dest": null}}`, `{"/a": {"dest": "/a", "source": "/b", "preserve_properties": true, "merge": true}}`, `{"": {}}`, ``, `{"/..": {"dest": null}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := parseState(data)
		if err != nil {
			return
		}
		for place, r := range records {
			if !strings.HasPrefix(place, "/") || strings.Trim(place, "/") == "" || !r.absent() && r.Source == "" {
				t.Errorf("accepted %q: %+v", place, r)
			}
		}
	})
}
