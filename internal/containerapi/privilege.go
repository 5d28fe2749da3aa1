// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"

	"golang.org/x/sys/unix"
)

// A container may run as a user other than root. Each step of a start is then
// done directly if that user can, else through sudo as images of Kolla are set
// up for (their sudoers file lets the group kolla run these programs, by these
// paths, without a password), else tried, so that the error names the file.

const programDir = "/usr/local/bin"

// asRoot does one step. reason says why the step needs root, or is empty.
func (c Container) asRoot(ctx context.Context, program, reason string, direct func() error) error {
	if os.Geteuid() == 0 || reason == "" {
		return direct()
	}
	_, sudoErr := c.findProgram("sudo")
	if sudoErr != nil || !c.tree().lexists(programDir+"/"+program) {
		if err := direct(); err != nil {
			return &exitError{code: ExitCode(err), err: fmt.Errorf("%w (running as user %d, not root: %s; give that user the right, run as root, or add sudo with a rule for %s/%s)",
				err, os.Geteuid(), reason, programDir, program)}
		}
		return nil
	}
	arguments := []string{"-n", programDir + "/" + program} // -n: nobody is there to type a password
	if program == "kolla_set_configs" {
		// The strategy is in the environment. Nothing else needs that, and
		// sudo refuses -E where the rule does not allow it.
		arguments = slices.Insert(arguments, 1, "-E")
	}
	return c.run(ctx, "sudo", arguments...)
}

func (c Container) setConfigsAsRoot(ctx context.Context) error {
	reason := ""
	if os.Geteuid() != 0 {
		reason = c.setConfigsNeedsRoot()
	}
	return c.asRoot(ctx, "kolla_set_configs", reason, func() error { return SetConfigs(ctx, c) })
}

// setConfigsNeedsRoot finds the first thing that this user may not do. What is
// wrong with the configuration itself is left for the step to report.
func (c Container) setConfigsNeedsRoot() string {
	tree := c.tree()
	if strategy, _ := c.lookup(strategyKey); strategy == "COPY_ONCE" && tree.lexists(configuredFile) {
		return ""
	}
	s, err := c.open(&logger{output: discard{}})
	if err != nil {
		return ""
	}
	self := ids{uid: os.Geteuid(), gid: os.Getegid()}
	places := []string{runCommandFile}
	var owners []ids
	for _, entry := range s.entries {
		places = append(places, stateFile, tree.absolute(entry.Dest))
		if !entry.PreserveProperties {
			owners = append(owners, entry.owner)
		}
	}
	for i, directory := range s.config.Directories {
		places, owners = append(places, tree.absolute(directory.Path)), append(owners, s.directories[i])
	}
	for i, file := range s.config.Files {
		places, owners = append(places, tree.absolute(file.Path)), append(owners, s.emptyFiles[i])
	}
	for _, permission := range s.permissions {
		owners = append(owners, permission.owner)
	}
	for _, place := range places {
		if !tree.writable(place) {
			return place + " cannot be written"
		}
	}
	for _, owner := range owners {
		if owner != self {
			return fmt.Sprintf("files are to be owned by %d:%d", owner.uid, owner.gid)
		}
	}
	return ""
}

// writable tells whether place, or the nearest directory above that exists,
// lets this user write.
func (f filesystem) writable(place string) bool {
	for {
		switch err := unix.Access(f.host(place), unix.W_OK); err {
		case nil:
			return true
		case unix.ENOENT:
			if place == "/" {
				return false
			}
			place = path.Dir(place)
		default:
			return false
		}
	}
}

// discard is a writer for what nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
