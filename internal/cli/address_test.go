// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import "testing"

// What a cloud was brought up with holds, for as long as the host has that address.
func TestFormerAddressIsTheDefault(t *testing.T) {
	for _, tc := range []struct {
		name, former string
		elsewhere    bool
		want         string // "": not the former
	}{
		{"the host has it", "127.0.0.1", false, "127.0.0.1"},
		{"the host has lost it", "192.0.2.77", false, ""},
		{"another host's", "192.0.2.77", true, "192.0.2.77"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := defaultFor(tc.former, tc.elsewhere)()
			if tc.want == "" {
				if got == tc.former {
					t.Errorf("the default is %s, which the host does not have", got)
				}
				return // what else there is, if anything, is the host's
			}
			if err != nil || got != tc.want {
				t.Errorf("the default is %q, %v; want %s", got, err, tc.want)
			}
		})
	}
}
