// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import "regexp"

// The values of a cloud that the agent goes by; every other is for the sets alone.
const (
	// ValueMonitoringListen is where health and metrics are offered by TCP, "" for nowhere.
	ValueMonitoringListen = "MONITORING_LISTEN"
	// ValueHooksDirectory is the directory on the host with the programs that are told how sets stand.
	ValueHooksDirectory = "HOOKS_DIRECTORY"
	// ValueHooksTimeout is how long one of them may take, in seconds.
	ValueHooksTimeout = "HOOKS_TIMEOUT"
)

// AgentValues names them.
func AgentValues() []string {
	return []string{ValueMonitoringListen, ValueHooksDirectory, ValueHooksTimeout}
}

var clientVariable = regexp.MustCompile(`^OS_[A-Z0-9_]+$`)

// IsClientVariable reports whether a name is a variable of the openstack client. They go into an operator's
// shell, where others decide which programs are run.
func IsClientVariable(name string) bool { return clientVariable.MatchString(name) }
