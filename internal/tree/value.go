// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

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
