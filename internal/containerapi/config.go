// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Config is the content of config.yaml or config.json, checked.
type Config struct {
	// Command is what the container runs, to be split into words.
	Command     string
	ConfigFiles []ConfigFile
	Directories []Directory
	Files       []EmptyFile
	Permissions []Permission
}

// ConfigFile says what is copied where.
type ConfigFile struct {
	Source string // a glob of Python's kind
	Dest   string // ending in "/" it is the directory the source goes into
	// Owner and Perm are what the copies get, unless PreserveProperties.
	Owner              Owner
	Perm               fs.FileMode // mode bits as chmod(2) takes them, set-uid and set-gid among them
	Optional           bool        // a missing source is no error
	PreserveProperties bool        // copies get the owner, mode and times of their source
	Merge              bool        // what is at dest stays, apart from what is copied onto it
}

// Directory is made, with its parents, at each start.
type Directory struct {
	Path  string
	Owner Owner
	Perm  fs.FileMode
}

// EmptyFile is made empty when it is missing.
type EmptyFile struct {
	Path  string
	Owner Owner
	Perm  fs.FileMode
}

// Permission sets owner and, where Perm is given, mode of what is there already.
type Permission struct {
	Path    string // a glob of Python's kind
	Owner   Owner
	Perm    *fs.FileMode
	Recurse bool
	Exclude []*regexp.Regexp // with Recurse: paths found below that match any are left alone
}

// Owner is "user" or "user:group" by name.
type Owner struct {
	User string
	// Group is empty for the user's own.
	Group string
}

func (o Owner) String() string {
	if o.Group == "" {
		return o.User
	}
	return o.User + ":" + o.Group
}

// number is a number of the configuration, which has no use for any: it is kept
// as it was written to be shown in the error.
type number string

// ParseJSON reads config.json. Unknown keys that the original ignores are
// returned as warnings; everything else that is wrong is an InvalidConfig
// error that names the entry.
func ParseJSON(data []byte) (config Config, warnings []string, err error) {
	document, err := decodeJSON(data)
	if err != nil {
		return Config{}, nil, fault(InvalidConfig, "config.json is not valid JSON: %v", err)
	}
	return buildConfig(document)
}

// ParseYAML is [ParseJSON] for config.yaml, whose scalars are those of YAML 1.1.
func ParseYAML(data []byte) (config Config, warnings []string, err error) {
	document, err := decodeYAML(data)
	if err != nil {
		return Config{}, nil, fault(InvalidConfig, "config.yaml is not valid YAML: %v", err)
	}
	return buildConfig(document)
}

// configReader collects warnings while a decoded document is turned into a Config.
type configReader struct{ warnings []string }

func buildConfig(document any) (Config, []string, error) {
	top, ok := document.(map[string]any)
	if !ok {
		return Config{}, nil, fault(InvalidConfig, "the configuration must be a mapping with the key \"command\", not %s", describe(document))
	}
	reader := &configReader{}
	config, err := reader.config(top)
	if err != nil {
		return Config{}, nil, fault(InvalidConfig, "%v", err)
	}
	return config, reader.warnings, nil
}

func (r *configReader) config(top map[string]any) (config Config, err error) {
	for _, key := range unknownKeys(top, "command", "config_files", "directories", "files", "permissions") {
		r.warnings = append(r.warnings, fmt.Sprintf("unknown key %q of the configuration is ignored", key))
	}
	document := entry{name: "the configuration", values: top}
	if config.Command, err = document.text("command"); err != nil {
		return config, err
	}
	if config.ConfigFiles, err = section(top, "config_files", readConfigFile); err != nil {
		return config, err
	}
	if config.Directories, err = section(top, "directories", readDirectory); err != nil {
		return config, err
	}
	if config.Files, err = section(top, "files", readEmptyFile); err != nil {
		return config, err
	}
	config.Permissions, err = section(top, "permissions", r.permission)
	return config, err
}

