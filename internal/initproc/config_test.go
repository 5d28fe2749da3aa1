// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const optionsList = `copse-options 1
[DEFAULT]
debug	boolean				More log
transport_url	uri	s			Bus
[database]
connection	string	s	sql/connection		Where
[pci]
alias	multistring	m			Aliases
`

// secretText has what oslo.config's reader, a URL and a shell would each trip over.
const secretText = "pa$$w@rd/%'"

func TestConfiguration(t *testing.T) {
	scratch := scratchWith(t, map[string]string{
		"options":             optionsList,
		"secrets/database":    secretText + "\n",
		"templates/init.sql":  "CREATE USER k IDENTIFIED BY {{secret database | sql}};\n",
		"templates/proxy.cfg": "bind {{env ADDRESS}}:80 # {{braces}}\n",
	})
	made := container(t, scratch, "--", "sh", "-c", `
		cat /run/copse/service.conf
		stat -c %a /run/copse/service.conf /run/sql/init.sql /run/proxy.cfg
		cat /run/sql/init.sql /run/proxy.cfg
		ls -A /run/copse
		cat /proc/$$/environ | tr '\0' '\n'`)
	made.Env = append(made.Env,
		"ADDRESS=10.0.0.5",
		"COPSE_CONFIG_FILE=/run/copse/service.conf",
		"COPSE_OPTIONS_FILE=/files/options",
		"COPSE_TEMPLATES=/files/templates/init.sql:/run/sql/init.sql:0600\n/files/templates/proxy.cfg:/run/proxy.cfg",
		"OS_AUTH_URL=http://client/",
		"OS_SQL__CONNECTION=mysql+pymysql://k:{{secret database | urlquote}}@{{env ADDRESS}}/k",
		"OS_DEFAULT__TRANSPORT_URL={{secret database}}",
		"OS_DEFAULT__DEBUG=",
		"OS_PCI__ALIAS=a\nb\n",
	)
	got := finish(t, made)
	want := `# Written by copse-init from the variables OS_<GROUP>__<OPTION>; made anew at each start.

[DEFAULT]
debug =
transport_url = pa$$$$w@rd/%'

[database]
connection = mysql+pymysql://k:pa%24%24w%40rd%2F%25%27@10.0.0.5/k

