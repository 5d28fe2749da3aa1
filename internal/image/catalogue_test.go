// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"errors"
	"flag"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/tonistiigi/fsutil"

	"copse/catalog"
)

var update = flag.Bool("update", false, "write the golden files anew")

// small is a catalogue with every feature, small enough to read.
func small() fstest.MapFS {
	return fstest.MapFS{
		"releases/1.yaml":         file("suite: trixie\npockets: [updates]\n"),
		"releases/2.yaml":         file("suite: forky\napt_options: {'Acquire::Check-Valid-Until': 'false'}\nimages:\n  api: {suites: {sid: [late, later]}, packages: {append: [late]}}\n"),
		"images/image/image.yaml": file("kind: layout\n"),
		"images/image/Dockerfile": file(`FROM {{.From}}
{{block "packages" .}}{{range .Borrowed}}{{.Suite}} only {{join .Packages " "}}
{{end}}RUN install{{range .Packages}} {{.}}{{end}}
{{block "configure" .}}{{end}}{{end}}
{{block "footer" .}}{{end}}
{{if eq .Kind "service"}}COPY program/ /
{{with .User}}USER {{.}}{{end}}{{end}}
`),
		"images/image/tool.sh":   file("tool\n"),
		"images/base/image.yaml": file("kind: base\nextends: image\npackages: [ca]\n"),
		"images/base/dpkg.cfg":   file("path-exclude=/doc/*\n"),
		"images/web/image.yaml":  file("kind: layout\nextends: image\n"),
		"images/web/Dockerfile":  file(`{{define "footer"}}ENV WEB={{.Variables.port}}{{end}}`),
		"images/api/image.yaml":  file("extends: web\nfrom: base\ncomponent: api\nuser: api\npackages: [api, lib]\nvariables: {port: '80'}\n"),
		"images/api/Dockerfile":  file(`{{define "configure"}}setup{{end}}{{define "footer"}}{{template "super" .}}` + "\n" + `ENV API=1{{end}}`),
		"images/api/settings":    file("a: 1\n"),
		"images/db/image.yaml":   file("extends: image\nfrom: base\ncomponent: db\npackages: [db]\n"),
	}
}

func file(content string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(content), Mode: 0o644} }

