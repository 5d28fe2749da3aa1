// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// The places of the API.
const (
	configDir      = "/var/lib/kolla/config_files"
	configYAML     = configDir + "/config.yaml"
	configJSON     = configDir + "/config.json"
	runCommandFile = "/run_command"
	configuredFile = "/configured"
	strategyKey    = "KOLLA_CONFIG_STRATEGY"
)

// Container is where and with what a program of the API runs. The zero value
// is not useful: Root and the streams must be set.
type Container struct {
	// Root is the root directory of the container's files: "/" in production.
	Root string
	// WorkDir is what relative paths in a configuration start from; empty for "/".
	WorkDir string
	// Env is the environment, as KEY=VALUE.
	Env            []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

func (c Container) tree() filesystem {
	workDir := c.WorkDir
	if workDir == "" {
		workDir = "/"
	}
	return filesystem{root: c.Root, workDir: workDir}
}

// lookup finds a variable; set but empty is found. Of a name given twice the
// last counts, as for exec.
func (c Container) lookup(key string) (value string, set bool) {
	for _, variable := range c.Env {
		if name, text, _ := strings.Cut(variable, "="); name == key {
			value, set = text, true
		}
	}
	return value, set
}

func (c Container) logger(program string) *logger { return &logger{output: c.Stderr, program: program} }

// HasConfig tells whether the container was given a configuration, config.yaml
// or config.json. Without one kolla_start and kolla_set_configs fail.
func HasConfig(root string) bool {
	tree := filesystem{root: root, workDir: "/"}
	return tree.lexists(configYAML) || tree.lexists(configJSON)
}

// session is a configuration made ready to be applied or compared: everything
// that can be wrong with it has been found.
type session struct {
	container   Container
	files       files
	config      Config
	entries     []*resolvedFile
	directories []ids // owners, parallel to config.Directories
	emptyFiles  []ids // owners, parallel to config.Files
	permissions []*resolvedPermission
}

// open reads and checks the configuration and finds all owners, so that an
// error in either is reported before anything is changed.
func (c Container) open(log *logger) (*session, error) {
	tree := c.tree()
	config, err := loadConfig(tree, log)
	if err != nil {
		return nil, err
	}
	users, err := readAccounts(tree)
	if err != nil {
		return nil, err
	}
	s := &session{container: c, files: files{tree: tree, log: log}, config: config}
	return s, s.resolve(users)
}

func (s *session) resolve(users accounts) error {
	for i, file := range s.config.ConfigFiles {
		entry := &resolvedFile{ConfigFile: file, name: fmt.Sprintf("config_files[%d] (dest %s)", i, file.Dest)}
		if !file.PreserveProperties {
			var err error
			if entry.owner, err = users.resolve(file.Owner, entry.name); err != nil {
				return err
			}
		}
		s.entries = append(s.entries, entry)
	}
	for i, directory := range s.config.Directories {
		owner, err := users.resolve(directory.Owner, fmt.Sprintf("directories[%d] (path %s)", i, directory.Path))
		if err != nil {
			return err
		}
		s.directories = append(s.directories, owner)
	}
	for i, file := range s.config.Files {
		owner, err := users.resolve(file.Owner, fmt.Sprintf("files[%d] (path %s)", i, file.Path))
		if err != nil {
			return err
		}
		s.emptyFiles = append(s.emptyFiles, owner)
	}
	for i, permission := range s.config.Permissions {
		owner, err := users.resolve(permission.Owner, fmt.Sprintf("permissions[%d] (path %s)", i, permission.Path))
		if err != nil {
			return err
		}
		s.permissions = append(s.permissions, &resolvedPermission{Permission: permission, owner: owner})
	}
	return nil
}

// loadConfig prefers config.yaml. The place is fixed: a path or content taken
// from the environment let anyone who may start a container write any file as
// root (CVE-2022-38060).
func loadConfig(tree filesystem, log *logger) (Config, error) {
	name, parse := configYAML, ParseYAML
	data, err := os.ReadFile(tree.host(configYAML))
	if errors.Is(err, fs.ErrNotExist) {
		name, parse = configJSON, ParseJSON
		data, err = os.ReadFile(tree.host(configJSON))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fault(InvalidConfig, "there is neither %s nor %s: mount one of them", configYAML, configJSON)
	}
	if err != nil {
		return Config{}, fault(InvalidConfig, "cannot read the configuration: %v", err)
	}
	log.info("configuration is %s", name)
	config, warnings, err := parse(data)
	for _, warning := range warnings {
		log.warn("%s", warning)
	}
	return config, err
}

// SetConfigs is kolla_set_configs: it puts the configuration in place as
// KOLLA_CONFIG_STRATEGY says. [ExitCode] turns what it returns into the exit
// code. An interrupted or failed run can simply be repeated.
func SetConfigs(ctx context.Context, c Container) error {
	log := c.logger("kolla_set_configs")
	s, err := c.open(log)
	if err != nil {
		return err
	}
	strategy, _ := c.lookup(strategyKey)
	switch strategy {
	case "COPY_ALWAYS":
		return s.apply(ctx)
	case "COPY_ONCE":
		if s.files.tree.lexists(configuredFile) {
			log.info("nothing is copied: %s is COPY_ONCE and it was done", strategyKey)
			return nil
		}
		if err := s.apply(ctx); err != nil {
			return err
		}
		return s.markConfigured()
	default:
		return fault(InvalidConfig, "%s must be COPY_ALWAYS or COPY_ONCE, not %q", strategyKey, strategy)
	}
}

func (s *session) apply(ctx context.Context) error {
	saved, err := loadDefaults(s.files)
	if err != nil {
		return err
	}
	copier := &copier{files: s.files, defaults: saved, entries: s.entries}
	for _, step := range []func() error{s.makeDirectories, s.makeFiles, copier.run, s.writeCommand} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
	}
	for _, permission := range s.permissions {
		s.files.setPermissions(permission)
	}
	return nil
}

