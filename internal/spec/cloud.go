// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"

	"copse/internal/tree"
)

// DefaultCloudFile is read where no other is named; it need not exist.
const DefaultCloudFile = "cloud.yaml"

// DefaultRelease is deployed where a cloud file names no other.
const DefaultRelease = "2025.1"

// cloudFile is the form of cloud.yaml.
type cloudFile struct {
	Name      string            `yaml:"name"`
	Release   string            `yaml:"release"`
	Releases  map[string]string `yaml:"releases"`
	Sets      []string          `yaml:"sets"`
	Values    map[string]any    `yaml:"values"`
	Options   cloudOptions      `yaml:"options"`
	Files     []cloudFileEntry  `yaml:"files"`
	Catalogue []string          `yaml:"catalogue"`
	Images    string            `yaml:"images"`
}

// cloudOptions are environment variables by what they apply to; null removes one.
type cloudOptions struct {
	Components map[string]map[string]any `yaml:"components"`
	Sets       map[string]map[string]any `yaml:"sets"`
	Containers map[string]map[string]any `yaml:"containers"`
}

// cloudFileEntry gives containers a file of the operator's own.
type cloudFileEntry struct {
	Containers []string `yaml:"containers"`
	Components []string `yaml:"components"`
	Sets       []string `yaml:"sets"`
	Source     string   `yaml:"source"`
	Target     string   `yaml:"target"`
	Mode       string   `yaml:"mode"`
}

// Cloud is what a cloud file says, before anything is resolved. Load reads it by itself; a
// caller that prepares References needs the catalogue and the images' override file first.
type Cloud struct {
	Name string
	// Release and Releases (by component) are what images are made from.
	Release  string
	Releases map[string]string
	// Catalogue is the given catalogue with the operator's own directories laid over it.
	Catalogue fs.FS
	// Images is the path of the operator's override file for images, "" for none.
	Images string

	file    cloudFile
	src     *source
	layers  []layer
	content map[string]string // of the operator's files, by their source as written
}

var cloudNamePattern = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,30}$`)

// ReadCloud reads a cloud file, "" for the default one, which may be missing. Relative paths
// in it are relative to its directory. catalogue is what comes with the program.
func ReadCloud(file string, catalogue fs.FS) (*Cloud, error) {
	explicit := file != ""
	if !explicit {
		file = DefaultCloudFile
	}
	cloud := &Cloud{src: &source{name: file}, content: map[string]string{}}
	content, err := os.ReadFile(file)
	if err != nil && (explicit || !errors.Is(err, fs.ErrNotExist)) {
		return nil, fmt.Errorf("cannot read the cloud file: %w", err)
	}
	cloud.src.content = content
	raw, err := cloud.src.parse()
	if err != nil {
		return nil, err
	}
	d := decoder{src: cloud.src}
	d.decode(raw, &cloud.file, nil)

	directory := filepath.Dir(file)
	cloud.layers = []layer{{name: "catalog", files: catalogue}}
	for i, name := range cloud.file.Catalogue {
		at := inDirectory(directory, name)
		if info, err := os.Stat(at); err != nil || !info.IsDir() {
			d.fault([]string{"catalogue", strconv.Itoa(i)}, "%s is no directory; name one that holds sets/, env/, values.yaml or images/", at)
			continue
		}
		cloud.layers = append(cloud.layers, layer{name: at, files: os.DirFS(at)})
	}
	cloud.Catalogue = overlay{layers: cloud.layers}
	if cloud.file.Images != "" {
		cloud.Images = inDirectory(directory, cloud.file.Images)
		if _, err := os.Stat(cloud.Images); err != nil {
			d.fault([]string{"images"}, "cannot read the override file: %v", err)
		}
	}
	for i := range cloud.file.Files {
		d.readOperatorFile(cloud, directory, i)
	}
	cloud.Name = orDefault(cloud.file.Name, "copse")
	if !cloudNamePattern.MatchString(cloud.Name) {
		d.fault([]string{"name"}, "%q cannot be a cloud's name; use lower-case letters, digits, - and _, a letter first, 31 at most", cloud.Name)
	}
	cloud.Release = orDefault(cloud.file.Release, DefaultRelease)
	cloud.Releases = cloud.file.Releases
	if len(d.faults) > 0 {
		return nil, errors.Join(d.faults...)
	}
	return cloud, nil
}

// readOperatorFile checks one entry of files and reads what it names.
func (d *decoder) readOperatorFile(cloud *Cloud, directory string, i int) {
	entry := &cloud.file.Files[i]
	at := func(key string) []string { return []string{"files", strconv.Itoa(i), key} }
	if len(entry.Containers)+len(entry.Components)+len(entry.Sets) == 0 {
		d.fault(at("source"), "names nobody to give the file to; add containers, components or sets")
	}
	if !path.IsAbs(entry.Target) {
		d.fault(at("target"), "%q is no absolute path inside the container", entry.Target)
	}
	if _, err := parseMode(entry.Mode, 0); err != nil {
		d.fault(at("mode"), "%v", err)
	}
	if entry.Source == "" {
		d.fault(at("source"), "is missing; name the file to give")
		return
	}
	content, err := os.ReadFile(inDirectory(directory, entry.Source))
	if err != nil {
		d.fault(at("source"), "cannot read the file: %v", err)
		return
	}
	cloud.content[entry.Source] = string(content)
}

// parseMode reads a file mode in octal digits.
func parseMode(text string, missing uint32) (uint32, error) {
	if text == "" {
		return missing, nil
	}
	mode, err := strconv.ParseUint(text, 8, 32)
	if err != nil || mode > 0o7777 {
		return 0, fmt.Errorf("%q is no file mode; write it in quotes like \"0440\"", text)
	}
	return uint32(mode), nil
}

func inDirectory(directory, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(directory, name)
}

func orDefault(text, missing string) string {
	if text == "" {
		return missing
	}
	return text
}

// settings returns the values of the cloud file, with names that the catalogue does not declare refused.
func (c *Cloud) settings(declared map[string]*declaration) (map[string]*setting, []error) {
	set := map[string]*setting{}
	var faults []error
	for _, name := range tree.SortedKeys(c.file.Values) {
		given := c.src.fault([]string{"values", name}, "")
		if declared[name] == nil {
			faults = append(faults, unknownValue(given, name, declared))
			continue
		}
		if c.file.Values[name] == nil {
			continue
		}
		text, err := valueText(c.file.Values[name])
		if err != nil {
			given.Reason = err.Error()
			faults = append(faults, given)
			continue
		}
		set[name] = &setting{text: text, given: given}
	}
	return set, faults
}
