// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gophercloud/gophercloud/v2"
)

// explained is an error with its text replaced by what the API said.
type explained struct {
	text string
	err  error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.err }

// explain makes one sentence of an answer that was not expected: what was asked, the status and the
// service's own words.
func explain(err error) error {
	var answer gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &answer) {
		return err
	}
	sentence := fmt.Sprintf("%s %s answered %d %s", answer.Method, answer.URL, answer.Actual, http.StatusText(answer.Actual))
	if words := message(answer.Body); words != "" {
		sentence += ": " + words
	}
	// What was said around the answer stays.
	text := strings.Replace(err.Error(), answer.Error(), sentence, 1)
	return &explained{text: text, err: err}
}

// message finds the text of an error in what a service answers. Each wraps it differently:
// {"error": {"message"}} keystone, {"NeutronError": {"message"}}, {"badRequest": {"message"}} nova.
func message(body []byte) string {
	var wrapped map[string]json.RawMessage
	if json.Unmarshal(body, &wrapped) == nil {
		for _, inner := range wrapped {
			var said struct {
				Message string `json:"message"`
			}
			if json.Unmarshal(inner, &said) == nil && said.Message != "" {
				return oneLine(said.Message)
			}
		}
	}
	// What is not an error's text may be anything, a password among it.
	if json.Valid(body) {
		return ""
	}
	// glance and proxies answer in HTML.
	var plain strings.Builder
	inside := false
	for _, c := range string(body) {
		switch {
		case c == '<':
			inside = true
			plain.WriteByte(' ')
		case c == '>' && inside:
			inside = false
		case !inside:
			plain.WriteRune(c)
		}
	}
	return oneLine(plain.String())
}

// oneLine folds white space and cuts what is too long for a sentence.
func oneLine(text string) string {
	const most = 300
	words := strings.Join(strings.Fields(text), " ")
	if runes := []rune(words); len(runes) > most {
		words = string(runes[:most]) + "…"
	}
	return words
}
