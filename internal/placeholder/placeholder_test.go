// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package placeholder_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"copse/internal/placeholder"
)

type source map[string]string

func (s source) Secret(name string) (string, error) {
	if value, ok := s["secret "+name]; ok {
		return value, nil
	}
	return "", fmt.Errorf("there is no secret %s", name)
}

func (s source) Env(name string) (string, bool) {
	value, ok := s["env "+name]
	return value, ok
}

func TestExpand(t *testing.T) {
	values := source{
		"secret db":    "pa'ss/w%rd\"\\",
		"secret inner": "{{env HOST}}",
		"env HOST":     "10.0.0.5",
	}
	for _, c := range []struct{ name, text, want, wantErr string }{
		{"plain text stays", "a { b } }} c", "a { b } }} c", ""},
		{"secret", "x={{secret db}};", "x=pa'ss/w%rd\"\\;", ""},
		{"spaces inside", "{{  secret   inner  }}", "{{env HOST}}", ""},
		{"a value is not expanded again", "{{secret inner}}{{env HOST}}", "{{env HOST}}10.0.0.5", ""},
		{"urlquote", "mysql://k:{{secret db | urlquote}}@h/", "mysql://k:pa%27ss%2Fw%25rd%22%5C@h/", ""},
		{"sql", "BY {{secret db|sql}};", `BY 'pa\'ss/w%rd"\\';`, ""},
		{"json", `{"p":{{secret db | json}}}`, `{"p":"pa'ss/w%rd\"\\"}`, ""},
		{"braces", "{{braces}} x }}", "{{ x }}", ""},
		{"unknown secret names its line", "a\nb {{secret none}}", "", "line 2: there is no secret none"},
		{"unknown variable", "{{env NOPE}}", "", "line 1: environment variable NOPE is not set"},
		{"unknown word", "{{secrte db}}", "", "{{secrte db}} is no placeholder"},
		{"unknown filter", "{{secret db | md5}}", "", `unknown filter "md5"`},
		{"unclosed", "{{secret db", "", `"{{" has no "}}" on its line`},
		{"closed on another line", "{{secret db\n}}", "", `"{{" has no "}}" on its line`},
		{"no way out of the directory", "{{secret ../shadow}}", "", "cannot be the name of a secret"},
		{"no hidden file", "{{secret .x}}", "", "cannot be the name of a secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := placeholder.Expand(c.text, values, nil)
			if c.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), c.wantErr) {
					t.Fatalf("error is %v, want one with %q", err, c.wantErr)
				}
				return
			}
			if err != nil || got != c.want {
				t.Fatalf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestEveryBadPlaceholderIsReported(t *testing.T) {
	_, err := placeholder.Expand("{{secret a}}\n{{env B}}\n\n{{what}}", source{}, nil)
	for _, want := range []string{"line 1: there is no secret a", "line 2: environment variable B", "line 4: {{what}}"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
	var one *placeholder.Error
	if !errors.As(err, &one) || one.Line != 1 {
		t.Errorf("no *Error of line 1 in %v", err)
	}
}

func TestEncodeSeesValuesAndMayRefuse(t *testing.T) {
	values := source{"secret a": "x$y"}
	got, err := placeholder.Expand("$k {{secret a}}", values, func(v string) (string, error) {
		return strings.ReplaceAll(v, "$", "$$"), nil
	})
	if err != nil || got != "$k x$$y" {
		t.Errorf("got %q, %v", got, err)
	}
	_, err = placeholder.Expand("{{secret a}}", values, func(string) (string, error) { return "", errors.New("not that") })
	if err == nil || !strings.Contains(err.Error(), "secret a: not that") || strings.Contains(err.Error(), "x$y") {
		t.Errorf("refusal came out as %v", err)
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("a {{secret s | json}} b", "v")
	f.Add("{{env s|sql}}{{braces}}{{", "\x00'\\")
	f.Fuzz(func(t *testing.T, text, value string) {
		values := source{"secret s": value, "env s": value}
		got, err := placeholder.Expand(text, values, nil)
		if err != nil && got != "" {
			t.Errorf("text given beside an error")
		}
		if err == nil && !placeholder.Contains(text) && got != text {
			t.Errorf("text without placeholders changed")
		}
		quoted, err := placeholder.Expand("{{secret s | urlquote}}", values, nil)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := url.PathUnescape(quoted); err != nil || back != value {
			t.Errorf("urlquote of %q reads back as %q, %v", value, back, err)
		}
		quoted, err = placeholder.Expand("{{secret s | json}}", values, nil)
		if err != nil {
			t.Fatal(err)
		}
		var back string
		if err := json.Unmarshal([]byte(quoted), &back); err != nil || back != string([]rune(value)) {
			t.Errorf("json of %q reads back as %q, %v", value, back, err)
		}
	})
}
