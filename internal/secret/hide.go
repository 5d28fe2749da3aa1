// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// Hide replaces the values of all secrets that are kept in a text by their names: a service that fails
// may write them down, in a URL or a statement that it could not carry out. Values that are quoted for
// a URL are found too; what is encoded in other ways is not.
//
// A text that cannot be looked through, since the secrets cannot be read, is not given away: an error
// in words is returned in its place. Versions that another process makes meanwhile are not known until
// this one makes one.
func (s *Secrets) Hide(text string) string {
	if text == "" {
		return ""
	}
	hider, err := s.hiderOf()
	if err != nil {
		return "(not shown: " + err.Error() + ")"
	}
	return hider.Replace(text)
}

// hiderOf returns what replaces the values of today; it is made anew after each that is made.
func (s *Secrets) hiderOf() (*strings.Replacer, error) {
	s.hiding.Lock()
	defer s.hiding.Unlock()
	if s.hider != nil {
		return s.hider, nil
	}
	present, err := s.Versions()
	if err != nil {
		return nil, err
	}
	type pair struct{ value, name string }
	var pairs []pair
	for name := range present {
		versions, err := s.versions(name)
		if err != nil {
			return nil, err
		}
		for _, version := range versions {
			value, err := s.Value(name, version)
			if errors.Is(err, ErrNotFound) {
				continue // just removed
			}
			if err != nil {
				return nil, err
			}
			if len(value.Reveal()) < minLength {
				continue // nobody's secret: it would take words apart
			}
			pairs = append(pairs, pair{value.Reveal(), name})
			if quoted := url.QueryEscape(value.Reveal()); quoted != value.Reveal() {
				pairs = append(pairs, pair{quoted, name})
			}
		}
	}
	// Of two that begin alike, the longer one first.
	slices.SortFunc(pairs, func(a, b pair) int { return len(b.value) - len(a.value) })
	var replacements []string
	for _, p := range pairs {
		replacements = append(replacements, p.value, "(secret "+p.name+")")
	}
	s.hider = strings.NewReplacer(replacements...)
	return s.hider, nil
}

// changed forgets what Hide knows.
func (s *Secrets) changed() {
	s.hiding.Lock()
	defer s.hiding.Unlock()
	s.hider = nil
}
