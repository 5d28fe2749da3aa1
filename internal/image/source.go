// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// PackageSource is where packages are fetched from during a build: the mirror and the keys of one
// host. Nothing of it goes into an image or its name.
type PackageSource struct {
	archives []archive
	keyring  []byte
	options  map[string]string
}

// archive is one place that has packages of Debian.
type archive struct {
	uri      string
	pocket   string   // "", "updates", "security"
	options  []string // as in "[check-valid-until=no]"
	signedBy string   // path of a keyring, or a key
}

// pockets of a suite that images may be made from.
var pockets = []string{"", "updates", "security"}

// HostSource reads the host's own package source: root is its root directory, read through
// /etc/apt. An operator's APT settings come first where they say something.
func HostSource(root fs.FS, apt APT) (PackageSource, error) {
	var archives []archive
	if apt.Sources != "" {
		archives = parseSources(apt.Sources)
		if len(archives) == 0 {
			return PackageSource{}, errors.New("cannot use the package source of the image override: there is no Debian archive with component main in it")
		}
	} else {
		var err error
		if archives, err = hostArchives(root); err != nil {
			return PackageSource{}, err
		}
	}
	source := PackageSource{options: map[string]string{}}
	if err := source.hostOptions(root); err != nil {
		return PackageSource{}, err
	}
	maps.Copy(source.options, apt.Options)
	for _, pocket := range pockets {
		best, ok := bestArchive(archives, pocket)
		if !ok {
			continue
		}
		source.archives = append(source.archives, best)
		key, err := readKey(root, best.signedBy)
		if err != nil {
			return PackageSource{}, fmt.Errorf("cannot read the key of the package source %s: %w", best.uri, err)
		}
		if !bytes.Contains(source.keyring, key) {
			source.keyring = append(source.keyring, key...)
		}
	}
	if _, ok := bestArchive(source.archives, ""); !ok {
		return PackageSource{}, errors.New("cannot find a Debian package source in /etc/apt of this host: name one under apt.sources in the image override, or a base image under base")
	}
	return source, nil
}

// hostArchives reads sources.list and all of sources.list.d.
func hostArchives(root fs.FS) ([]archive, error) {
	files := []string{"etc/apt/sources.list"}
	entries, err := fs.ReadDir(root, "etc/apt/sources.list.d")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read this host's package sources: %w", err)
	}
	for _, entry := range entries {
		if extension := path.Ext(entry.Name()); extension == ".list" || extension == ".sources" {
			files = append(files, path.Join("etc/apt/sources.list.d", entry.Name()))
		}
	}
	var archives []archive
	for _, file := range files {
		content, err := fs.ReadFile(root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read this host's package sources: %w", err)
		}
		archives = append(archives, parseSources(string(content))...)
	}
	return archives, nil
}

// hostOption is a setting of apt's that says how to reach a package source: apt.conf(5), in its flat
// form with one setting to a line.
var hostOption = regexp.MustCompile(`(?m)^\s*(Acquire::(?:https?::Proxy|Check-Valid-Until|Check-Date|Retries))\s+"([^"\n]*)"\s*;`)

// hostOptions takes up the host's own settings.
func (s PackageSource) hostOptions(root fs.FS) error {
	files, err := fs.Glob(root, "etc/apt/apt.conf.d/*")
	if err != nil {
		return err // the pattern is ours and well-formed
	}
	for _, file := range append([]string{"etc/apt/apt.conf"}, files...) {
		content, err := fs.ReadFile(root, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read this host's apt configuration: %w", err)
		}
		for _, match := range hostOption.FindAllStringSubmatch(string(content), -1) {
			s.options[match[1]] = match[2]
		}
	}
	return nil
}

// withDefaults returns the source with options where it says nothing itself.
func (s PackageSource) withDefaults(options map[string]string) PackageSource {
	all := maps.Clone(options)
	if all == nil {
		return s
	}
	maps.Copy(all, s.options)
	s.options = all
	return s
}

// bestArchive chooses among what a host may have for one pocket: vendors too publish for suites
// with Debian's names.
func bestArchive(archives []archive, pocket string) (archive, bool) {
	score := func(a archive) int {
		points := 0
		if last := path.Base(strings.TrimRight(a.uri, "/")); last == "debian" || last == "debian-security" {
			points += 2
		}
		if strings.Contains(a.signedBy, "debian-archive") {
			points++
		}
		return points
	}
	var best archive
	found := false
	for _, a := range archives {
		if a.pocket == pocket && (!found || score(a) > score(best)) {
			best, found = a, true
		}
	}
	return best, found
}

// list returns the sources of suites in apt's one-line form, with keys at keyring. A suite without
// pocket needs the host's main archive; pockets that the host does not have are left out.
func (s PackageSource) list(suites []string, keyring string) string {
	var out strings.Builder
	for _, suite := range suites {
		_, pocket := cutPocket(suite)
		a, ok := bestArchive(s.archives, pocket)
		if !ok {
			continue
		}
		options := slices.Clone(a.options)
		if len(s.keyring) > 0 {
			options = append(options, "signed-by="+keyring)
		}
		out.WriteString("deb ")
		if len(options) > 0 {
			out.WriteString("[" + strings.Join(options, " ") + "] ")
		}
		fmt.Fprintf(&out, "%s %s main\n", a.uri, suite)
	}
	return out.String()
}

