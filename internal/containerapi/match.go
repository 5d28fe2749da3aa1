// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package containerapi

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// dialect is whose globs are meant.
type dialect int

const (
	// pythonGlob is what config files use (fnmatch and glob): "!" negates, a
	// backslash is a character like any other.
	pythonGlob dialect = iota
	// shellGlob is what the command line is expanded by (POSIX 2.13, as bash
	// does it): "!" and "^" negate, a backslash takes away a meaning, and
	// [:class:] works.
	shellGlob
)

// hasMagic tells whether text would be expanded at all.
func (d dialect) hasMagic(text string) bool {
	if d == pythonGlob {
		return strings.ContainsAny(text, "*?[")
	}
	pattern := runes(text)
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '*', '?':
			return true
		case '[':
			if _, ok := d.bracket(pattern[i:]); ok {
				return true
			}
		}
	}
	return false
}

// match tells whether one name (no path) matches. A name that begins with a
// dot is only matched by a pattern that does.
func (d dialect) match(pattern, name string) bool {
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") && (d != shellGlob || !strings.HasPrefix(pattern, `\.`)) {
		return false
	}
	return d.matchRunes(runes(pattern), runes(name))
}

// matchRunes needs time proportional to pattern × name: when what follows a
// star does not fit, only the last star takes one more character.
func (d dialect) matchRunes(pattern, name []rune) bool {
	p, n := 0, 0
	starPattern, starName := -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			starPattern, starName = p, n
			p++
			continue
		}
		if width, ok := d.matchOne(pattern[p:], name[n]); ok {
			p += width
			n++
			continue
		}
		if starPattern < 0 {
			return false
		}
		starName++
		p, n = starPattern+1, starName
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches the first element of pattern, which is no star, with one
// character; width is the element's length.
func (d dialect) matchOne(pattern []rune, char rune) (width int, ok bool) {
	if len(pattern) == 0 {
		return 0, false
	}
	switch {
	case pattern[0] == '?':
		return 1, true
	case pattern[0] == '[':
		if set, closed := d.bracket(pattern); closed {
			return set.width, set.has(char)
		}
	case pattern[0] == '\\' && d == shellGlob && len(pattern) > 1:
		return 2, pattern[1] == char
	}
	return 1, pattern[0] == char
}

// bracketSet is one [...] of a pattern.
type bracketSet struct {
	width   int // runes of the pattern, brackets included
	negated bool
	ranges  [][2]rune
	classes []func(rune) bool
}

func (s bracketSet) has(char rune) bool {
	found := false
	for _, bounds := range s.ranges {
		found = found || bounds[0] <= char && char <= bounds[1]
	}
	for _, class := range s.classes {
		found = found || class(char)
	}
	return found != s.negated
}

// bracket reads the set at the start of pattern; ok is false when it is not
// closed, and "[" then stands for itself.
func (d dialect) bracket(pattern []rune) (set bracketSet, ok bool) {
	i := 1
	if i < len(pattern) && (pattern[i] == '!' || d == shellGlob && pattern[i] == '^') {
		set.negated = true
		i++
	}
	for first := true; ; first = false {
		if i >= len(pattern) {
			return set, false
		}
		if pattern[i] == ']' && !first {
			set.width = i + 1
			return set, true
		}
		if class, width := d.class(pattern[i:]); width > 0 {
			set.classes = append(set.classes, class)
			i += width
			continue
		}
		low, width := d.member(pattern[i:])
		i += width
		high := low
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			high, width = d.member(pattern[i+1:])
			i += 1 + width
		}
		set.ranges = append(set.ranges, [2]rune{low, high})
	}
}

// member reads one character of a set.
func (d dialect) member(pattern []rune) (char rune, width int) {
	if d == shellGlob && pattern[0] == '\\' && len(pattern) > 1 {
		return pattern[1], 2
	}
	return pattern[0], 1
}

// class reads [:name:] inside a set; width is 0 when there is none.
func (d dialect) class(pattern []rune) (class func(rune) bool, width int) {
	if d != shellGlob || len(pattern) < 2 || pattern[0] != '[' || pattern[1] != ':' {
		return nil, 0
	}
	name, _, found := strings.Cut(string(pattern[2:]), ":]")
	if !found {
		return nil, 0
	}
	ascii := func(in func(rune) bool) func(rune) bool {
		return func(char rune) bool { return char <= unicode.MaxASCII && in(char) }
	}
	switch name {
	case "alpha":
		class = unicode.IsLetter
	case "digit":
		class = ascii(unicode.IsDigit)
	case "alnum":
		class = func(char rune) bool { return unicode.IsLetter(char) || unicode.IsDigit(char) }
	case "upper":
		class = unicode.IsUpper
	case "lower":
		class = unicode.IsLower
	case "space":
		class = unicode.IsSpace
	case "punct":
		class = func(char rune) bool { return unicode.IsPunct(char) || unicode.IsSymbol(char) }
	case "xdigit":
		class = ascii(func(char rune) bool { return strings.ContainsRune("0123456789abcdefABCDEF", char) })
	default:
		return nil, 0
	}
	return class, len(name) + len("[::]")
}

// runes splits text into characters. A byte that is not UTF-8 becomes a
// character of its own that no valid text holds, since file names are bytes.
func runes(text string) []rune {
	result := make([]rune, 0, len(text))
	for len(text) > 0 {
		char, width := utf8.DecodeRuneInString(text)
		if char == utf8.RuneError && width == 1 {
			const strayByte = 0xDC00 // Python's surrogateescape does the same
			char = strayByte + rune(text[0])
		}
		result = append(result, char)
		text = text[width:]
	}
	return result
}
