// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"fmt"
	"strings"

	"copse/internal/plan"
)

// Findings renders `copse preflight`.
func (v *View) Findings(findings []plan.Finding) error {
	if v.options.Format == JSON {
		return objects(v, findings)
	}
	if len(findings) == 0 {
		return v.printf("%s", v.theme.good("Nothing stands in the way."))
	}
	var b strings.Builder
	v.findings(&b, findings)
	refused := 0
	for _, f := range findings {
		if f.Severity == plan.Refused {
			refused++
		}
	}
	summary := fmt.Sprintf("%d refused, %s.", refused, count(len(findings)-refused, "warning"))
	b.WriteString(v.theme.strong(summary) + "\n")
	return v.write(b.String())
}

// findings writes each finding, and below it the way out.
func (v *View) findings(b *strings.Builder, findings []plan.Finding) {
	for _, f := range findings {
		paint := v.theme.warn
		if f.Severity == plan.Refused {
			paint = v.theme.bad
		}
		margin := strings.Repeat(" ", len(f.Severity)+2)
		b.WriteString(paint(string(f.Severity)+":") + " " + v.wrapped(clean(f.What), margin) + "\n")
		b.WriteString(margin + v.wrapped("→ "+clean(f.Do), margin+"  ") + "\n")
	}
}
