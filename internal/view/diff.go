// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package view

import (
	"slices"
	"strings"
)

// diffLines returns what it takes to make b of a, with the group of an INI file and one line
// around each difference; nothing where they are the same.
func diffLines(a, b []string) []string {
	marked := align(a, b)
	keep := make([]bool, len(marked))
	changed := false
	for i, line := range marked {
		if line[0] == ' ' {
			continue
		}
		changed = true
		for j := max(i-1, 0); j <= min(i+1, len(marked)-1); j++ {
			keep[j] = true
		}
		// The group that the line belongs to.
		for j := i - 1; j >= 0; j-- {
			if strings.HasPrefix(marked[j][1:], "[") {
				keep[j] = true
				break
			}
		}
	}
	if !changed {
		return nil
	}
	var lines []string
	for i, line := range marked {
		if keep[i] && line != " " {
			lines = append(lines, line)
		}
	}
	return lines
}

// align marks the lines of a and b that are in both (by their longest common subsequence) and
// those that are in one.
func align(a, b []string) []string {
	// What both begin and end with needs no table; configuration files are short besides.
	begin := 0
	for begin < len(a) && begin < len(b) && a[begin] == b[begin] {
		begin++
	}
	end := 0
	for end < len(a)-begin && end < len(b)-begin && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	var marked []string
	for _, line := range a[:begin] {
		marked = append(marked, " "+line)
	}
	x, y := a[begin:len(a)-end], b[begin:len(b)-end]
	common := make([][]int, len(x)+1) // of x[i:] and y[j:]
	for i := range common {
		common[i] = make([]int, len(y)+1)
	}
	for i := range slices.Backward(x) {
		for j := range slices.Backward(y) {
			if x[i] == y[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(x) || j < len(y) {
		switch {
		case i < len(x) && j < len(y) && x[i] == y[j]:
			marked = append(marked, " "+x[i])
			i, j = i+1, j+1
		case j == len(y) || (i < len(x) && common[i+1][j] >= common[i][j+1]):
			marked = append(marked, "-"+x[i])
			i++
		default:
			marked = append(marked, "+"+y[j])
			j++
		}
	}
	for _, line := range a[len(a)-end:] {
		marked = append(marked, " "+line)
	}
	return marked
}