// section reads one list of entries; a missing or null list is an empty one.
func section[T any](top map[string]any, key string, read func(entry) (T, error)) ([]T, error) {
	list, ok := top[key].([]any)
	if !ok && top[key] != nil {
		return nil, fmt.Errorf("%s must be a list, not %s", key, describe(top[key]))
	}
	var result []T
	for i, item := range list {
		values, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s[%d] must be a mapping, not %s", key, i, describe(item))
		}
		value, err := read(newEntry(key, i, values))
		if err != nil {
			return nil, err
		}
		result = append(result, value)
	}
	return result, nil
}

func readConfigFile(e entry) (ConfigFile, error) {
	var file ConfigFile
	if err := e.onlyKeys("source", "dest", "owner", "perm", "optional", "preserve_properties", "merge"); err != nil {
		return file, err
	}
	var err error
	if file.Source, err = e.path("source"); err != nil {
		return file, err
	}
	if file.Dest, err = e.path("dest"); err != nil {
		return file, err
	}
	if file.Optional, err = e.flag("optional"); err != nil {
		return file, err
	}
	if file.Merge, err = e.flag("merge"); err != nil {
		return file, err
	}
	// With preserve_properties owner and perm have no effect, so they are not looked at.
	if file.PreserveProperties, err = e.flag("preserve_properties"); err != nil || file.PreserveProperties {
		return file, err
	}
	for _, key := range []string{"owner", "perm"} {
		if e.values[key] == nil {
			return file, fmt.Errorf("%s lacks %q: give owner and perm, or set preserve_properties", e.name, key)
		}
	}
	file.Owner, file.Perm, err = e.ownerAndPerm()
	return file, err
}

func readDirectory(e entry) (Directory, error) {
	path, owner, perm, err := e.pathOwnerPerm()
	return Directory{Path: path, Owner: owner, Perm: perm}, err
}

func readEmptyFile(e entry) (EmptyFile, error) {
	path, owner, perm, err := e.pathOwnerPerm()
	return EmptyFile{Path: path, Owner: owner, Perm: perm}, err
}

func (r *configReader) permission(e entry) (Permission, error) {
	for _, key := range unknownKeys(e.values, "path", "owner", "perm", "recurse", "exclude") {
		r.warnings = append(r.warnings, fmt.Sprintf("unknown key %q of %s is ignored", key, e.name))
	}
	var permission Permission
	var err error
	if permission.Path, err = e.path("path"); err != nil {
		return permission, err
	}
	if permission.Owner, err = e.owner(); err != nil {
		return permission, err
	}
	// The original takes an empty perm for none.
	if e.values["perm"] != nil && e.values["perm"] != "" {
		perm, err := e.perm()
		if err != nil {
			return permission, err
		}
		permission.Perm = &perm
	}
	if permission.Recurse, err = e.flag("recurse"); err != nil {
		return permission, err
	}
	permission.Exclude, err = e.patterns("exclude")
	return permission, err
}

// entry is one mapping of a list, with the words that tell it from the others.
type entry struct {
	name   string
	values map[string]any
}

func newEntry(section string, index int, values map[string]any) entry {
	name := fmt.Sprintf("%s[%d]", section, index)
	for _, key := range []string{"dest", "path", "source"} {
		if text, ok := values[key].(string); ok && text != "" {
			name += fmt.Sprintf(" (%s %s)", key, text)
			break
		}
	}
	return entry{name: name, values: values}
}

func (e entry) onlyKeys(known ...string) error {
	if unknown := unknownKeys(e.values, known...); len(unknown) > 0 {
		return fmt.Errorf("%s has the unknown key %q; known are %s", e.name, unknown[0], strings.Join(known, ", "))
	}
	return nil
}

func unknownKeys(values map[string]any, known ...string) []string {
	var unknown []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if !slices.Contains(known, key) {
			unknown = append(unknown, key)
		}
	}
	return unknown
}

func (e entry) text(key string) (string, error) {
	switch value := e.values[key].(type) {
	case string:
		return value, nil
	case nil:
		return "", fmt.Errorf("%s lacks the required key %q", e.name, key)
	default:
		return "", fmt.Errorf("%q of %s must be a string, not %s: put it in quotes", key, e.name, describe(value))
	}
}

