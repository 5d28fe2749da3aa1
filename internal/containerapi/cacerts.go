// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
)

const (
	customCADir    = configDir + "/ca-certificates"
	customCAPrefix = "kolla-customca-"
	// caStamp holds the digest of the certificates that the bundle was last
	// made with. It is written after the bundle, so a killed run is repeated.
	caStamp = "/etc/kolla/ca-certificates.sha256"
)

// trustStore is how a family of distributions adds certificates.
type trustStore struct {
	marker string // a file that only this family has
	anchor string // where certificates are put
	suffix string // that a name must have to be seen
	update []string
	// remake is update when certificates were taken away.
	remake []string
}

func trustStores() []trustStore {
	return []trustStore{
		{
			marker: "/etc/debian_version", anchor: "/usr/local/share/ca-certificates", suffix: ".crt",
			update: []string{"update-ca-certificates"}, remake: []string{"update-ca-certificates", "--fresh"},
		},
		{
			marker: "/etc/redhat-release", anchor: "/etc/pki/ca-trust/source/anchors",
			update: []string{"update-ca-trust"}, remake: []string{"update-ca-trust"},
		},
	}
}

// caChange is what has to be done for the trust store to hold the certificates
// that are mounted.
type caChange struct {
	store  trustStore
	wanted map[string][]byte // by name in the store
	stale  []string          // names in the store to be removed
	digest string
}

// CopyCACerts is kolla_copy_cacerts: it makes the certificates mounted beside
// the configuration, and no others of an earlier start, part of the system's
// bundle. It does nothing when that is so already.
func CopyCACerts(ctx context.Context, c Container) error {
	change, err := c.caChange()
	if err != nil || change == nil {
		return err
	}
	return c.applyCAChange(ctx, change)
}

func (c Container) copyCACertsAsRoot(ctx context.Context) error {
	change, err := c.caChange()
	if err != nil || change == nil {
		return err
	}
	return c.asRoot(ctx, "kolla_copy_cacerts", "the trust store changes", func() error { return c.applyCAChange(ctx, change) })
}

// caChange compares; nil is nothing to do.
func (c Container) caChange() (*caChange, error) {
	mounted, err := c.mountedCAs()
	if err != nil {
		return nil, err
	}
	tree := c.tree()
	stores := trustStores()
	i := slices.IndexFunc(stores, func(s trustStore) bool { return tree.lexists(s.marker) })
	if i < 0 {
		if len(mounted) > 0 {
			c.logger("kolla_copy_cacerts").warn("the certificates in %s are not used: the image is neither of Debian's nor of Red Hat's family", customCADir)
		}
		return nil, nil
	}
	change := &caChange{store: stores[i], wanted: map[string][]byte{}}
	for name, certificate := range mounted {
		name = customCAPrefix + name
		if !strings.HasSuffix(name, change.store.suffix) {
			name += change.store.suffix
		}
		change.wanted[name] = certificate
	}
	return change, c.compareStore(&change)
}

// compareStore fills in what is stale, or sets change to nil when the store is as wanted.
func (c Container) compareStore(change **caChange) error {
	wanted, tree := (*change).wanted, c.tree()
	names, err := readNames(tree.host((*change).store.anchor))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot read the trust store: %w", err)
	}
	same := 0
	for _, name := range names {
		if !strings.HasPrefix(name, customCAPrefix) {
			continue
		}
		certificate, isWanted := wanted[name]
		if !isWanted {
			(*change).stale = append((*change).stale, name)
			continue
		}
		present, err := os.ReadFile(tree.host(path.Join((*change).store.anchor, name)))
		if err == nil && bytes.Equal(present, certificate) {
			same++
		}
	}
	(*change).digest = digestOf(wanted)
	stamp, err := os.ReadFile(tree.host(caStamp))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot tell whether the trust store is up to date: %w", err)
	}
	upToDate := string(stamp) == (*change).digest || len(wanted) == 0 && len(stamp) == 0
	if upToDate && same == len(wanted) && len((*change).stale) == 0 {
		*change = nil
	}
	return nil
}

// mountedCAs reads the files, by name. As "*" in a shell, it passes over names
// that begin with a dot.
func (c Container) mountedCAs() (map[string][]byte, error) {
	tree := c.tree()
	mounted := map[string][]byte{}
	for _, source := range tree.glob(pythonGlob, customCADir+"/*") {
		if tree.isDir(source) {
			c.logger("kolla_copy_cacerts").warn("%s is a directory and not used", source)
			continue
		}
		certificate, err := os.ReadFile(tree.host(source))
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificate %s: %w", source, err)
		}
		mounted[path.Base(source)] = certificate
	}
	return mounted, nil
}

func digestOf(certificates map[string][]byte) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(certificates)) {
		_, _ = fmt.Fprintf(sum, "%s\x00%d\x00", name, len(certificates[name])) // a hash takes everything
		_, _ = sum.Write(certificates[name])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func (c Container) applyCAChange(ctx context.Context, change *caChange) error {
	log := c.logger("kolla_copy_cacerts")
	f := files{tree: c.tree(), log: log}
	owner := ids{uid: os.Geteuid(), gid: os.Getegid()}
	for _, name := range change.stale {
		log.info("removing %s from the trust store", name)
		if err := f.remove(path.Join(change.store.anchor, name)); err != nil {
			return err
		}
	}
	if err := f.makeDirectory(change.store.anchor); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(change.wanted)) {
		log.info("adding %s to the trust store", name)
		place := path.Join(change.store.anchor, name)
		if err := f.write(bytes.NewReader(change.wanted[name]), place, attributes{ids: owner, mode: 0o644}); err != nil {
			return err
		}
	}
	update := change.store.update
	if len(change.stale) > 0 {
		update = change.store.remake
	}
	if err := c.run(ctx, update[0], update[1:]...); err != nil {
		return &exitError{code: exitKnown, err: fmt.Errorf("cannot bring the trust store up to date: %w", err)}
	}
	if err := f.makeDirectory(path.Dir(caStamp)); err != nil {
		return err
	}
	return f.write(strings.NewReader(change.digest), caStamp, attributes{ids: owner, mode: 0o644})
}
