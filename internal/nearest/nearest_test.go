// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package nearest

import "testing"

func TestOf(t *testing.T) {
	known := []string{"keystone", "mariadb", "rabbitmq", "memcached"}
	for name, want := range map[string]string{
		"keystne":  "keystone",
		"kyestone": "keystone",
		"maria":    "mariadb",
		"rabbit":   "rabbitmq",
		"zzzzzz":   "",
		"":         "",
	} {
		if got := Of(name, known); got != want {
			t.Errorf("Of(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Distance(c.b, c.a); got != c.want {
			t.Errorf("Distance(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
