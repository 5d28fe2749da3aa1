// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// words are a kind's arguments, taken apart: --name value or --name=value,
// plain ones, and those after "--".
type words struct {
	// loose are plain arguments and options as they came.
	loose []string
	rest  []string
	ended bool
}

func readWords(arguments []string) *words {
	for i, argument := range arguments {
		if argument == "--" {
			return &words{loose: arguments[:i:i], rest: arguments[i+1:], ended: true}
		}
	}
	return &words{loose: arguments}
}

// values takes out every --name with its value.
func (w *words) values(name string) ([]string, error) {
	var values, kept []string
	for i := 0; i < len(w.loose); i++ {
		word := w.loose[i]
		value, assigned := strings.CutPrefix(word, "--"+name+"=")
		switch {
		case assigned:
			values = append(values, value)
		case word != "--"+name:
			kept = append(kept, word)
		case i+1 == len(w.loose):
			return nil, fmt.Errorf("--%s has no value", name)
		default:
			i++
			values = append(values, w.loose[i])
		}
	}
	w.loose = kept
	return values, nil
}

// value takes out a --name that may be given once; "" if it is not there.
func (w *words) value(name string) (string, error) {
	values, err := w.values(name)
	if err != nil || len(values) == 0 {
		return "", err
	}
	if len(values) > 1 {
		return "", fmt.Errorf("--%s is given twice", name)
	}
	return values[0], nil
}

// flag takes out a --name without a value.
func (w *words) flag(name string) bool {
	var kept []string
	for _, word := range w.loose {
		if word != "--"+name {
			kept = append(kept, word)
		}
	}
	found := len(kept) < len(w.loose)
	w.loose = kept
	return found
}

func (w *words) duration(name string, into *time.Duration) error {
	text, err := w.value(name)
	if err != nil || text == "" {
		return err
	}
	*into, err = time.ParseDuration(text)
	if err != nil || *into <= 0 {
		return fmt.Errorf("--%s %q is no duration such as 5s", name, text)
	}
	return nil
}

// plain takes the plain arguments, which must be there in the given number; -1
// for one or more. Options must have been taken before.
func (w *words) plain(number int, what string) ([]string, error) {
	for _, word := range w.loose {
		if strings.HasPrefix(word, "--") {
			return nil, fmt.Errorf("unknown option %s", word)
		}
	}
	if len(w.loose) != number && (number >= 0 || len(w.loose) == 0) {
		return nil, fmt.Errorf("want %s, got %d arguments", what, len(w.loose))
	}
	taken := w.loose
	w.loose = nil
	return taken, nil
}

// unused says what nobody took.
func (w *words) unused() error {
	if len(w.loose) > 0 {
		return fmt.Errorf("unknown argument %q", w.loose[0])
	}
	if w.ended {
		return errors.New(`unexpected "--"`)
	}
	return nil
}

// command takes what stands after "--".
func (w *words) command() ([]string, error) {
	if _, err := w.plain(0, `nothing but options before "--"`); err != nil {
		return nil, err
	}
	if len(w.rest) == 0 {
		return nil, errors.New(`no command after "--"`)
	}
	w.ended = false
	return w.rest, nil
}
