// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package placeholder

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// filterNamed returns the filter of that name, or nil.
func filterNamed(name string) func(string) string {
	switch name {
	case "urlquote":
		return urlQuote
	case "sql":
		return sqlQuote
	case "json":
		return jsonQuote
	}
	return nil
}

// urlQuote percent-encodes all but the unreserved characters of RFC 3986,
// section 2.3. That is more than any single part of a URL asks for, so the
// result fits in each of them.
func urlQuote(value string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for _, c := range []byte(value) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
			out.WriteByte(c)
		default:
			out.WriteByte('%')
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
		}
	}
	return out.String()
}

// sqlEscapes are the escape sequences of MariaDB's string literals that a
// value needs while NO_BACKSLASH_ESCAPES is off.
var sqlEscapes = strings.NewReplacer("\x00", `\0`, "'", `\'`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\x1a", `\Z`)

func sqlQuote(value string) string { return "'" + sqlEscapes.Replace(value) + "'" }

// jsonQuote writes a JSON string (RFC 8259, section 7). Bytes that are no
// UTF-8 become the replacement character, since JSON has no way to say them.
func jsonQuote(value string) string {
	var out strings.Builder
	out.WriteByte('"')
	for _, r := range value {
		switch {
		case r == '"', r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\n`)
		case r < 0x20, r == 0x7f, r == 0x2028, r == 0x2029, r == 0x85:
			// The last four are no matter to JSON, but YAML readers differ on them.
			fmt.Fprintf(&out, `\u%04x`, r)
		case r == utf8.RuneError:
			out.WriteRune(utf8.RuneError)
		default:
			out.WriteRune(r)
		}
	}
	out.WriteByte('"')
	return out.String()
}
