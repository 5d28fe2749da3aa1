// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"errors"
	"fmt"

	"github.com/compose-spec/compose-go/v2/template"

	"copse/internal/nearest"
)

// interpolate fills ${NAME}, ${NAME:-default} and the other forms of the Compose specification;
// $$ is a dollar sign. A name that is not declared is an error even where a default stands
// beside it: a misspelt name must not pass as "not set".
func interpolate(text string, lookup func(string) (string, bool), known []string) (string, error) {
	var unknown error
	out, err := template.SubstituteWithOptions(text, func(name string) (string, bool) {
		value, ok := lookup(name)
		if !ok && unknown == nil {
			unknown = fmt.Errorf("${%s} is no declared value%s; declare it in the catalogue's values.yaml, or write $$ for a dollar sign", name, nearest.Hint(name, known))
		}
		return value, true
	}, template.WithoutLogging)
	if unknown != nil {
		return "", unknown
	}
	var invalid *template.InvalidTemplateError
	if errors.As(err, &invalid) {
		return "", fmt.Errorf("%q has a ${…} that cannot be read; write $$ for a dollar sign", text)
	}
	return out, err
}
