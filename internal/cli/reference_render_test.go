// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"copse/internal/api"
	"copse/internal/plan"
	"copse/internal/tree"
	"copse/internal/view"
)

//go:generate go test -run TestReferenceIsCurrent . -update

// referenceHead is what holds for every command.
const referenceHead = `# The command line

<!-- Made by "go generate ./internal/cli"; a test holds it to the program. -->

%s

## Formats

| format | for | what it is |
|---|---|---|
| ` + "`human`" + ` | a terminal (the default there) | colours, tables cut to the width, live progress |
| ` + "`plain`" + ` | pipes and logs (the default elsewhere) | the same tables in full, UTC times, a line for each event |
| ` + "`json`" + ` | programs | one object a line; stable: fields are only ever added |

Results go to standard output, errors and remarks to standard error. In JSON an error is
` + "`{\"type\":\"error\",\"code\":…,\"message\":…,\"change\":…}`" + ` and a remark ` + "`{\"type\":\"note\",\"message\":…}`" + `.
Codes: ` + "`usage`, `failed`, `interrupted`, `unreachable` (no agent), `level` (an agent of another version)" + `, and the
agent's own: ` + "`invalid`, `not-found`, `conflict` (with the change in the way), `stale`, `unavailable`, `newer-document`, `internal`" + `.

Colours are left out where ` + "`NO_COLOR`" + ` is set or ` + "`TERM=dumb`" + `. ` + "`COPSE_SOCKET`" + ` names the agent's socket.

## Exit codes

| code | means |
|---|---|
| 0 | done |
| 1 | failed |
| 2 | the call is at fault; for ` + "`copse plan`, `copse upgrade --dry-run` and `copse rollback --dry-run`" + `: there are changes |
| 130 | interrupted; a change that was followed goes on |

` + "`copse exec`" + ` passes the exit code of the command on.

## Streams of a change

` + "`up`, `upgrade`, `rollback`, `start`, `stop`, `restart`, `down`, `run`, `abort`, `retry` and `change -f`" + ` give, with ` + "`--format json`" + `, a stream of objects, told apart by ` + "`type`" + `:

| type | object |
|---|---|
| ` + "`plan`" + ` | the plan, as ` + "`copse plan`" + ` gives it |
| ` + "`build`" + ` | %s |
| ` + "`task`, `progress`, `log`, `ended`" + ` | an event of the change: %s |
| ` + "`note`" + ` | ` + "`message`" + `: the agent was lost, or is there again |
| ` + "`summary`" + ` | where containers have been created: %s. An endpoint has %s; a phase %s, with %s of the slowest; what is next %s |
| ` + "`outcome`" + ` | where containers have been replaced: ` + "`containers`" + `, each with %s |
| ` + "`change`" + ` | last: ` + "`change`" + `, as ` + "`copse change`" + ` gives it |

The objects within objects are described in [openapi.yaml](../internal/api/openapi.yaml).

`

// objectOf names the object that a command gives with --format json: one a line, or one alone.
func objectOf() map[string]any {
	return map[string]any{
		"copse ps": containerObject{}, "copse tree": branchObject{}, "copse health": api.Health{}, "copse jobs": api.Job{}, "copse config": api.Config{}, "copse history": api.Generation{},
		"copse logs": api.LogLine{}, "copse top": api.Process{}, "copse changes": listedChange{}, "copse change": shownChange{}, "copse prune": api.Prune{},
		"copse secret ls": api.Secret{}, "copse secret rotate": api.Secret{}, "copse version": view.VersionInfo{},
		"copse images": view.Image{}, "copse build": view.BuildEvent{}, "copse exec": api.Frame{}, "copse openrc": api.OpenRC{},
		"copse plan": plan.Plan{}, "copse verify": view.Step{}, "copse incidents": api.Incident{}, "copse preflight": plan.Finding{}, "copse values": view.Value{},
	}
}

// branchObject has the fields of a set in `copse tree`.
type branchObject struct {
	tree.Set
	Health     string          `json:"health"`
	Containers []api.Container `json:"containers"`
}

// containerObject has the fields of a container in `copse ps`.
type containerObject struct {
	api.Container
	Pin *tree.Pin `json:"pin,omitempty"`
}

// listedChange has the fields of a change in `copse changes`.
type listedChange struct {
	api.Change
	WindowSeconds  *float64 `json:"window_seconds"`
	FailedRequests *int     `json:"failed_requests"`
}

// shownChange has the fields of a change in `copse change`.
type shownChange struct {
	api.Change
	Outcome []view.Replacement `json:"outcome,omitempty"`
}

// reference renders docs/cli.md from the commands themselves.
func reference() string {
	root := (&app{}).root()
	var b strings.Builder
	fmt.Fprintf(&b, referenceHead, root.Long, fields(view.BuildEvent{}), fields(api.Event{}), fields(view.Summary{}),
		fields(view.Endpoint{}), fields(view.Phase{}), fields(view.Slow{}), fields(view.Next{}), fields(view.Replacement{}))
	b.WriteString("## Flags of every command\n\n" + flagTable(root.PersistentFlags()) + "\n")
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "## %s\n\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && !c.Hidden {
				describe(&b, c)
			}
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// describe renders a command, or those below it.
func describe(b *strings.Builder, c *cobra.Command) {
	if c.HasSubCommands() {
		for _, child := range c.Commands() {
			describe(b, child)
		}
		return
	}
	fmt.Fprintf(b, "### %s\n\n%s.\n\n```\n%s\n```\n\n", c.CommandPath(), c.Short, strings.TrimSpace(c.UseLine()))
	if c.Long != "" {
		b.WriteString(c.Long + "\n\n")
	}
	if table := flagTable(c.LocalNonPersistentFlags()); table != "" {
		b.WriteString(table + "\n")
	}
	if c.Example != "" {
		fmt.Fprintf(b, "```sh\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
	}
	if object, ok := objectOf()[c.CommandPath()]; ok {
		fmt.Fprintf(b, "JSON: %s\n\n", fields(object))
	}
}

func flagTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		what, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if what != "" {
			name += " " + what
		}
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" {
			usage += " (default: " + f.DefValue + ")"
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", name, usage)
	})
	if b.Len() == 0 {
		return ""
	}
	return "| flag | meaning |\n|---|---|\n" + b.String()
}

// fields lists the fields of an object with their types; a field that may be missing has a "?".
func fields(object any) string {
	var list []string
	collectFields(reflect.TypeOf(object), &list)
	return strings.Join(list, ", ")
}

func collectFields(t reflect.Type, list *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			collectFields(f.Type, list)
		case name != "-":
			mark := ""
			if strings.Contains(options, "omit") {
				mark = "?"
			}
			*list = append(*list, fmt.Sprintf("`%s`%s %s", name, mark, jsonType(f.Type)))
		}
	}
}

// jsonType names a type as a reader of JSON sees it.
func jsonType(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t.Kind() == reflect.Pointer:
		return jsonType(t.Elem())
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "base64"
	case t.Kind() == reflect.Slice:
		return "[" + jsonType(t.Elem()) + "]"
	case t.Kind() == reflect.Map:
		return "{string: " + jsonType(t.Elem()) + "}"
	case t.Kind() == reflect.Struct:
		return t.String()
	case t.Kind() == reflect.String:
		return "string"
	case t.Kind() == reflect.Bool:
		return "boolean"
	}
	return "number"
}
