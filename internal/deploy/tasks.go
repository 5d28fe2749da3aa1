// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"slices"
	"strings"

	"copse/internal/change"
	"copse/internal/plan"
	"copse/internal/tree"
)

// The kinds of tasks; each has a handler.
const (
	taskCreate       = "create"        // a new generation: number, files, secrets, volumes, container
	taskStart        = "start"         // start a generation's container
	taskReady        = "ready"         // wait until it is ready
	taskHold         = "hold"          // have the requests of all that depend on it wait at the proxy
	taskRelease      = "release"       // let them through again
	taskMonitor      = "monitor"       // it must stay healthy for the time that is declared
	taskSwitch       = "switch"        // send the front end's requests to it
	taskRetire       = "retire"        // stop the generation before it, keeping it
	taskInterrupt    = "interrupt"     // retire where nothing serves until the new generation does
	taskCommit       = "commit"        // the new generation is the one; what it replaced is removed afterwards
	taskRun          = "run"           // run a job to its end
	taskResume       = "resume"        // start the present generation again
	taskStop         = "stop"          // stop the present generation
	taskRemove       = "remove"        // remove the present generation's container
	taskRemoveVolume = "remove-volume" // remove a volume and its data
	taskPrepareHost  = "prepare-host"  // make true of the host what sets ask of it
	taskRemoveStray  = "remove-stray"  // remove a container that belongs to nothing
)

// priorities keep gaps short: all that is slow is done before anything stops, and what was stopped for a
// new generation is started before another is stopped.
var priorities = map[string]int{
	taskHold: -1, taskInterrupt: -1, taskRetire: 2, taskStart: 2, taskReady: 2, taskSwitch: 2, taskRelease: 3, taskCommit: 1,
}

// interrupts has the kinds of tasks that can make a client's request fail.
var interrupts = map[string]bool{taskHold: true, taskInterrupt: true, taskRetire: true, taskSwitch: true}

// Keys of the data of tasks.
const (
	dataContainer  = "container"  // tree.Container, of create: what to make
	dataSecrets    = "secrets"    // map[string]int, of create
	dataCause      = "cause"      // string, of create
	dataFrom       = "from"       // int: the generation to be replaced, or acted on
	dataCreate     = "create"     // change.TaskID: the create task of the lane
	dataGeneration = "generation" // int, set by create: the number it was given
	dataFirst      = "first"      // bool: this task is the first of its lane that can interrupt
	dataReuse      = "reuse"      // bool, of create: make the present generation again, under its number
	dataRan        = "ran"        // bool, set by retire: whether what is replaced ran before
	dataEngineID   = "engine_id"
	dataVolume     = "volume"
	dataOf         = "of"          // int, of create: the generation whose content is made again
	dataPins       = "pins"        // []pinChange, of commit
	dataRewinds    = "rewinds"     // []plan.Rewind, of commit: runs that do not count any more
	dataFormerPins = "former_pins" // []pinChange, set by commit: what its undo puts back
	dataHostPreps  = "host"        // []tree.HostPrep, of prepare-host
	dataStoppedBy  = "stopped_by"  // int, set by resume: the change that had stopped it, for its undo

	// dataWindow is a bool, set by the task that has begun to measure. A task that finds it has begun in
	// another life of the agent: half a window is none.
	dataWindow = "window"
)

// builder turns the steps of a plan into tasks.
type builder struct {
	spec     change.Spec
	document *tree.Document
	state    *plan.State
	active   map[string]*tree.Generation
	versions map[string]int
	// begun has what is done already for containers that are stopped before data is put back.
	begun map[string]begun
	// last is the task after which a container is done with.
	last map[string]change.TaskID
	lane int
	// prepared is the task that all wait for which start something: that of preparing the host.
	prepared []change.TaskID
}

