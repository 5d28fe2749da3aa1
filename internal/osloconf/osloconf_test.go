// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package osloconf_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"copse/internal/osloconf"
)

// list has one of everything the format knows.
const list = `copse-options 1
[DEFAULT]
debug	boolean			False	More log
enabled_backends	dict				Stores
my_ip	string				Address
transport_url	uri	s		rabbit://	Bus
old_one	string	r			Goes away
# a comment

[database]
connection	string	s	DEFAULT/sql_connection sql/connection		Where
max_retries	integer			10	Tries
[glance_store]	owner=DEFAULT/enabled_backends	also=os_glance_staging_store
filesystem_store_datadir	string				Directory
[keystone_authtoken]
auth_type	string	q	keystone_authtoken/auth_plugin		Plugin
auth_url	string				Identity
[lim-its]
max-size	integer				Dashes	a later field
[ml2]
project_network_types	list		ml2/tenant_network_types	local	Types
[pci]
alias	multistring	m	DEFAULT/pci_alias		Aliases
[extra]	open
known	string				One
`

func parse(t *testing.T) *osloconf.Options {
	t.Helper()
	options, err := osloconf.Parse(strings.NewReader(list))
	if err != nil {
		t.Fatal(err)
	}
	return options
}

func TestRender(t *testing.T) {
	for _, c := range []struct {
		name string
		env  []string
		want string
	}{
		{"nothing", []string{"PATH=/bin", "OS_AUTH_URL=x", "OS_CLOUD=y"}, ""},
		{"sorted, DEFAULT first", []string{"OS_DATABASE__MAX_RETRIES=3", "OS_DATABASE__CONNECTION=mysql://a=b", "OS_DEFAULT__DEBUG=true"},
			"[DEFAULT]\ndebug = true\n\n[database]\nconnection = mysql://a=b\nmax_retries = 3\n"},
		{"an empty value undoes a default", []string{"OS_DEFAULT__DEBUG="}, "[DEFAULT]\ndebug =\n"},
		{"dashes come back", []string{"OS_LIM_ITS__MAX_SIZE=1"}, "[lim-its]\nmax-size = 1\n"},
		{"deprecated name", []string{"OS_ML2__TENANT_NETWORK_TYPES=vxlan"}, "[ml2]\nproject_network_types = vxlan\n"},
		{"deprecated group", []string{"OS_SQL__CONNECTION=x"}, "[database]\nconnection = x\n"},
		{"old and new name with one value", []string{"OS_SQL__CONNECTION=x", "OS_DATABASE__CONNECTION=x"}, "[database]\nconnection = x\n"},
		{"several values", []string{"OS_PCI__ALIAS={\"a\": 1}\n\n  {\"b\": 2}\n"}, "[pci]\nalias = {\"a\": 1}\nalias = {\"b\": 2}\n"},
		{"several values under the old name", []string{"OS_DEFAULT__PCI_ALIAS=a\nb"}, "[pci]\nalias = a\nalias = b\n"},
		{"no values", []string{"OS_PCI__ALIAS="}, "[pci]\n"},
		{"interpolation is oslo.config's", []string{"OS_DEFAULT__TRANSPORT_URL=rabbit://$my_ip/"}, "[DEFAULT]\ntransport_url = rabbit://$my_ip/\n"},
		{"white space and quotes at the ends", []string{"OS_DEFAULT__DEBUG= x", "OS_DEFAULT__MY_IP='a'"}, "[DEFAULT]\ndebug = \" x\"\nmy_ip = \"'a'\"\n"},
		{"a line end at the end", []string{"OS_DEFAULT__DEBUG=x\n"}, "[DEFAULT]\ndebug = x\n"},
		{"a group of one's own", []string{"OS_DEFAULT__ENABLED_BACKENDS=Fast-1:file, slow:rbd", "OS_FAST_1__FILESYSTEM_STORE_DATADIR=/f", "OS_SLOW__FILESYSTEM_STORE_DATADIR=/s"},
			"[DEFAULT]\nenabled_backends = Fast-1:file, slow:rbd\n\n[Fast-1]\nfilesystem_store_datadir = /f\n\n[slow]\nfilesystem_store_datadir = /s\n"},
		{"a group with a fixed name", []string{"OS_OS_GLANCE_STAGING_STORE__FILESYSTEM_STORE_DATADIR=/t"}, "[os_glance_staging_store]\nfilesystem_store_datadir = /t\n"},
		{"an open group", []string{"OS_EXTRA__ANY_THING=1"}, "[extra]\nany_thing = 1\n"},
		{"the last of two", []string{"OS_DEFAULT__DEBUG=a", "OS_DEFAULT__DEBUG=b"}, "[DEFAULT]\ndebug = b\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, err := parse(t).Render(c.env)
			if err != nil {
				t.Fatal(err)
			}
			_, got, _ := strings.Cut(string(text), "\n")
			if diff := cmp.Diff(c.want, strings.TrimPrefix(got, "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, c := range []struct{ variable, want string }{
		{"OS_DATABASE__CONECTION=secret-value", `OS_DATABASE__CONECTION: no option "conection" in [database]; nearest is OS_DATABASE__CONNECTION`},
		{"OS_DATABASE__CONNECTOIN", `OS_DATABASE__CONNECTOIN: no option "connectoin" in [database]; nearest is OS_DATABASE__CONNECTION`},
		{"OS_DATABSE__CONNECTION=x", `OS_DATABSE__CONNECTION: no group "databse"; nearest is OS_DATABASE__CONNECTION`},
		{"OS_DATABASE__TRANSPORT_URL=x", `OS_DATABASE__TRANSPORT_URL: no option "transport_url" in [database]; nearest is OS_DEFAULT__TRANSPORT_URL`},
		{"OS_ML2__TENANT_NETWORK_TYPE=x", `OS_ML2__TENANT_NETWORK_TYPE: no option "tenant_network_type" in [ml2]; nearest is OS_ML2__PROJECT_NETWORK_TYPES`},
		{"OS_FAST__FILESYSTEM_STORE_DATADIR=x", `OS_FAST__FILESYSTEM_STORE_DATADIR: no group "fast"; nearest is OS_GLANCE_STORE__FILESYSTEM_STORE_DATADIR`},
		{"OS_COMPLETELY__OTHER=x", `OS_COMPLETELY__OTHER: no group "completely"`},
		{"OS_DEFAULT__DEBUG=secret\nvalue", "OS_DEFAULT__DEBUG: the value has several lines, and [DEFAULT] debug takes one"},
		{"OS_DEFAULT__DEBUG=a\rb", "OS_DEFAULT__DEBUG: the value holds a control character that ends a line"},
		{"OS_DEFAULT__DEBUG=\xff", "OS_DEFAULT__DEBUG: the value is not UTF-8, which oslo.config reads"},
	} {
		problems := parse(t).Check([]string{c.variable})
		if len(problems) != 1 || problems[0].String() != c.want {
			t.Errorf("%q gives %v, want %q", c.variable, problems, c.want)
		}
		if strings.Contains(fmt.Sprint(problems), "secret") {
			t.Errorf("%q: the value is shown", c.variable)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	env := []string{"OS_ZZZ__A=1", "OS_DATABASE__CONECTION=1", "OS_DEFAULT__DEBUG=fine", "OS_SQL__CONNECTION=1", "OS_DATABASE__CONNECTION=2"}
	_, err := parse(t).Render(env)
	var refused *osloconf.Error
	if !errors.As(err, &refused) || len(refused.Problems) != 3 || len(strings.Split(err.Error(), "\n")) != 3 {
		t.Fatalf("got %v, want three problems on three lines", err)
	}
	if !strings.Contains(err.Error(), "OS_SQL__CONNECTION: sets [database] connection, as OS_DATABASE__CONNECTION does") &&
		!strings.Contains(err.Error(), "OS_DATABASE__CONNECTION: sets [database] connection, as OS_SQL__CONNECTION does") {
		t.Errorf("two names with two values: %v", err)
	}
	if (&osloconf.Options{}).Check(env[:1])[0].String() != `OS_ZZZ__A: no group "zzz"` {
		t.Errorf("an empty list should know nothing near")
	}
}

func TestParseKeepsWhatTheListSays(t *testing.T) {
	var got []osloconf.Option
	for option := range parse(t).All() {
		if option.Group == "database" || option.Option == "old_one" {
			got = append(got, option)
		}
	}
	want := []osloconf.Option{
		{Name: osloconf.Name{Group: "DEFAULT", Option: "old_one"}, Type: "string", Removal: true, Help: "Goes away"},
		{Name: osloconf.Name{Group: "database", Option: "connection"}, Type: "string", Secret: true, Help: "Where",
			Deprecated: []osloconf.Name{{Group: "DEFAULT", Option: "sql_connection"}, {Group: "sql", Option: "connection"}}},
		{Name: osloconf.Name{Group: "database", Option: "max_retries"}, Type: "integer", Default: "10", Help: "Tries"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                         `line 1 is not "copse-options 1"`,
		"copse-options 2\n":                        `line 1 is not "copse-options 1"`,
		"copse-options 1\nx\n":                     "line 2: an option stands before the first [group]",
		"copse-options 1\n[x\n":                    `line 2: "[x" is not a [group]`,
		"copse-options 1\n[]\n":                    `line 2: "[]" is not a [group]`,
		"copse-options 1\n[a]\n[A]":                "line 3: group A is there twice",
		"copse-options 1\n[a]\tfoo":                `line 2: group a has the unknown attribute "foo"`,
		"copse-options 1\n[a]\towner=x":            `line 2: "x" is not GROUP/OPTION`,
		"copse-options 1\n[a]\nb=c\tstring":        `line 3: "b=c" cannot be the name of an option`,
		"copse-options 1\n[a]\nb\tstring\tz":       `line 3: option b has the unknown flag 'z'`,
		"copse-options 1\n[a]\nb\tstring\t\tc/d/e": "",
		"copse-options 1\n[a]\nb\tstring\t\tcd":    `line 3: "cd" is not GROUP/OPTION`,
	} {
		_, err := osloconf.Parse(strings.NewReader(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

func TestEscapeValue(t *testing.T) {
	if got, err := osloconf.EscapeValue("a$b$$"); err != nil || got != "a$$b$$$$" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := osloconf.EscapeValue(`a\$b`); err == nil {
		t.Error(`"\$" is accepted`)
	}
}

func TestIsVariable(t *testing.T) {
	for name, want := range map[string]bool{
		"OS_DEFAULT__DEBUG": true, "OS_A__B__C": true,
		"OS_AUTH_URL": false, "OS___X": false, "OS_A__": false, "XOS_A__B": false, "OS_": false,
	} {
		if got := osloconf.IsVariable(name); got != want {
			t.Errorf("IsVariable(%q) is %v", name, got)
		}
	}
}

func TestNameGivesItsVariable(t *testing.T) {
	if got := (osloconf.Name{Group: "lim-its", Option: "max-size"}).Variable(); got != "OS_LIM_ITS__MAX_SIZE" {
		t.Errorf("got %s", got)
	}
}

// FuzzParse looks for lists and variables that break out of their line.
func FuzzParse(f *testing.F) {
	f.Add(list, "OS_DATABASE__CONNECTION", "x")
	f.Add("copse-options 1\n[a]\topen\n", "OS_A__B=", "y\n[z]")
	f.Fuzz(func(t *testing.T, text, variable, value string) {
		options, err := osloconf.Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		for option := range options.All() {
			if problems := options.Check([]string{option.Variable()}); len(problems) > 0 && osloconf.IsVariable(option.Variable()) {
				t.Fatalf("%s is in the list, and refused: %v", option.Name, problems)
			}
		}
		rendered, err := options.Render([]string{variable + "=" + value})
		if err != nil {
			return
		}
		sections := 0
		for _, line := range strings.Split(string(rendered), "\n") {
			if strings.HasPrefix(line, "[") {
				sections++
			}
		}
		if sections > 1 {
			t.Fatalf("one variable made %d sections:\n%s", sections, rendered)
		}
	})
}

// BenchmarkParse reads a list as long as nova's, the longest there is.
func BenchmarkParse(b *testing.B) {
	var text strings.Builder
	text.WriteString("copse-options 1\n")
	for group := range 50 {
		fmt.Fprintf(&text, "[group_%d]\n", group)
		for option := range 32 {
			fmt.Fprintf(&text, "option_with_a_name_%d\tstring\t\t\tdefault\t%s\n", option, strings.Repeat("help ", 20))
		}
	}
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := osloconf.Parse(strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		}
	}
}
