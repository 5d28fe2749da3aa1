// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import "fmt"

// Severity says what a finding means for a change.
type Severity string

// The severities.
const (
	// Refused: the change cannot succeed, or would do harm; nothing is touched.
	Refused Severity = "refused"
	// Warning: the change goes on.
	Warning Severity = "warning"
)

// Finding is something about a host that stands in the way of what is declared, or will. Package
// preflight makes them.
type Finding struct {
	Severity Severity `json:"severity"`
	// Check is what was looked at: "port", "path", "clock"…
	Check string `json:"check"`
	// Containers are those that it concerns; none: all.
	Containers []string `json:"containers,omitempty"`
	// Where is the place: "tcp 0.0.0.0:5000", "/run/netns", "volume copse_mariadb".
	Where string `json:"where"`
	// What is wrong there, in words; it begins with the place.
	What string `json:"what"`
	// Do is the way out.
	Do string `json:"do"`
}

// String is the finding in one sentence, with the way out.
func (f Finding) String() string { return fmt.Sprintf("%s: %s", f.What, f.Do) }

// Refusals are the findings that keep the plan from being carried out.
func (p *Plan) Refusals() []Finding {
	var refusals []Finding
	for _, f := range p.Findings {
		if f.Severity == Refused {
			refusals = append(refusals, f)
		}
	}
	return refusals
}
