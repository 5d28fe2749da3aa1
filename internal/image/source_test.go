// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func armoured(key string) string {
	return "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\n" +
		base64.StdEncoding.EncodeToString([]byte(key)) + "\n=AbCd\n-----END PGP PUBLIC KEY BLOCK-----\n"
}

func TestHostSource(t *testing.T) {
	const vendors = `
deb [signed-by=/usr/share/keyrings/vendor.gpg] https://apt.vendor.example bookworm main
deb https://packages.example/apt cloud-sdk-bookworm main
deb https://download.example/linux/debian bookworm stable
`
	tests := []struct {
		name    string
		files   map[string]string
		apt     APT
		suites  []string
		list    string
		keyring string
		err     string
	}{
		{
			name: "deb822 with comments, several suites and a vendor's list beside it",
			files: map[string]string{
				"etc/apt/sources.list.d/a-vendors.list": vendors,
				"etc/apt/sources.list.d/debian.sources": `# the archive
Types: deb deb-src
URIs: http://mirror.example/debian
# a comment between
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security/
Suites: bookworm-security
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
`,
				"usr/share/keyrings/debian-archive-keyring.gpg": "DEBIAN",
				"usr/share/keyrings/vendor.gpg":                 "VENDOR",
			},
			suites: []string{"trixie", "trixie-updates", "trixie-security", "sid"},
			list: `deb [signed-by=/k] http://mirror.example/debian trixie main
deb [signed-by=/k] http://mirror.example/debian trixie-updates main
deb [check-valid-until=no signed-by=/k] http://mirror.example/debian-security/ trixie-security main
deb [signed-by=/k] http://mirror.example/debian sid main
`,
			keyring: "DEBIAN",
		},
		{
			name: "one-line, no keys, pockets that the host does not have",
			files: map[string]string{
				"etc/apt/sources.list": "deb-src http://src.example/debian trixie main\n" +
					"deb [ trusted=yes arch=amd64 ] http://mirror.example/debian trixie main contrib # here\n",
			},
			suites: []string{"trixie", "trixie-updates", "trixie-security"},
			list:   "deb [trusted=yes] http://mirror.example/debian trixie main\n",
		},
		{
			name: "an armoured keyring, and a disabled entry",
			files: map[string]string{
				"etc/apt/sources.list.d/a.sources": "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: trixie\nComponents: main\n",
				"etc/apt/sources.list.d/b.sources": "Types: deb\nURIs: http://on.example/debian\nSuites: trixie\nComponents: main\nSigned-By: /etc/apt/keyrings/k.asc\n",
				"etc/apt/keyrings/k.asc":           armoured("KEY1") + armoured("KEY2"),
			},
			suites:  []string{"trixie"},
			list:    "deb [signed-by=/k] http://on.example/debian trixie main\n",
			keyring: "KEY1KEY2",
		},
		{
			name: "a key inside the entry",
			files: map[string]string{
				"etc/apt/sources.list.d/b.sources": "Types: deb\nURIs: http://on.example/debian\nSuites: trixie\nComponents: main\nSigned-By:\n " +
					strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(armoured("INSIDE")), "\n\n", "\n.\n"), "\n", "\n ") + "\n",
			},
			suites:  []string{"trixie"},
			list:    "deb [signed-by=/k] http://on.example/debian trixie main\n",
			keyring: "INSIDE",
		},
		{
			name:   "the operator's before the host's",
			files:  map[string]string{"etc/apt/sources.list": "deb http://host.example/debian bookworm main\n"},
			apt:    APT{Sources: "deb http://operator.example/debian trixie main"},
			suites: []string{"trixie"},
			list:   "deb http://operator.example/debian trixie main\n",
		},
		{
			name:  "another distribution",
			files: map[string]string{"etc/apt/sources.list.d/vendors.list": "deb https://download.example/linux noble stable\n"},
			err:   "name one under apt.sources",
		},
		{name: "no apt", files: map[string]string{"etc/hostname": "x"}, err: "cannot find a Debian package source"},
		{
			name:  "a key that is not there",
			files: map[string]string{"etc/apt/sources.list": "deb [signed-by=/lost.gpg] http://host.example/debian bookworm main\n"},
			err:   "lost.gpg",
		},
		{name: "an operator's without Debian", apt: APT{Sources: "deb http://x.example/debian trixie contrib"}, err: "image override"},
	}
	for _, test := range tests {
		root := fstest.MapFS{}
		for name, content := range test.files {
			root[name] = file(content)
		}
		source, err := HostSource(root, test.apt)
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%s: error %v, want one with %q", test.name, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if diff := cmp.Diff(test.list, source.list(test.suites, "/k")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
		if !bytes.Equal(source.keyring, []byte(test.keyring)) {
			t.Errorf("%s: keyring %q, want %q", test.name, source.keyring, test.keyring)
		}
	}
}

func TestConfiguration(t *testing.T) {
	source := PackageSource{options: map[string]string{"Acquire::Check-Valid-Until": "false"}}
	want := `Dir::Etc::SourceList "/s";
Dir::Etc::SourceParts "/dev/null";
Acquire::Check-Valid-Until "false";
`
	if diff := cmp.Diff(want, source.configuration("/s")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := source.configuration(""); strings.Contains(got, "Dir::") {
		t.Errorf("without sources the image's own are used, but: %s", got)
	}
}

func TestHostOptions(t *testing.T) {
	root := fstest.MapFS{
		"etc/apt/sources.list":          file("deb http://host.example/debian bookworm main\n"),
		"etc/apt/apt.conf":              file("Acquire::Retries \"1\";\n"),
		"etc/apt/apt.conf.d/10-proxy":   file("// Acquire::https::Proxy \"no\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n"),
		"etc/apt/apt.conf.d/20-others":  file("APT::Periodic \"0\";\nDPkg::Post-Invoke {\"rm -f x\";};\n"),
		"etc/apt/apt.conf.d/30-retries": file("Acquire::Retries \"2\";\n"),
	}
	source, err := HostSource(root, APT{Options: map[string]string{"Acquire::Check-Valid-Until": "false"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"Acquire::Retries": "2", "Acquire::http::Proxy": "http://proxy.example:3128", "Acquire::Check-Valid-Until": "false",
	}
	if diff := cmp.Diff(want, source.options); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzStanzas(f *testing.F) {
	f.Add("deb [a=b] http://x/debian trixie main")
	f.Add("Types: deb\nURIs: u\nSuites: s\nComponents: main\n more\n\n")
	f.Add("deb [")
	f.Add(" \t\n:\n\v")
	f.Fuzz(func(t *testing.T, text string) {
		for _, a := range parseSources(text) {
			if a.uri == "" || strings.ContainsAny(a.uri, " \n") {
				t.Errorf("archive %+v", a)
			}
		}
	})
}

// TestReleaseOptions: what a release says of fetching packages counts where nobody nearer says
// otherwise, and for that release alone.
func TestReleaseOptions(t *testing.T) {
	own := PackageSource{options: map[string]string{"Acquire::Retries": "2"}}
	got := own.withDefaults(map[string]string{"Acquire::Retries": "9", "Acquire::Check-Valid-Until": "false"}).configuration("")
	if want := "Acquire::Check-Valid-Until \"false\";\nAcquire::Retries \"2\";\n"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := own.withDefaults(nil).configuration(""), "Acquire::Retries \"2\";\n"; got != want {
		t.Errorf("after another release: got %s, want %s", got, want)
	}
}