func (s *session) makeDirectories() error {
	for i, directory := range s.config.Directories {
		place := s.files.tree.absolute(directory.Path)
		if s.files.tree.lexists(place) && !s.files.tree.isDir(place) {
			return fault(InvalidConfig, "directories[%d]: %s is there and is no directory", i, directory.Path)
		}
		if err := s.files.makeDirectory(place); err != nil {
			return err
		}
		mode := forDirectory(uint32(directory.Perm))
		s.files.setOwnerAndMode(s.files.tree.host(place), place, s.directories[i], &mode)
	}
	return nil
}

func (s *session) makeFiles() error {
	for i, file := range s.config.Files {
		place := s.files.tree.absolute(file.Path)
		host := s.files.tree.host(place)
		if !s.files.tree.isDir(path.Dir(place)) {
			return fault(InvalidConfig, "files[%d]: %s cannot be made: %s is no directory", i, file.Path, path.Dir(place))
		}
		// O_NONBLOCK: a fifo in that place must not hold up the start.
		handle, err := os.OpenFile(host, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		info, statErr := os.Lstat(host)
		if handle != nil {
			_ = handle.Close()
		}
		if statErr == nil && !info.Mode().IsRegular() {
			return fault(InvalidConfig, "files[%d]: %s is there and is no regular file", i, file.Path)
		}
		// One that is there needs no writing, only its owner and mode.
		if err != nil && statErr != nil {
			return fmt.Errorf("cannot make %s: %w", place, err)
		}
		mode := uint32(file.Perm)
		s.files.setOwnerAndMode(host, place, s.emptyFiles[i], &mode)
	}
	return nil
}

func (s *session) writeCommand() error {
	attr := attributes{ids: ids{uid: os.Geteuid(), gid: os.Getegid()}, mode: 0o644}
	return s.files.write(strings.NewReader(s.config.Command), runCommandFile, attr)
}

func (s *session) markConfigured() error {
	handle, err := os.OpenFile(s.files.tree.host(configuredFile), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot note that the configuration was copied once: %w", err)
	}
	return handle.Close()
}
