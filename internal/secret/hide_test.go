// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"net/url"
	"os"
	"strings"
	"testing"

	"copse/internal/tree"
)

func TestHide(t *testing.T) {
	secrets := open(t)
	if got := secrets.Hide("nothing is secret yet"); got != "nothing is secret yet" {
		t.Errorf("without secrets: %q", got)
	}
	key := tree.Secret{Name: "key", Generate: tree.Generator{Kind: "base64", Length: 32}}
	for _, s := range []tree.Secret{password("nova_database"), key} {
		if _, _, err := secrets.Ensure(s); err != nil {
			t.Fatal(err)
		}
	}
	first := reveal(t, secrets, "nova_database", 1)
	if got := secrets.Hide("cannot connect to mysql://nova:" + first + "@db/nova"); got != "cannot connect to mysql://nova:(secret nova_database)@db/nova" {
		t.Errorf("a value in a URL: %q", got)
	}
	// One that is made later is hidden too, and those before it still are.
	if _, err := secrets.Rotate(password("nova_database")); err != nil {
		t.Fatal(err)
	}
	second, binary := reveal(t, secrets, "nova_database", 2), reveal(t, secrets, "key", 1)
	if !strings.Contains(url.QueryEscape(binary), "%3D") {
		t.Fatalf("the key %q needs no quoting; the test says nothing", binary)
	}
	text := first + " " + second + "\n" + second + url.QueryEscape(binary) + " " + binary + second[1:]
	want := "(secret nova_database) (secret nova_database)\n(secret nova_database)(secret key) (secret key)" + second[1:]
	if got := secrets.Hide(text); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestHideNothingUnseen: what cannot be looked through is not shown.
func TestHideNothingUnseen(t *testing.T) {
	secrets := open(t)
	if _, _, err := secrets.Ensure(password("a")); err != nil {
		t.Fatal(err)
	}
	value := reveal(t, secrets, "a", 1)
	if err := os.RemoveAll(secrets.dir); err != nil {
		t.Fatal(err)
	}
	if got := secrets.Hide("password " + value); strings.Contains(got, value) || !strings.Contains(got, "not shown") {
		t.Errorf("where the secrets cannot be read: %q", got)
	}
}
