// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package nearest finds the known name that somebody most likely meant. It has no state.
package nearest

// Of returns the candidate that takes the fewest slips of the keyboard to become name, the
// first among equals, or "" where all are too far away to be a help.
func Of(name string, candidates []string) string {
	best, least := "", max(2, len(name)/2)+1
	for _, c := range candidates {
		if d := Distance(name, c); d < least {
			best, least = c, d
		}
	}
	return best
}

// Hint returns `; did you mean "x"?` for the nearest candidate, or "" where there is none.
func Hint(name string, candidates []string) string {
	if best := Of(name, candidates); best != "" {
		return `; did you mean "` + best + `"?`
	}
	return ""
}

// Distance is the number of insertions, deletions, replacements and swaps of neighbours
// between two strings (optimal string alignment), by bytes.
func Distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