// tasks turns a plan into a change; each step is a lane.
func (d *Deployer) tasks(p *plan.Plan, on *basis, active map[string]*tree.Generation, versions map[string]int) change.Spec {
	b := &builder{
		document: on.document, state: on.state, active: active, versions: versions,
		last: map[string]change.TaskID{}, begun: map[string]begun{},
	}
	for i, s := range p.Steps {
		b.lane = i + 1
		if s.Phase == tree.Restore {
			b.stopAll(p, s.Component)
			b.lane = i + 1
		}
		b.step(s, b.lastOf(s.After))
	}
	return b.spec
}

// lastOf returns the tasks after which containers are done with, of those that steps so far were for.
func (b *builder) lastOf(names []string) []change.TaskID {
	var last []change.TaskID
	for _, name := range names {
		if id, ok := b.last[name]; ok {
			last = append(last, id)
		}
	}
	return last
}

func (b *builder) step(s plan.Step, after []change.TaskID) {
	switch s.Action {
	case plan.Create, plan.Replace, plan.Recreate:
		b.newGeneration(s, b.declared(s), after)
	case plan.Run:
		b.job(s, b.declared(s), after)
	case plan.StartOnly:
		b.resume(s, after)
	case plan.StopOnly:
		b.add(s, taskStop, "stop "+s.Container, after, map[string]any{dataFrom: s.From})
	case plan.RestartOnly:
		b.resume(s, []change.TaskID{b.add(s, taskStop, "stop "+s.Container, after, map[string]any{dataFrom: s.From})})
	case plan.Remove:
		stop := b.add(s, taskStop, "stop "+s.Container, after, map[string]any{dataFrom: s.From})
		b.add(s, taskRemove, "remove "+s.Container, []change.TaskID{stop}, map[string]any{dataFrom: s.From})
	case plan.RemoveVolume:
		b.add(s, taskRemoveVolume, "remove volume "+s.Container+" and its data", after, map[string]any{dataVolume: s.Container})
	case plan.PrepareHost:
		preps := b.document.HostPreps(s.Host, func(set string) bool { return slices.Contains(s.Sets, set) })
		b.prepared = []change.TaskID{b.add(s, taskPrepareHost, "prepare host "+s.Host, nil, map[string]any{dataHostPreps: preps})}
	case plan.RemoveStray:
		b.add(s, taskRemoveStray, fmt.Sprintf("remove stray container %s.%d", s.Container, s.From), after,
			map[string]any{dataEngineID: s.EngineID, dataFrom: s.From})
	}
}

// declared returns what a step is to make: what the document says, unless the step is only to
// help a container that was not named, which then stays as it was.
func (b *builder) declared(s plan.Step) tree.Container {
	if s.Action == plan.Recreate {
		if g := b.active[s.Container]; g != nil {
			return g.Container
		}
	}
	if kept := b.kept(s); kept != nil {
		return kept.Container
	}
	return *b.document.Container(s.Container)
}

// kept returns the generation whose content a step makes again, nil where it makes what is declared.
func (b *builder) kept(s plan.Step) *tree.Generation {
	if s.To == 0 {
		return nil
	}
	return b.state.KeptGeneration(s.Container, s.To)
}

// secretsFor returns the versions of a container's secrets: the current ones, but those of the
// generation itself where that is only made again.
func (b *builder) secretsFor(s plan.Step, c *tree.Container) map[string]int {
	source := b.versions
	if s.Action == plan.Recreate {
		source = b.active[s.Container].SecretVersions
	} else if kept := b.kept(s); kept != nil {
		source = kept.SecretVersions
	}
	versions := map[string]int{}
	for _, m := range c.Secrets {
		versions[m.Name] = source[m.Name]
	}
	return versions
}

