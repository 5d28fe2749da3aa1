// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Holder is the process that has a store open.
type Holder struct {
	PID     int       `json:"pid"`
	Program string    `json:"program"`
	Host    string    `json:"host"` // a container's name where the process is in one
	Since   time.Time `json:"since"`
}

// HeldError says that another process has the store open.
type HeldError struct {
	Path   string
	Holder *Holder // nil where it is not known
}

// Error implements error.
func (e *HeldError) Error() string {
	if e.Holder == nil {
		return fmt.Sprintf("cannot open %s: another process has it open; stop that one first (fuser %s names it)", e.Path, e.Path)
	}
	return fmt.Sprintf("cannot open %s: process %d (%s on %s) has had it open since %s; use that one, or stop it first",
		e.Path, e.Holder.PID, e.Holder.Program, e.Holder.Host, e.Holder.Since.Format(time.RFC3339))
}

func holderPath(path string) string { return path + ".holder" }

// writeHolder notes who has the store open, for the message of whoever comes second. The lock itself is
// the kernel's, so a stale note is never acted on, and one that cannot be written (a full disk) is no
// reason to refuse to start: the message is then less exact, nothing else.
func writeHolder(path string, now time.Time) {
	host, err := os.Hostname()
	if err != nil {
		host = "this host"
	}
	note, err := json.Marshal(Holder{
		PID:     os.Getpid(),
		Program: filepath.Base(os.Args[0]),
		Host:    host,
		Since:   now.UTC().Truncate(time.Second),
	})
	if err != nil {
		return
	}
	tmp := holderPath(path) + ".new"
	if os.WriteFile(tmp, note, 0o600) != nil || os.Rename(tmp, holderPath(path)) != nil {
		// An old note would name the wrong process.
		_ = os.Remove(tmp)
		_ = os.Remove(holderPath(path))
	}
}

func readHolder(path string) *Holder {
	note, err := os.ReadFile(holderPath(path))
	if err != nil {
		return nil
	}
	var h Holder
	if json.Unmarshal(note, &h) != nil || h.PID == 0 {
		return nil
	}
	return &h
}