// configuration is apt's during a build, with the sources in the given file. An empty file leaves
// the image's own.
func (s PackageSource) configuration(sources string) string {
	var out strings.Builder
	if sources != "" {
		fmt.Fprintf(&out, "Dir::Etc::SourceList %q;\nDir::Etc::SourceParts \"/dev/null\";\n", sources)
	}
	for _, name := range sortedKeys(s.options) {
		fmt.Fprintf(&out, "%s %q;\n", name, s.options[name])
	}
	return out.String()
}

// cutPocket takes "trixie-security" apart.
func cutPocket(suite string) (codename, pocket string) {
	for _, pocket := range pockets[1:] {
		if codename, ok := strings.CutSuffix(suite, "-"+pocket); ok {
			return codename, pocket
		}
	}
	return suite, ""
}

// parseSources reads either form of a package source (sources.list(5)) and keeps the archives of
// binary packages with component main.
func parseSources(text string) []archive {
	var archives []archive
	for _, stanza := range stanzas(text) {
		if !slices.Contains(strings.Fields(stanza["types"]), "deb") || strings.EqualFold(stanza["enabled"], "no") {
			continue
		}
		var options []string
		for _, name := range []string{"trusted", "check-valid-until", "check-date"} {
			if value := stanza[name]; value != "" {
				options = append(options, name+"="+value)
			}
		}
		for _, uri := range strings.Fields(stanza["uris"]) {
			for _, suite := range strings.Fields(stanza["suites"]) {
				codename, pocket := cutPocket(suite)
				components := strings.Fields(stanza["components"])
				// Other pockets and vendors' suites ("bookworm-backports", "bookworm-pgdg") hold other packages.
				if !slices.Contains(components, "main") || strings.ContainsAny(codename, "-/") {
					continue
				}
				archives = append(archives, archive{uri: uri, pocket: pocket, options: options, signedBy: stanza["signed-by"]})
			}
		}
	}
	return archives
}

// stanzas reads both forms into fields with names in lower case.
func stanzas(text string) []map[string]string {
	var all []map[string]string
	current := map[string]string{}
	last := ""
	flush := func() {
		if len(current) > 0 {
			all = append(all, current)
		}
		current, last = map[string]string{}, ""
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRightFunc(line, unicode.IsSpace)
		fields := strings.Fields(line)
		name, value, isField := strings.Cut(line, ":")
		switch {
		case line == "":
			flush()
		case line[0] == '#':
		case (line[0] == ' ' || line[0] == '\t') && last != "":
			current[last] += "\n" + strings.TrimSpace(line)
		case fields[0] == "deb" || fields[0] == "deb-src":
			flush()
			if stanza := oneLine(line); stanza != nil {
				all = append(all, stanza)
			}
		case isField:
			last = strings.ToLower(strings.TrimSpace(name))
			current[last] = strings.TrimSpace(value)
		}
	}
	flush()
	return all
}

// oneLine reads "deb [option=value …] uri suite component …"; nil if it is not one.
func oneLine(line string) map[string]string {
	line, _, _ = strings.Cut(line, "#")
	kind, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	rest = strings.TrimSpace(rest)
	stanza := map[string]string{"types": kind}
	if strings.HasPrefix(rest, "[") {
		options, after, found := strings.Cut(rest[1:], "]")
		if !found {
			return nil
		}
		for _, option := range strings.Fields(options) {
			name, value, _ := strings.Cut(option, "=")
			stanza[strings.ToLower(name)] = value
		}
		rest = after
	}
	fields := strings.Fields(rest)
	if len(fields) < 3 {
		return nil
	}
	stanza["uris"], stanza["suites"], stanza["components"] = fields[0], fields[1], strings.Join(fields[2:], " ")
	return stanza
}

// readKey returns the key that Signed-By means, in binary form: keyrings can then be put together.
// Empty and a fingerprint mean the keys that every Debian system trusts.
func readKey(root fs.FS, signedBy string) ([]byte, error) {
	var keys []byte
	if strings.Contains(signedBy, "BEGIN PGP") {
		return dearmour(signedBy)
	}
	for _, file := range strings.FieldsFunc(signedBy, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		if !strings.HasPrefix(file, "/") {
			continue
		}
		content, err := fs.ReadFile(root, strings.TrimPrefix(path.Clean(file), "/"))
		if err != nil {
			return nil, err
		}
		if bytes.Contains(content, []byte("-----BEGIN PGP")) {
			if content, err = dearmour(string(content)); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
		keys = append(keys, content...)
	}
	return keys, nil
}

// dearmour decodes OpenPGP's ASCII armour (RFC 9580, section 6.2). Inside a deb822 field, "." stands
// for the empty line.
func dearmour(text string) ([]byte, error) {
	var keys []byte
	var encoded strings.Builder
	const outside, headers, body = 0, 1, 2
	at := outside
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "-----BEGIN PGP"):
			at = headers
		case strings.HasPrefix(line, "-----END PGP"):
			decoded, err := base64.StdEncoding.DecodeString(encoded.String())
			if err != nil {
				return nil, fmt.Errorf("this is not an armoured key: %w", err)
			}
			keys = append(keys, decoded...)
			encoded.Reset()
			at = outside
		case at == headers && (line == "" || line == "."):
			at = body
		case at == body && !strings.HasPrefix(line, "="): // "=" begins the checksum
			encoded.WriteString(line)
		}
	}
	if len(keys) == 0 || at != outside {
		return nil, errors.New("this is not an armoured key")
	}
	return keys, nil
}