[pci]
alias = a
alias = b
640
600
640
CREATE USER k IDENTIFIED BY 'pa$$w@rd/%\'';
bind 10.0.0.5:80 # {{
service.conf
ADDRESS=10.0.0.5
COPSE_CONFIG_FILE=/run/copse/service.conf
COPSE_OPTIONS_FILE=/files/options
COPSE_TEMPLATES=/files/templates/init.sql:/run/sql/init.sql:0600
/files/templates/proxy.cfg:/run/proxy.cfg
OS_AUTH_URL=http://client/
PATH=/usr/sbin:/usr/bin:/sbin:/bin
`
	if got.status != 0 || !sameLines(got.stdout, want) {
		t.Errorf("status %d, %s\n--- got\n%s--- want\n%s", got.status, got.stderr, got.stdout, want)
	}
}

// sameLines compares texts whose last lines, an environment, are in any order.
func sameLines(got, want string) bool {
	count := map[string]int{}
	for line := range strings.Lines(got) {
		count[line]++
	}
	for line := range strings.Lines(want) {
		count[line]--
	}
	for _, n := range count {
		if n != 0 {
			return false
		}
	}
	return true
}

// TestConfigurationFaults has starts that must not get as far as the service.
func TestConfigurationFaults(t *testing.T) {
	scratch := scratchWith(t, map[string]string{
		"options":          optionsList,
		"secrets/database": "x",
		"bad.tmpl":         "first\n{{secret nope}}\n{{env UNSET}}\n",
		"list.bad":         "copse-options 9\n",
	})
	const conf, list = "COPSE_CONFIG_FILE=/run/x.conf", "COPSE_OPTIONS_FILE=/files/options"
	for _, c := range []struct {
		name   string
		env    []string
		status int
		want   string
	}{
		{"misspelt names, all of them", []string{conf, list, "OS_DATABASE__CONECTION=secret", "OS_DEFALT__DEBUG=1", "OS_DEFAULT__DEBUG={{secret nope}}"}, 64,
			"copse-init: cannot write /run/x.conf: OS_DATABASE__CONECTION: no option \"conection\" in [database]; nearest is OS_DATABASE__CONNECTION\n" +
				"copse-init: cannot write /run/x.conf: OS_DEFALT__DEBUG: no group \"defalt\"; nearest is OS_DEFAULT__DEBUG\n"},
		{"missing secrets", []string{conf, list, "OS_DEFAULT__DEBUG={{secret nope}}", "OS_DATABASE__CONNECTION={{secret database}}{{env UNSET}}"}, 78,
			"copse-init: cannot write /run/x.conf: OS_DEFAULT__DEBUG: there is no secret nope: /run/secrets/nope does not exist\n" +
				"copse-init: cannot write /run/x.conf: OS_DATABASE__CONNECTION: environment variable UNSET is not set\n"},
		{"templates", []string{"COPSE_TEMPLATES=/files/bad.tmpl:/run/a,/files/none:/run/b"}, 78,
			"copse-init: cannot fill in /files/bad.tmpl: line 2: there is no secret nope: /run/secrets/nope does not exist\n" +
				"copse-init: cannot fill in /files/bad.tmpl: line 3: environment variable UNSET is not set\n" +
				"copse-init: cannot read the template /files/none: no such file or directory\n"},
		{"template list", []string{"COPSE_TEMPLATES=/files/bad.tmpl"}, 78,
			"copse-init: cannot read COPSE_TEMPLATES: \"/files/bad.tmpl\" is not SOURCE:DEST[:MODE] with absolute paths\n"},
		{"no list of options", []string{conf, "OS_DEFAULT__DEBUG=1"}, 78,
			"copse-init: cannot write /run/x.conf: COPSE_OPTIONS_FILE does not name the image's list of options\n"},
		{"a list of another version", []string{conf, "COPSE_OPTIONS_FILE=/files/list.bad", "OS_DEFAULT__DEBUG=1"}, 78,
			"copse-init: cannot write /run/x.conf: /files/list.bad: cannot read the list of options: line 1 is not \"copse-options 1\"\n"},
		{"a secret with nowhere to go", []string{"OS_DEFAULT__DEBUG={{secret database}}"}, 78,
			"copse-init: cannot fill in OS_DEFAULT__DEBUG: COPSE_CONFIG_FILE is not set, and a secret does not go into the environment\n"},
		{"nowhere to write", []string{"COPSE_CONFIG_FILE=/proc/x/y.conf"}, 78,
			"copse-init: cannot write /proc/x/y.conf: no such file or directory\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			made := container(t, scratch, "--", "echo", "started")
			made.Env = append(made.Env, c.env...)
			got := finish(t, made)
			if got.status != c.status || got.stdout != "" || got.stderr != c.want {
				t.Errorf("got %+v\nwant status %d, stderr %s", got, c.status, c.want)
			}
		})
	}
}

func TestUnwritableDirectoryNamesTheWayOut(t *testing.T) {
	got := finish(t, container(t, scratchWith(t, nil), "--", "sh", "-c",
		"mount -t tmpfs -o ro tmpfs /run; COPSE_CONFIG_FILE=/run/x.conf exec /copse-init -- true"))
	if got.status != 78 || !strings.Contains(got.stderr, "cannot write /run/x.conf: read-only file system; make /run a tmpfs that user 0 can write") {
		t.Errorf("got %+v", got)
	}
}

func TestConfigurationFileIsReplacedWhole(t *testing.T) {
	directory := t.TempDir()
	path := filepath.Join(directory, "x.conf")
	if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
		t.Fatal(err)
	}
	// A reader that has the old file open keeps it.
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	made := command(t, "--", "true")
	made.Env = append(made.Env, "COPSE_CONFIG_FILE="+path)
	if got := finish(t, made); got.status != 0 {
		t.Fatalf("got %+v", got)
	}
	text := make([]byte, 16)
	if size, _ := old.Read(text); string(text[:size]) != "old" {
		t.Errorf("the old file now holds %q", text[:size])
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	entries, err := os.ReadDir(directory)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestKolla(t *testing.T) {
	files := map[string]string{
		"kolla/config.json": `{"command": "cat /etc/service.conf", "config_files": [
			{"source": "/var/lib/kolla/config_files/service.conf", "dest": "/etc/service.conf", "owner": "root", "perm": "0600"}]}`,
		"kolla/service.conf": "from kolla\n",
	}
	for _, c := range []struct {
		name      string
		arguments []string
		env       []string
		status    int
		want      string
	}{
		{"the file's command", []string{"--"}, []string{"KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"}, 0, "from kolla\n"},
		{"one's own command", []string{"--", "sed", "s/^/own: /", "/etc/service.conf"}, []string{"KOLLA_CONFIG_STRATEGY=COPY_ALWAYS"}, 0, "own: from kolla\n"},
		{"a fault", []string{"--", "echo", "started"}, []string{"KOLLA_CONFIG_STRATEGY=SOMETIMES"}, 1, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			scratch := scratchWith(t, files)
			made := container(t, scratch, c.arguments...)
			made.Env = append(made.Env, c.env...)
			// Accounts, as the configuration names an owner.
			made.Args[len(made.Args)-len(c.arguments)-3] = strings.Replace(containerScript, "if [ -d files/secrets ]",
				"cp /etc/passwd /etc/group etc\nif [ -d files/secrets ]", 1)
			got := finish(t, made)
			if got.status != c.status || !strings.HasSuffix(got.stdout, c.want) || strings.Contains(got.stdout, "started") {
				t.Errorf("got %+v, want status %d and %q", got, c.status, c.want)
			}
		})
	}
}
