// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"errors"
	"fmt"
)

// Fault names what kind of known error ended a run. The names are part of the
// API: deployers look for them in the log.
type Fault string

// The known errors. Each gives exit code 1.
const (
	InvalidConfig            Fault = "InvalidConfig"
	MissingRequiredSource    Fault = "MissingRequiredSource"
	UserNotFound             Fault = "UserNotFound"
	ConfigFileBadState       Fault = "ConfigFileBadState"
	ConfigFileCommandDiffers Fault = "ConfigFileCommandDiffers"
	StateMismatch            Fault = "StateMismatch"
)

// Error is a known error: something the author of the configuration or the
// deployer can put right.
type Error struct {
	Fault   Fault
	Message string
}

func (e *Error) Error() string { return string(e.Fault) + ": " + e.Message }

func fault(kind Fault, format string, args ...any) error {
	return &Error{Fault: kind, Message: fmt.Sprintf(format, args...)}
}

// The exit codes of kolla_set_configs.
const (
	exitOK         = 0
	exitKnown      = 1
	exitUnexpected = 2
)

// ExitCode is the exit code of kolla_set_configs for what it returned: 0 for
// nil, 1 for a known error, 2 for anything else.
func ExitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, known := errors.AsType[*Error](err); known {
		return exitKnown
	}
	return exitUnexpected
}
