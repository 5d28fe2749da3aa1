// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// identityVersion changes when the digest below would change for the same declaration: all
// containers then get a new generation, and the plan says why.
const identityVersion = "1"

// identity is what decides how a container runs. What is assigned at run time (generation,
// port, where the agent puts files) is not in it, and neither is what the agent alone acts
// on (checks, dependencies, limits of time): those change without a new generation.
type identity struct {
	Spec     Spec           `json:"spec"`
	Files    []File         `json:"files"`
	Secrets  []SecretMount  `json:"secrets"`
	Versions map[string]int `json:"versions"`
	// Assigned says whether the container is given a port.
	Assigned bool `json:"assigned"`
	// OwnCgroup says whether the service leaves the container's control group.
	OwnCgroup bool `json:"own_cgroup,omitempty"`
}

// Identity is a digest over everything declared that decides how the container runs: image
// content tag, environment, mounts, contents of files and versions of its secrets. Equal
// identities are one generation. It has the form "1:<hex of SHA-256>".
func (c *Container) Identity(secretVersions map[string]int) string {
	id := identity{Spec: c.Spec, Secrets: c.Secrets, Versions: map[string]int{}, Assigned: c.Frontend != nil, OwnCgroup: c.OwnCgroup}
	for _, f := range c.Files {
		f.Source = "" // where content comes from does not matter, only what it is
		id.Files = append(id.Files, f)
	}
	for _, s := range c.Secrets {
		id.Versions[s.Name] = secretVersions[s.Name]
	}
	// Struct fields come in order and map keys sorted, so the encoding is canonical.
	encoded, err := json.Marshal(id)
	if err != nil {
		panic(fmt.Sprintf("identity of %s: %v", c.Name, err)) // plain values always encode
	}
	sum := sha256.Sum256(encoded)
	return identityVersion + ":" + hex.EncodeToString(sum[:])
}

// Differences says in words what has changed between two declarations of a container, for
// plans and the history. It names environment values, but not those that look like a secret.
func Differences(old, now *Container, oldVersions, nowVersions map[string]int) []string {
	var words []string
	say := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }

	if old.Release != now.Release {
		say("release %s → %s", old.Release, now.Release)
	}
	if old.Spec.Image != now.Spec.Image {
		say("image %s → %s", old.Spec.Image, now.Spec.Image)
	}
	if !slices.Equal(old.Spec.Command, now.Spec.Command) || !slices.Equal(old.Spec.Entrypoint, now.Spec.Entrypoint) {
		say("%s", commandDifference(old.Spec, now.Spec))
	}
	words = append(words, environmentDifferences(old.Spec.Environment, now.Spec.Environment)...)
	words = append(words, fileDifferences(old.Files, now.Files)...)
	words = append(words, secretDifferences(old.Secrets, now.Secrets, oldVersions, nowVersions)...)
	words = append(words, specDifferences(old.Spec, now.Spec)...)
	if old.OwnCgroup != now.OwnCgroup {
		say("own control group %t → %t", old.OwnCgroup, now.OwnCgroup)
	}
	if (old.Frontend == nil) != (now.Frontend == nil) {
		say("moved %s the proxy", map[bool]string{true: "behind", false: "out from behind"}[now.Frontend != nil])
	}
	return words
}

// commandDifference names the one argument that differs, where it is one that reads well.
func commandDifference(old, now Spec) string {
	const most = 60
	words := "command changed"
	if len(old.Command) != len(now.Command) || !slices.Equal(old.Entrypoint, now.Entrypoint) {
		return words
	}
	different := 0
	for i, before := range old.Command {
		after := now.Command[i]
		if before == after {
			continue
		}
		different++
		if different > 1 || len(before) > most || len(after) > most || strings.ContainsAny(before+after, "\n") {
			return "command changed"
		}
		words = fmt.Sprintf("command %s → %s", Masked(before, before), Masked(after, after))
	}
	return words
}

func environmentDifferences(old, now map[string]string) []string {
	var words []string
	for _, k := range keysOfBoth(old, now) {
		before, had := old[k]
		after, has := now[k]
		switch {
		case had && !has:
			words = append(words, fmt.Sprintf("environment %s removed (was %s)", k, Masked(k, before)))
		case !had && has:
			words = append(words, fmt.Sprintf("environment %s added: %s", k, Masked(k, after)))
		case before != after:
			words = append(words, fmt.Sprintf("environment %s %s → %s", k, Masked(k, before), Masked(k, after)))
		}
	}
	return words
}

