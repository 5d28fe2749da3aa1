// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package host makes true of a host what must be true before containers start: directories,
// shared mounts, modules and parameters of the kernel, pairs of interfaces. What they are is
// declared by the sets of the catalogue (tree.HostPrep).
//
// It looks first, compares (a pure function), and only then acts:
//
//	observe → assess → refuse, with nothing touched | mend
//
// Looking and acting are done in the mount namespace of the container engine, since that is
// where the sources of binds are resolved, and in the network namespace that the caller is in,
// which is the host's. Everything may be done again: what is as asked is left alone. Nothing is
// ever taken back, since others may have come to rely on it.
package host
