// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package secret

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/big"

	"copse/internal/tree"
)

// redacted stands for a value wherever one is printed.
const redacted = "[secret]"

// Value is the value of a secret. However it is printed, logged or marshalled, it does not
// show: only Reveal does.
//
// The text is behind a pointer because package fmt calls no methods on the unexported fields
// of a struct that it prints; it prints the address.
type Value struct{ text *string }

func newValue(text string) Value { return Value{&text} }

// Reveal returns the value itself.
func (v Value) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// String hides the value.
func (Value) String() string { return redacted }

// GoString hides the value from %#v.
func (Value) GoString() string { return redacted }

// Format hides the value from every verb of package fmt.
func (Value) Format(state fmt.State, _ rune) { fmt.Fprint(state, redacted) }

// MarshalText hides the value from what encodes text.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON hides the value from JSON.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue hides the value from slog.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// Bounds of a length: below nothing is protected, above no service accepts it.
const (
	minLength = 8
	maxLength = 4096
)

// alphabet is what passwords are made of: nothing that a shell, a URL, YAML or an INI file
// would take apart.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// generate makes a new value from the kernel's random numbers.
func generate(how tree.Generator) (Value, error) {
	if how.Length < minLength || how.Length > maxLength {
		return Value{}, fmt.Errorf("length %d is not between %d and %d", how.Length, minLength, maxLength)
	}
	switch how.Kind {
	case "password":
		letters := make([]byte, how.Length)
		for i := range letters {
			n, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
			if err != nil {
				return Value{}, err
			}
			letters[i] = alphabet[n.Int64()]
		}
		return newValue(string(letters)), nil
	case "hex", "base64":
		random := make([]byte, how.Length)
		if _, err := rand.Read(random); err != nil {
			return Value{}, err
		}
		if how.Kind == "hex" {
			return newValue(hex.EncodeToString(random)), nil
		}
		// The URL-safe alphabet is what Fernet keys have.
		return newValue(base64.URLEncoding.EncodeToString(random)), nil
	}
	return Value{}, fmt.Errorf("kind %q is not one of password, hex, base64", how.Kind)
}