// Masked returns the value of an environment variable as it may be shown: values whose name
// says that they are secret are not. Secrets proper never come this way (they are files); this
// is for what an operator writes into a plain option against all advice.
func Masked(key, value string) string {
	upper := strings.ToUpper(key)
	placeholder := strings.Contains(value, "{{")
	if HoldsCredentials(value) {
		return "(not shown)"
	}
	for _, word := range []string{"PASSWORD", "PASSWD", "SECRET", "TOKEN", "TRANSPORT_URL", "CONNECTION", "PRIVATE_KEY"} {
		if strings.Contains(upper, word) && !placeholder && value != "" {
			return "(not shown)"
		}
	}
	const most = 80
	if r := []rune(value); len(r) > most {
		value = string(r[:most]) + "…"
	}
	if value == "" {
		return `""`
	}
	return strings.ReplaceAll(value, "\n", "⏎")
}

// credentials is a URL with a password in it (RFC 3986, section 3.2.1). One that stands there as a
// placeholder has blanks in it.
var credentials = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://[^/?#\s@]*:[^/?#\s@]+@`)

// HoldsCredentials reports whether a text has a URL with a password written out in it.
func HoldsCredentials(text string) bool { return credentials.MatchString(text) }

func fileDifferences(old, now []File) []string {
	var words []string
	before := map[string]File{}
	for _, f := range old {
		before[f.Target] = f
	}
	for _, f := range now {
		was, had := before[f.Target]
		delete(before, f.Target)
		switch {
		case !had:
			words = append(words, "file "+f.Target+" added")
		case was.Content != f.Content:
			words = append(words, "file "+f.Target+" changed")
		case was.Mode != f.Mode || was.UID != f.UID || was.GID != f.GID:
			words = append(words, "owner or mode of file "+f.Target+" changed")
		}
	}
	for _, target := range SortedKeys(before) {
		words = append(words, "file "+target+" removed")
	}
	return words
}

func secretDifferences(old, now []SecretMount, oldVersions, nowVersions map[string]int) []string {
	var words []string
	before := map[string]SecretMount{}
	for _, s := range old {
		before[s.Name] = s
	}
	for _, s := range now {
		was, had := before[s.Name]
		delete(before, s.Name)
		switch {
		case !had:
			words = append(words, "secret "+s.Name+" added")
		case oldVersions[s.Name] != nowVersions[s.Name]:
			words = append(words, fmt.Sprintf("secret %s rotated (version %d → %d)", s.Name, oldVersions[s.Name], nowVersions[s.Name]))
		case was != s:
			words = append(words, "mount of secret "+s.Name+" changed")
		}
	}
	for _, name := range SortedKeys(before) {
		words = append(words, "secret "+name+" removed")
	}
	return words
}

// specDifferences compares what the other functions have left, field by field of the canonical form.
func specDifferences(old, now Spec) []string {
	handled := map[string]bool{"image": true, "command": true, "entrypoint": true, "environment": true}
	before, after := fields(old), fields(now)
	var words []string
	for _, k := range keysOfBoth(before, after) {
		b, a := string(before[k]), string(after[k])
		if handled[k] || b == a {
			continue
		}
		name := strings.ReplaceAll(k, "_", " ")
		switch {
		case k == "memory":
			words = append(words, fmt.Sprintf("memory limit %s → %s", megabytes(old.Memory), megabytes(now.Memory)))
		case k == "stop_grace_period":
			words = append(words, fmt.Sprintf("stop grace period %s → %s", old.StopGracePeriod.Round(time.Second), now.StopGracePeriod.Round(time.Second)))
		case len(a)+len(b) <= 80 && a != "" && b != "" && Masked(a, a) == a && Masked(b, b) == b:
			words = append(words, fmt.Sprintf("%s %s → %s", name, b, a))
		default:
			words = append(words, name+" changed")
		}
	}
	return words
}

func keysOfBoth[V any](a, b map[string]V) []string {
	keys := slices.Concat(SortedKeys(a), SortedKeys(b))
	slices.Sort(keys)
	return slices.Compact(keys)
}

func fields(s Spec) map[string]json.RawMessage {
	encoded, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain values always encode
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(encoded, &m); err != nil {
		panic(err)
	}
	return m
}

func megabytes(n int64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
