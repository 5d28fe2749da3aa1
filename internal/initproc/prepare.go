// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package initproc

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"copse/internal/osloconf"
	"copse/internal/placeholder"
)

// The variables copse-init itself is told with.
const (
	variableTemplates   = "COPSE_TEMPLATES"
	variableConfigFile  = "COPSE_CONFIG_FILE"
	variableOptionsFile = "COPSE_OPTIONS_FILE"
)

const (
	// secretsDirectory is where Compose mounts secrets.
	secretsDirectory = "/run/secrets"
	// configMode lets the service's group read its configuration: a helper
	// that runs as another user of the group needs it, nobody else does.
	configMode = 0o640
	// templateMode is the mode of a template's result unless it says one.
	templateMode = 0o640
	// largestSecret bounds what is taken into memory, in bytes.
	largestSecret = 1 << 20
)

// failure is an error with the status copse-init ends with.
type failure struct {
	status int
	err    error
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func fail(status int, format string, arguments ...any) *failure {
	return &failure{status, fmt.Errorf(format, arguments...)}
}

// values gives placeholders their values: secrets from a directory, variables
// from the environment copse-init was started with.
type values struct {
	secrets string
	environ []string
}

func (v values) Secret(name string) (string, error) {
	path := filepath.Join(v.secrets, name)
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("there is no secret %s: %s does not exist", name, path)
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the secret %s: %w", name, err)
	}
	data := make([]byte, largestSecret+1)
	size, err := io.ReadFull(file, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return "", fmt.Errorf("cannot read the secret %s: %w", name, err)
	}
	if size > largestSecret {
		return "", fmt.Errorf("the secret %s is larger than %d bytes", name, largestSecret)
	}
	text := strings.TrimSuffix(string(data[:size]), "\n")
	return strings.TrimSuffix(text, "\r"), nil
}

func (v values) Env(name string) (string, bool) { return lookup(v.environ, name) }

// lookup finds a variable in an environment, where the last one holds.
func lookup(environ []string, name string) (string, bool) {
	for _, entry := range slices.Backward(environ) {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// template is one entry of COPSE_TEMPLATES.
type template struct {
	source, dest string
	mode         fs.FileMode
}

// parseTemplates reads SOURCE:DEST[:MODE] entries set apart by commas or lines.
func parseTemplates(list string) ([]template, error) {
	var templates []template
	for entry := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == ',' || r == '\n' }) {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		parts := strings.Split(entry, ":")
		if len(parts) < 2 || len(parts) > 3 || !filepath.IsAbs(parts[0]) || !filepath.IsAbs(parts[1]) {
			return nil, fmt.Errorf("%q is not SOURCE:DEST[:MODE] with absolute paths", entry)
		}
		parsed := template{source: parts[0], dest: parts[1], mode: templateMode}
		if len(parts) == 3 {
			mode, err := strconv.ParseUint(parts[2], 8, 32)
			if err != nil || mode > 0o777 {
				return nil, fmt.Errorf("%q has the mode %q, which is not octal permission bits such as 0640", entry, parts[2])
			}
			parsed.mode = fs.FileMode(mode)
		}
		templates = append(templates, parsed)
	}
	return templates, nil
}

// writeTemplates fills the templates in and writes them. All are filled in
// before the first is written, so that every fault shows at once.
func writeTemplates(v values) error {
	list, _ := v.Env(variableTemplates)
	templates, err := parseTemplates(list)
	if err != nil {
		return fail(statusConfig, "cannot read %s: %w", variableTemplates, err)
	}
	contents := make([]string, len(templates))
	var problems []error
	for i, t := range templates {
		text, err := os.ReadFile(t.source)
		if err != nil {
			problems = append(problems, fmt.Errorf("cannot read the template %s: %w", t.source, unwrapPath(err)))
			continue
		}
		contents[i], err = placeholder.Expand(string(text), v, nil)
		for _, one := range split(err) {
			problems = append(problems, fmt.Errorf("cannot fill in %s: %w", t.source, one))
		}
	}
	if len(problems) > 0 {
		return &failure{statusConfig, errors.Join(problems...)}
	}
	for i, t := range templates {
		if err := writeFile(t.dest, []byte(contents[i]), t.mode); err != nil {
			return &failure{statusConfig, err}
		}
	}
	return nil
}

// split takes apart what errors.Join put together.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// writeConfig writes the service's configuration file and returns the
// environment without what went into it.
func writeConfig(v values) (environ []string, err error) {
	path, wanted := v.Env(variableConfigFile)
	var settings, others []string
	for _, entry := range v.environ {
		name, value, _ := strings.Cut(entry, "=")
		switch {
		case !osloconf.IsVariable(name):
			others = append(others, entry)
		case wanted && path != "":
			settings = append(settings, entry)
		case placeholder.Contains(value):
			return nil, fail(statusConfig, "cannot fill in %s: %s is not set, and a secret does not go into the environment", name, variableConfigFile)
		default:
			others = append(others, entry)
		}
	}
	if !wanted || path == "" {
		return others, nil
	}
	text, err := renderConfig(v, settings)
	if err != nil {
		return nil, prefixed("cannot write "+path+": ", err)
	}
	if err := writeFile(path, text, configMode); err != nil {
		return nil, &failure{statusConfig, err}
	}
	return others, nil
}

func renderConfig(v values, settings []string) ([]byte, error) {
	options := &osloconf.Options{}
	if len(settings) > 0 {
		list, _ := v.Env(variableOptionsFile)
		if list == "" {
			return nil, fail(statusConfig, "%s does not name the image's list of options", variableOptionsFile)
		}
		file, err := os.Open(list)
		if err != nil {
			return nil, fail(statusConfig, "cannot read the image's list of options: %w", err)
		}
		options, err = osloconf.Parse(file)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, fail(statusConfig, "%s: %w", list, err)
		}
	}
	// Names come before secrets: a misspelt variable is the likelier fault,
	// and the one an operator can mend alone.
	if problems := options.Check(settings); len(problems) > 0 {
		return nil, &failure{statusMisspelt, &osloconf.Error{Problems: problems}}
	}
	var problems []osloconf.Problem
	filled := make([]string, len(settings))
	for i, entry := range settings {
		name, value, _ := strings.Cut(entry, "=")
		expanded, err := placeholder.Expand(value, v, osloconf.EscapeValue)
		for _, one := range split(err) {
			reason := one.Error()
			if at, ok := errors.AsType[*placeholder.Error](one); ok {
				reason = at.Reason
			}
			problems = append(problems, osloconf.Problem{Variable: name, Reason: reason})
		}
		filled[i] = name + "=" + expanded
	}
	if len(problems) > 0 {
		return nil, &failure{statusConfig, &osloconf.Error{Problems: problems}}
	}
	text, err := options.Render(filled)
	if err != nil {
		return nil, &failure{statusConfig, err}
	}
	return text, nil
}

// prefixed puts a prefix before each line of an error, so that each says by
// itself what could not be done.
func prefixed(prefix string, err error) error {
	status := statusConfig
	if failed, ok := errors.AsType[*failure](err); ok {
		status = failed.status
	}
	lines := strings.Split(err.Error(), "\n")
	for i := range lines {
		lines[i] = prefix + lines[i]
	}
	return &failure{status, errors.New(strings.Join(lines, "\n"))}
}

func isReadOnly(err error) bool { return errors.Is(err, unix.EROFS) }