func (e entry) path(key string) (string, error) {
	text, err := e.text(key)
	if err != nil {
		return "", err
	}
	if text == "" || strings.ContainsRune(text, 0) {
		return "", fmt.Errorf("%q of %s is empty or holds a zero byte", key, e.name)
	}
	return text, nil
}

// flag reads a boolean. Words and numbers that mean one are understood, since
// templates are apt to quote them.
func (e entry) flag(key string) (bool, error) {
	switch value := e.values[key].(type) {
	case nil:
		return false, nil
	case bool:
		return value, nil
	case string:
		if flag, ok := yamlBool(value); ok {
			return flag, nil
		}
	case number:
		if value == "0" || value == "1" {
			return value == "1", nil
		}
	}
	return false, fmt.Errorf("%q of %s must be true or false, not %s", key, e.name, describe(e.values[key]))
}

func (e entry) owner() (Owner, error) {
	text, err := e.text("owner")
	if err != nil {
		return Owner{}, err
	}
	user, group, _ := strings.Cut(text, ":")
	if user == "" {
		return Owner{}, fmt.Errorf("\"owner\" of %s must be user or user:group, not %q", e.name, text)
	}
	return Owner{User: user, Group: group}, nil
}

func (e entry) perm() (fs.FileMode, error) {
	text, err := e.text("perm")
	if err != nil {
		return 0, err
	}
	perm, ok := parsePerm(text)
	if !ok {
		return 0, fmt.Errorf("\"perm\" of %s must be three or four octal digits such as \"0640\" or \"0o640\", not %q", e.name, text)
	}
	return perm, nil
}

// parsePerm reads [0-7]{3,4} and 0o[0-7]{3,4}.
func parsePerm(text string) (fs.FileMode, bool) {
	digits := strings.TrimPrefix(text, "0o")
	if len(digits) < 3 || len(digits) > 4 || strings.Trim(digits, "01234567") != "" {
		return 0, false
	}
	perm, err := strconv.ParseUint(digits, 8, 32)
	return fs.FileMode(perm), err == nil
}

func (e entry) ownerAndPerm() (Owner, fs.FileMode, error) {
	owner, err := e.owner()
	if err != nil {
		return owner, 0, err
	}
	perm, err := e.perm()
	return owner, perm, err
}

func (e entry) pathOwnerPerm() (path string, owner Owner, perm fs.FileMode, err error) {
	if err = e.onlyKeys("path", "owner", "perm"); err != nil {
		return "", owner, 0, err
	}
	if path, err = e.path("path"); err != nil {
		return "", owner, 0, err
	}
	owner, perm, err = e.ownerAndPerm()
	return path, owner, perm, err
}

func (e entry) patterns(key string) ([]*regexp.Regexp, error) {
	list, ok := e.values[key].([]any)
	if !ok && e.values[key] != nil {
		return nil, fmt.Errorf("%q of %s must be a list, not %s", key, e.name, describe(e.values[key]))
	}
	var patterns []*regexp.Regexp
	for _, item := range list {
		text, ok := item.(string)
		if !ok {
			return nil, fmt.Errorf("%q of %s must be a list of strings, not of %s", key, e.name, describe(item))
		}
		// Go's end of text is \z, Python's \Z; the rest of what patterns of paths use is the same.
		pattern, err := regexp.Compile(strings.ReplaceAll(text, `\Z`, `\z`))
		if err != nil {
			return nil, fmt.Errorf("%q of %s: %q is no regular expression that can be used (look-around and back references cannot): %v", key, e.name, text, err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// describe says in words what a decoded value is.
func describe(value any) string {
	switch value := value.(type) {
	case nil:
		return "nothing"
	case string:
		return strconv.Quote(value)
	case bool:
		return fmt.Sprintf("the boolean %t", value)
	case number:
		return "the number " + string(value)
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	default:
		return fmt.Sprintf("%v", value)
	}
}