func (b *builder) newGeneration(s plan.Step, c tree.Container, after []change.TaskID) {
	// Creating waits for nothing but the host: all slow work is done before anything stops.
	early, isStopped := b.begun[s.Container]
	if !isStopped {
		early.create = b.create(s, c)
	}
	create := early.create
	if s.Action == plan.Recreate {
		s.From = 0 // there is nothing to stop
	}
	first := s.From != 0 // what can interrupt first begins to measure
	lane := func(kind, summary string, wait ...change.TaskID) change.TaskID {
		data := map[string]any{dataCreate: create, dataFrom: s.From}
		if first && interrupts[kind] {
			data[dataFirst], first = true, false
		}
		return b.add(s, kind, summary, wait, data)
	}
	begin := append([]change.TaskID{create}, after...)
	startFirst := s.Action == plan.Replace && s.Strategy == tree.StartFirst && !isStopped
	held := s.From != 0 && !startFirst && !isStopped && c.Update.Hold
	retire := func(kind string, wait ...change.TaskID) change.TaskID {
		return lane(kind, fmt.Sprintf("stop %s.%d", s.Container, s.From), wait...)
	}
	switch {
	case isStopped:
		begin = append(begin, early.stopped)
	case held:
		at := lane(taskHold, "hold the requests that need "+s.Container, begin...)
		begin = []change.TaskID{retire(taskRetire, at)}
	case s.From != 0 && !startFirst:
		begin = []change.TaskID{retire(taskInterrupt, begin...)}
	}
	at := lane(taskStart, "start "+s.Container, begin...)
	at = lane(taskReady, "wait until "+s.Container+" is ready", at)
	if c.Frontend != nil {
		at = lane(taskSwitch, fmt.Sprintf("send requests for port %d to %s", c.Frontend.Port, s.Container), at)
	}
	if held {
		at = lane(taskRelease, "let the requests through that need "+s.Container, at)
	}
	if s.From != 0 && c.Update.Monitor > 0 {
		at = lane(taskMonitor, fmt.Sprintf("watch %s for %s", s.Container, c.Update.Monitor), at)
	}
	if s.From != 0 && startFirst {
		at = retire(taskRetire, at)
	}
	lane(taskCommit, "keep "+s.Container, at)
}

func (b *builder) create(s plan.Step, c tree.Container) change.TaskID {
	return b.add(s, taskCreate, "create "+s.Container, b.prepared, map[string]any{
		dataContainer: c, dataSecrets: b.secretsFor(s, &c), dataCause: strings.Join(s.Causes, "; "), dataFrom: s.From, dataOf: s.To,
		dataReuse: s.Action == plan.Recreate,
	})
}

func (b *builder) job(s plan.Step, c tree.Container, after []change.TaskID) {
	from := 0
	if g := b.active[s.Container]; g != nil {
		from = g.Number
	}
	s.From = from
	create := b.create(s, c)
	data := map[string]any{dataCreate: create, dataFrom: from}
	begin := append([]change.TaskID{create}, after...)
	if s.Phase == tree.Restore {
		begin = append(begin, b.stopped(s.Component)...)
	}
	run := b.add(s, taskRun, "run "+s.Container, begin, data)
	b.add(s, taskCommit, "record "+s.Container, []change.TaskID{run}, data)
}

func (b *builder) resume(s plan.Step, after []change.TaskID) {
	data := map[string]any{dataFrom: s.From}
	at := b.add(s, taskResume, "start "+s.Container, append(after, b.prepared...), data)
	at = b.add(s, taskReady, "wait until "+s.Container+" is ready", []change.TaskID{at}, data)
	if g := b.active[s.Container]; g != nil && g.Container.Frontend != nil {
		b.add(s, taskSwitch, fmt.Sprintf("send requests for port %d to %s", g.Container.Frontend.Port, s.Container), []change.TaskID{at}, data)
	}
}

func (b *builder) add(s plan.Step, kind, summary string, wait []change.TaskID, data map[string]any) change.TaskID {
	id := b.spec.Add(change.TaskSpec{
		Kind: kind, Summary: summary, Subject: s.Container, Lane: b.lane, WaitFor: wait, Data: data,
	})
	if kind != taskRemoveStray && kind != taskPrepareHost {
		b.last[s.Container] = id
	}
	return id
}