func load(t *testing.T, source fs.FS, options Options) *Catalogue {
	t.Helper()
	if options.Init == nil {
		options.Init = []byte("init")
	}
	c, err := Load(source, options)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func resolve(t *testing.T, c *Catalogue, release, name string) Image {
	t.Helper()
	image, err := c.Resolve(release, name)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestResolveGolden(t *testing.T) {
	override := &Override{Images: map[string]Change{"api": {
		Packages: Packages{Append: []string{"vendor"}, Remove: []string{"lib"}},
		Blocks:   map[string]string{"footer": `{{template "super" .}}` + "\nENV VENDOR=1"},
	}}}
	for name, options := range map[string]Options{"api": {}, "db": {}, "base": {}, "api-override": {Override: override}} {
		image := resolve(t, load(t, small(), options), "1", strings.TrimSuffix(name, "-override"))
		var got strings.Builder
		got.WriteString(image.Dockerfile + "--- context\n")
		for _, f := range image.Context {
			got.WriteString(f.Mode.String() + " " + f.Path + "\n")
		}
		golden := "testdata/catalogue/" + name + ".golden"
		// The hash of what is below has its own tests.
		text := regexp.MustCompile(`-[0-9a-f]{12}`).ReplaceAllString(got.String(), "-HASH")
		if *update {
			if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), text); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestReferenceFollowsContent changes one thing at a time: exactly the images that it goes into
// get another reference.
func TestReferenceFollowsContent(t *testing.T) {
	references := func(source fs.FS, options Options) map[string]string {
		c := load(t, source, options)
		got := map[string]string{}
		for _, name := range []string{"base", "api", "db"} {
			got[name] = resolve(t, c, "1", name).Reference
		}
		return got
	}
	before := references(small(), Options{})
	edit := func(path, content string) fs.FS {
		source := small()
		source[path] = file(content)
		return source
	}
	const api = "extends: web\nfrom: base\ncomponent: api\nuser: api\npackages: [api, lib]\nvariables: {port: '80'}\n"
	tests := []struct {
		name    string
		source  fs.FS
		options Options
		changed string
	}{
		{"nothing", small(), Options{}, ""},
		{"copse-init", small(), Options{Init: []byte("other")}, "api db"},
		{"a package", edit("images/api/image.yaml", strings.Replace(api, "lib]", "lib2]", 1)), Options{}, "api"},
		{"a variable", edit("images/api/image.yaml", strings.Replace(api, "'80'", "'81'", 1)), Options{}, "api"},
		{"the user", edit("images/api/image.yaml", strings.Replace(api, "user: api", "user: web", 1)), Options{}, "api"},
		{"a comment in a definition", edit("images/api/image.yaml", "# the API\n"+api), Options{}, ""},
		{"a file of the context", edit("images/api/settings", "a: 2\n"), Options{}, "api"},
		{"a block of a layout between", edit("images/web/Dockerfile", `{{define "footer"}}ENV WEBB={{.Variables.port}}{{end}}`), Options{}, "api"},
		{"a file of the layout", edit("images/image/tool.sh", "tool 2\n"), Options{}, "base api db"},
		{"a package of the base", edit("images/base/image.yaml", "kind: base\nextends: image\npackages: [ca, tz]\n"), Options{}, "base api db"},
		{"the suite", edit("releases/1.yaml", "suite: sid\npockets: [updates]\n"), Options{}, "base api db"},
		{"a pocket", edit("releases/1.yaml", "suite: trixie\n"), Options{}, "base api db"},
		{"another image", edit("images/new/image.yaml", "extends: image\nfrom: base\ncomponent: new\n"), Options{}, ""},
		{"another release", edit("releases/2.yaml", "suite: sid\n"), Options{}, ""},
		{"the release's way to fetch", edit("releases/1.yaml", "suite: trixie\npockets: [updates]\napt_options: {'Acquire::Retries': '9'}\n"), Options{}, ""},
		{"the serial", small(), Options{Override: &Override{Serial: "2"}}, "base api db"},
		{"the base", small(), Options{Override: &Override{Base: "debian:13"}}, "base api db"},
		{"the mirror", small(), Options{Override: &Override{APT: APT{Sources: "deb http://mirror.example/debian trixie main"}}}, ""},
		{"apt's options", small(), Options{Override: &Override{APT: APT{Options: map[string]string{"Acquire::Retries": "9"}}}}, ""},
		{"what is below one", small(), Options{Override: &Override{Images: map[string]Change{"db": {From: "db:1"}}}}, "db"},
		{"an added file", small(), Options{Override: &Override{Images: map[string]Change{"db": {files: []File{{Path: "x", Mode: 0o644}}}}}}, "db"},
		{"the mode of an added file", small(), Options{Override: &Override{Images: map[string]Change{"db": {files: []File{{Path: "x", Mode: 0o755}}}}}}, "db"},
		{"a block of a base", small(), Options{Override: &Override{Images: map[string]Change{"base": {Blocks: map[string]string{"configure": "x"}}}}}, "base api db"},
	}
	seen := map[string]string{}
	for _, test := range tests {
		after := references(test.source, test.options)
		var changed []string
		for _, name := range []string{"base", "api", "db"} {
			if after[name] != before[name] {
				changed = append(changed, name)
				if other, taken := seen[after[name]]; taken {
					t.Errorf("%s: %s has the reference that %s gave it too", test.name, name, other)
				}
				seen[after[name]] = test.name
			}
		}
		if got := strings.Join(changed, " "); got != test.changed {
			t.Errorf("%s changed %q, want %q", test.name, got, test.changed)
		}
	}
}

func TestReference(t *testing.T) {
	c := load(t, small(), Options{})
	one, err := c.Reference("api", "1")
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Reference("api", "2")
	if err != nil {
		t.Fatal(err)
	}
	for reference, pattern := range map[string]string{one: `^copse/api:1-[0-9a-f]{12}$`, two: `^copse/api:2-[0-9a-f]{12}$`} {
		if !regexp.MustCompile(pattern).MatchString(reference) {
			t.Errorf("reference %q does not match %s", reference, pattern)
		}
	}
	if one[len("copse/api:1"):] == two[len("copse/api:2"):] {
		t.Error("two releases have the same hash")
	}
	if got := resolve(t, c, "2", "api").Suites; !cmp.Equal(got, []string{"forky", "sid"}) {
		t.Errorf("the exception of release 2 for api gives the suites %v", got)
	}
	if text := resolve(t, c, "2", "api").Dockerfile; !strings.Contains(text, "sid only late later\nRUN install api lib late") {
		t.Errorf("the package that release 2 appends is not installed, or not from where it is to come:\n%s", text)
	}
	if text := resolve(t, c, "2", "db").Dockerfile; strings.Contains(text, "sid") {
		t.Errorf("what another image takes from elsewhere is in\n%s", text)
	}
	if got := resolve(t, c, "2", "base").APTOptions; !cmp.Equal(got, map[string]string{"Acquire::Check-Valid-Until": "false"}) {
		t.Errorf("release 2 fetches packages with %v", got)
	}
	if got := c.Images("1"); !cmp.Equal(got, []string{"api", "db"}) {
		t.Errorf("Images(1) = %v", got)
	}
	if got := c.Images("9"); got != nil {
		t.Errorf("Images(9) = %v", got)
	}
	if component, ok := c.Component("api"); component != "api" || !ok {
		t.Errorf("Component(api) = %q, %v", component, ok)
	}
	if _, ok := c.Component("base"); ok {
		t.Error("base belongs to a component")
	}
}

func TestFaults(t *testing.T) {
	with := func(edits map[string]string) fs.FS {
		source := small()
		for path, content := range edits {
			source[path] = file(content)
		}
		return source
	}
	api := func(extra string) map[string]string {
		return map[string]string{"images/api/image.yaml": "extends: web\nfrom: base\ncomponent: api\n" + extra}
	}
	tests := []struct {
		name    string
		source  fs.FS
		options Options
		want    []string
	}{
		{"an unknown key", with(api("pakages: [x]\n")), Options{}, []string{"image api", "image.yaml", "pakages"}},
		{"an unknown block", with(map[string]string{"images/api/Dockerfile": `{{define "confgure"}}x{{end}}`}), Options{}, []string{"image api", `"confgure"`, "configure, footer, packages"}},
		{"an unknown block in an override", small(), Options{Override: &Override{Images: map[string]Change{"api": {Blocks: map[string]string{"foot": "x"}}}}}, []string{"change 1 of api", `"foot"`, "footer"}},
		{"text outside blocks", with(map[string]string{"images/api/Dockerfile": "RUN x"}), Options{}, []string{"api: there is text outside its blocks", "extends web"}},
		{"super of nothing", with(map[string]string{"images/api/Dockerfile": `{{define "new"}}{{template "super" .}}{{end}}{{define "footer"}}{{template "new" .}}{{end}}`}), Options{}, []string{`block "new"`, "redefines nothing"}},
		{"a variable that is not there", with(api("packages: [x]\n")), Options{}, []string{"image api", "port"}},
		{"a circle", with(map[string]string{"images/base/image.yaml": "kind: base\nfrom: base\n"}), Options{}, []string{"base → base", "back to itself"}},
		{"from a service", with(map[string]string{"images/db/image.yaml": "extends: image\nfrom: api\ncomponent: db\n"}), Options{}, []string{"image db", "from api, a service"}},
		{"from nothing", with(map[string]string{"images/db/image.yaml": "extends: image\nfrom: bas\ncomponent: db\n"}), Options{}, []string{"image db", `"bas"`}},
		{"no component", with(map[string]string{"images/db/image.yaml": "extends: image\nfrom: base\n"}), Options{}, []string{"image db", "component"}},
		{"a package that is not there to remove", small(), Options{Override: &Override{Images: map[string]Change{"api": {Packages: Packages{Remove: []string{"nolib"}}}}}}, []string{`"nolib"`, "[api lib]"}},
		{"an override of no image", small(), Options{Override: &Override{Images: map[string]Change{"ap": {}}}}, []string{`"ap"`, "api base db"}},
		{"a release's exception for no image", with(map[string]string{"releases/2.yaml": "suite: sid\nimages: {ap: {}}\n"}), Options{}, []string{"release 2", `"ap"`}},
		{"another suite without packages", with(map[string]string{"releases/2.yaml": "suite: forky\nimages: {api: {suites: {sid: []}}}\n"}), Options{}, []string{"release 2", "image api", "sid"}},
		{"a release without suite", with(map[string]string{"releases/2.yaml": "pockets: [updates]\n"}), Options{}, []string{"release 2", "suite"}},
	}
	for _, test := range tests {
		if test.options.Init == nil {
			test.options.Init = []byte("init")
		}
		c, err := Load(test.source, test.options)
		if err == nil {
			_, err = c.Resolve("1", "api")
		}
		if err == nil {
			t.Errorf("%s: no error", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", test.name, err, want)
			}
		}
	}
	c := load(t, small(), Options{})
	for _, request := range [][2]string{{"3", "api"}, {"1", "web"}, {"1", "nothing"}} {
		if _, err := c.Resolve(request[0], request[1]); err == nil || !strings.Contains(err.Error(), "there are: ") {
			t.Errorf("Resolve%v: %v", request, err)
		}
	}
}

func TestNoInit(t *testing.T) {
	c := load(t, small(), Options{})
	c.init = nil
	if _, err := c.Reference("api", "1"); !errors.Is(err, ErrNoInit) || !strings.Contains(err.Error(), "make") {
		t.Errorf("without copse-init: %v", err)
	}
	if _, err := c.Reference("base", "1"); err != nil {
		t.Errorf("a base has no copse-init and needs none: %v", err)
	}
}

func TestLoadOverride(t *testing.T) {
	directory := fstest.MapFS{
		"images.yaml": file(`
base: registry.example/debian:13
serial: "7"
apt: {options: {"Acquire::Retries": "5"}}
images:
  api:
    packages: {append: [vendor-plugin], remove: [lib]}
    blocks: {configure: "echo {{.Name}}"}
    files: {api/settings: mine/settings, vendor/run.sh: mine/run.sh}
    variables: {port: "8080"}
`),
		"mine/settings": file("a: 9\n"),
		"mine/run.sh":   &fstest.MapFile{Data: []byte("#!/bin/sh\n"), Mode: 0o700},
		"bad.yaml":      file("imges: {}\n"),
		"lost.yaml":     file("images: {api: {files: {x: nowhere}}}\n"),
		"out.yaml":      file("images: {api: {files: {../x: mine/settings}}}\n"),
	}
	override, err := LoadOverride(directory, "images.yaml")
	if err != nil {
		t.Fatal(err)
	}
	image := resolve(t, load(t, small(), Options{Override: override}), "1", "api")
	for _, want := range []string{"install api vendor-plugin\n", "echo api\n", "ENV WEB=8080"} {
		if !strings.Contains(image.Dockerfile, want) {
			t.Errorf("%q is not in\n%s", want, image.Dockerfile)
		}
	}
	files := map[string]File{}
	for _, f := range image.Context {
		files[f.Path] = f
	}
	if got := string(files["api/settings"].Content); got != "a: 9\n" {
		t.Errorf("the operator's file is not in the place of the catalogue's: %q", got)
	}
	if got := files["vendor/run.sh"].Mode; got != 0o755 {
		t.Errorf("a program came with mode %v", got)
	}
	if !image.RootFS.Pulled || image.RootFS.Reference != "registry.example/debian:13" {
		t.Errorf("the root file system is %+v", image.RootFS)
	}
	for name, want := range map[string]string{"bad.yaml": "imges", "lost.yaml": "nowhere", "out.yaml": "../x", "none.yaml": "none.yaml"} {
		if _, err := LoadOverride(directory, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestShipped holds what every image of the shipped catalogue must have.
func TestShipped(t *testing.T) {
	c := load(t, catalog.Files(), Options{Override: &Override{Serial: "today"}})
	usersFile, err := fs.ReadFile(catalog.Files(), "images/base/users")
	if err != nil {
		t.Fatal(err)
	}
	users, numbers := map[string]bool{}, map[string]string{}
	for line := range strings.Lines(string(usersFile)) {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] == "#" || strings.HasPrefix(line, "#") {
			continue
		}
		if len(fields) != 4 {
			t.Errorf("users: %q has %d fields", line, len(fields))
			continue
		}
		if other, taken := numbers[fields[1]]; taken {
			t.Errorf("users: %s and %s have the number %s", fields[0], other, fields[1])
		}
		for _, group := range strings.Split(fields[2], ",") {
			if group != "-" && !users[group] {
				t.Errorf("users: %s is to be in the group %s, which comes later or never", fields[0], group)
			}
		}
		users[fields[0]], numbers[fields[1]] = true, fields[0]
	}
	for _, release := range c.Releases() {
		for _, name := range c.Images(release) {
			image := resolve(t, c, release, name)
			user := regexp.MustCompile(`(?m)^USER (\S+)$`).FindStringSubmatch(image.Dockerfile)
			if user != nil && !users[user[1]] {
				t.Errorf("%s: the user %s has no fixed number", name, user[1])
			}
			last := strings.TrimSpace(image.Dockerfile[strings.LastIndex(strings.TrimSpace(image.Dockerfile), "\n"):])
			if last != "COPY --link program/ /usr/local/bin/" {
				t.Errorf("%s: the last instruction is %q: a new copse-init would install packages again", name, last)
			}
			// BuildKit caches by this text: what decides about packages is in it.
			for _, wanted := range append([]string{"serial today"}, image.Suites...) {
				if !strings.Contains(image.Dockerfile, wanted) {
					t.Errorf("%s: its Dockerfile does not say %q", name, wanted)
				}
			}
			for _, unwanted := range []string{"http://", "https://", "ADD http", "curl ", "wget "} {
				if strings.Contains(image.Dockerfile, unwanted) {
					t.Errorf("%s: %q in its Dockerfile", name, unwanted)
				}
			}
			if image.RootFS.Pulled || !strings.HasPrefix(image.RootFS.Reference, "copse/rootfs:") {
				t.Errorf("%s stands on %+v", name, image.RootFS)
			}
		}
	}
}

// TestShippedReleases holds what distinguishes the shipped releases: no image of one is mistaken for
// another's, and what a release takes from elsewhere comes by name alone.
func TestShippedReleases(t *testing.T) {
	c := load(t, catalog.Files(), Options{})
	if got, want := c.Releases(), []string{"2025.1", "2026.1"}; !cmp.Equal(got, want) {
		t.Fatalf("releases %v, want %v", got, want)
	}
	for _, name := range c.Images("2025.1") {
		older, newer := resolve(t, c, "2025.1", name), resolve(t, c, "2026.1", name)
		if older.Content == newer.Content || older.RootFS.Reference == newer.RootFS.Reference || older.From == newer.From {
			t.Errorf("%s: %s and %s are one image, or stand on one", name, older.Reference, newer.Reference)
		}
		if older.Suites[0] != "trixie" || newer.Suites[0] != "forky" {
			t.Errorf("%s comes from %v and %v", name, older.Suites, newer.Suites)
		}
		elsewhere := len(newer.Suites) > 3
		if elsewhere != (name == "glance") || elsewhere != strings.Contains(newer.Dockerfile, "\nPin-Priority: -1\n") {
			t.Errorf("%s: its suites are %v, and its Dockerfile is\n%s", name, newer.Suites, newer.Dockerfile)
		}
	}
	want := `
cat > /etc/apt/preferences.d/copse <<'END_OF_PREFERENCES'
Package: glance-api glance-common python3-glance python3-oslo.policy
Pin: release n=sid
Pin-Priority: 990

Package: *
Pin: release n=sid
Pin-Priority: -1
END_OF_PREFERENCES
install_packages glance-api qemu-utils
rm /etc/apt/preferences.d/copse
`
	if text := resolve(t, c, "2026.1", "glance").Dockerfile; !strings.Contains(text, want) {
		t.Errorf("glance's Dockerfile does not have%s:\n%s", want, text)
	}
}

func BenchmarkResolveAll(b *testing.B) {
	for b.Loop() {
		c, err := Load(catalog.Files(), Options{Init: make([]byte, 8<<20)})
		if err != nil {
			b.Fatal(err)
		}
		for _, name := range c.Images("2025.1") {
			if _, err := c.Resolve("2025.1", name); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// TestMemoryWalk compares the order of a walk with that of the file system.
func TestMemoryWalk(t *testing.T) {
	directory := t.TempDir()
	files := map[string]string{"a/b": "1", "a-b": "2", "a/c/d": "3", "a.b": "4", "z": "5"}
	var list []File
	for _, name := range sortedKeys(maps.Clone(files)) {
		list = append(list, File{Path: name, Mode: 0o644, Content: []byte(files[name])})
		full := directory + "/" + name
		if err := os.MkdirAll(full[:strings.LastIndex(full, "/")], 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(files[name]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	walk := func(walker fsutil.FS, target string) []string {
		var seen []string
		err := walker.Walk(t.Context(), target, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			if info.Mode().IsRegular() {
				path += info.Mode().String()
			}
			seen = append(seen, path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return seen
	}
	real, err := fsutil.NewFS(directory)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"", "a", "a/c"} {
		if diff := cmp.Diff(walk(real, target), walk(newMemory(list), target)); diff != "" {
			t.Errorf("walk of %q (-file system +memory):\n%s", target, diff)
		}
	}
}
