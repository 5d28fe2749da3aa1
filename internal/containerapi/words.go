// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import "strings"

// splitWords splits a command as a shell splits the value of a variable that
// stands without quotes: at blanks, tabs and line ends, nothing else. Quotes
// and backslashes inside are characters like any others.
func splitWords(command string) []string {
	return strings.FieldsFunc(command, func(char rune) bool { return char == ' ' || char == '\t' || char == '\n' })
}

// expandWords splits a command and replaces each word that is a glob by the
// paths that match, if any do.
func (f filesystem) expandWords(command string) []string {
	var words []string
	for _, word := range splitWords(command) {
		if shellGlob.hasMagic(word) {
			if paths := f.glob(shellGlob, word); len(paths) > 0 {
				words = append(words, paths...)
				continue
			}
		}
		words = append(words, word)
	}
	return words
}
