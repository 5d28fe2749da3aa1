// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package clienttest

import "copse/internal/plan"

// Findings are a port that somebody else has, and a clock that nobody keeps right.
func Findings() []plan.Finding {
	return []plan.Finding{
		{
			Severity: plan.Refused, Check: "port", Containers: []string{"haproxy"}, Where: "tcp 192.0.2.10:5000",
			What: "tcp 192.0.2.10:5000 is needed by haproxy and taken by process 77 (nc)", Do: "stop it (kill 77)",
		},
		{Severity: plan.Warning, Check: "clock", Where: "clock", What: "clock: nothing keeps it right", Do: "run chrony"},
	}
}
