// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	"copse/internal/tree"
)

// Make computes the plan of a change of the given kind. The document is what is to be
// declared; only containers of the state's host are planned for. It fails on names that the
// document does not have and on dependencies in a circle, and touches nothing.
func Make(kind Kind, document *tree.Document, state *State, options Options) (*Plan, error) {
	m := &maker{
		document: document, state: state,
		plan:     &Plan{Kind: kind, Revision: state.Revision, Steps: []Step{}},
		declared: map[string]*tree.Container{},
	}
	var here []tree.Container
	for _, c := range document.Containers {
		if c.Host == state.Host {
			here = append(here, c)
		}
	}
	order, err := tree.InOrder(here)
	if err != nil {
		return nil, err
	}
	m.order = order
	for i := range here {
		m.declared[here[i].Name] = &here[i]
	}
	selected, err := document.Select(options.Names)
	if err != nil {
		return nil, err
	}
	m.selected = map[string]bool{}
	for _, name := range selected {
		m.selected[name] = true
	}
	m.whole = len(options.Names) == 0

	switch kind {
	case Up:
		m.up()
	case Start:
		m.start()
	case Stop:
		m.stop()
	case Restart:
		m.restart()
	case Down:
		m.down(options.Volumes)
	case RunNow, Scheduled:
		if err := m.runJobs(kind); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("cannot plan %q: no such kind of change", kind)
	}
	m.link()
	return m.plan, nil
}

type maker struct {
	document *tree.Document
	state    *State
	plan     *Plan
	declared map[string]*tree.Container // those of this host
	order    []string                   // of the declared, dependencies first
	selected map[string]bool
	whole    bool
	// backwards is set where dependents come before what they depend on.
	backwards bool
}

func (m *maker) up() {
	needed := m.closure()
	m.prepareHost(needed)
	for _, name := range m.order {
		c := m.declared[name]
		switch {
		case m.selected[name]:
		case needed[name]:
			// What was not named is only helped to run, never changed (R0.2).
			if step, ok := m.help(c); ok {
				m.add(step)
			}
			continue
		default:
			continue
		}
		if step, ok := m.bringUp(c); ok {
			m.add(step)
		} else {
			m.plan.Unchanged++
		}
	}
	m.removeUndeclared()
	m.removeStrays()
	m.missingImages()
}

// closure returns everything that the selected containers depend on, directly or not.
func (m *maker) closure() map[string]bool {
	needed := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		c := m.declared[name]
		if c == nil || needed[name] {
			return
		}
		needed[name] = true
		for _, d := range c.Depends {
			visit(d.Name)
		}
	}
	for name := range m.selected {
		visit(name)
	}
	return needed
}

// bringUp returns the step that makes a container what is declared.
func (m *maker) bringUp(c *tree.Container) (Step, bool) {
	if c.Job != nil {
		return m.runJob(c)
	}
	active := m.state.Active[c.Name]
	if active == nil {
		return m.step(c, Create, "not created yet"), true
	}
	identity := c.Identity(m.state.SecretVersions)
	if identity != active.Identity {
		causes := tree.Differences(&active.Container, c, active.SecretVersions, m.state.SecretVersions)
		if len(causes) == 0 {
			causes = []string{"this version of Copse tells generations apart in another way"}
		}
		return m.step(c, Replace, causes...), true
	}
	return m.keepRunning(c, active)
}

// keepRunning mends what the engine lacks of a generation that is as declared.
func (m *maker) keepRunning(c *tree.Container, active *tree.Generation) (Step, bool) {
	observed := m.state.find(active)
	switch {
	case observed == nil:
		s := m.step(c, Recreate, fmt.Sprintf("the engine has no container %s any more", active.Name()))
		s.Drift = true
		return s, true
	case observed.Identity != active.Identity:
		s := m.step(c, Recreate, fmt.Sprintf("container %s in the engine is not the one that Copse made", active.Name()))
		s.Drift = true
		return s, true
	case !observed.Running && active.StoppedBy != 0:
		return m.step(c, StartOnly, fmt.Sprintf("stopped by change %d", active.StoppedBy)), true
	case !observed.Running:
		s := m.step(c, StartOnly, "it is "+observed.State)
		s.Drift = true
		return s, true
	}
	return Step{}, false
}

// help returns the step by which a container that others need, but that was not named, runs.
func (m *maker) help(c *tree.Container) (Step, bool) {
	active := m.state.Active[c.Name]
	if active == nil {
		return m.bringUp(c)
	}
	if c.Job != nil {
		if m.sameComponentSelected(c) {
			return m.runJob(c)
		}
		return Step{}, false
	}
	if c.Identity(m.state.SecretVersions) != active.Identity {
		m.note("%s has changes too, and was not named: it stays as it is", c.Name)
		c = &active.Container
	}
	return m.keepRunning(c, active)
}

func (m *maker) sameComponentSelected(c *tree.Container) bool {
	for name := range m.selected {
		if other := m.declared[name]; other != nil && other.Component == c.Component {
			return true
		}
	}
	return false
}

// runJob returns the step that runs a job, if what it depends on has changed.
func (m *maker) runJob(c *tree.Container) (Step, bool) {
	if c.Job.Every > 0 {
		return Step{}, false // its timer runs it, not what changes
	}
	last := m.state.Active[c.Name]
	if last == nil {
		return m.step(c, Run, "has not run yet"), true
	}
	if c.Identity(m.state.SecretVersions) != last.Identity {
		causes := tree.Differences(&last.Container, c, last.SecretVersions, m.state.SecretVersions)
		if len(causes) == 0 {
			causes = []string{"this version of Copse tells generations apart in another way"}
		}
		return m.step(c, Run, causes...), true
	}
	for _, volume := range c.Job.Writes {
		created, exists := m.state.Volumes[volume]
		if !exists {
			s := m.step(c, Run, fmt.Sprintf("volume %s, which it fills, is gone", volume))
			s.Drift = true
			return s, true
		}
		if created.After(last.Activated) {
			s := m.step(c, Run, fmt.Sprintf("volume %s, which it fills, is younger than its last run", volume))
			s.Drift = true
			return s, true
		}
	}
	return Step{}, false
}

// removeUndeclared removes what was made and is not declared any more; only where the whole
// cloud is meant.
func (m *maker) removeUndeclared() {
	if !m.whole {
		return
	}
	m.eachActive(func(g *tree.Generation) {
		if m.declared[g.Container.Name] != nil {
			return
		}
		s := m.stepFor(g, Remove, "no longer declared")
		if g.Container.Job != nil && m.state.find(g) == nil {
			return
		}
		m.add(s)
	})
}

// removeStrays removes containers that carry the cloud's labels and that nothing accounts for.
func (m *maker) removeStrays() {
	if !m.whole {
		return
	}
	for _, o := range m.state.Observed {
		active := m.state.Active[o.Container]
		if active != nil && active.Number == o.Generation {
			continue
		}
		m.add(Step{
			Host: m.state.Host, Container: o.Container, Action: RemoveStray, EngineID: o.ID, From: o.Generation, Drift: true,
			Causes: []string{fmt.Sprintf("container %s belongs to no generation in use", o.Name)},
		})
	}
}

// missingImages names the images that the plan's steps need and the engine lacks.
func (m *maker) missingImages() {
	for _, s := range m.plan.Steps {
		switch s.Action {
		case Create, Replace, Recreate, Run:
			if !m.state.Images[s.Image] && !slices.Contains(m.plan.Build, s.Image) {
				m.plan.Build = append(m.plan.Build, s.Image)
			}
		}
	}
	slices.Sort(m.plan.Build)
}

func (m *maker) start() {
	needed := m.closure()
	m.prepareHost(needed)
	for _, name := range m.order {
		active := m.state.Active[name]
		if !needed[name] || m.declared[name].Job != nil {
			continue
		}
		if active == nil {
			if m.selected[name] {
				m.note("%s does not exist yet: \"copse up %s\" makes it", name, name)
			}
			continue
		}
		if step, ok := m.keepRunning(&active.Container, active); ok {
			m.add(step)
		} else if m.selected[name] {
			m.plan.Unchanged++
		}
	}
	m.missingImages()
}

func (m *maker) stop() {
	m.backwards = true
	for _, name := range slices.Backward(m.order) {
		active := m.state.Active[name]
		if !m.selected[name] || m.declared[name].Job != nil || active == nil {
			continue
		}
		observed := m.state.find(active)
		if observed == nil || (!observed.Running && active.StoppedBy != 0) {
			m.plan.Unchanged++
			continue
		}
		s := m.stepFor(active, StopOnly, "asked for")
		s.Impact = m.stopImpact(active)
		m.noteOutliving(name, "stopped")
		m.add(s)
	}
	m.noteDependents("stopped")
}

func (m *maker) restart() {
	m.prepareHost(m.selected)
	for _, name := range m.order {
		active := m.state.Active[name]
		if !m.selected[name] || m.declared[name].Job != nil {
			continue
		}
		if active == nil {
			m.note("%s does not exist yet: \"copse up %s\" makes it", name, name)
			continue
		}
		if m.state.find(active) == nil {
			s := m.stepFor(active, Recreate, fmt.Sprintf("the engine has no container %s any more", active.Name()))
			s.Drift = true
			m.add(s)
			continue
		}
		s := m.stepFor(active, RestartOnly, "asked for")
		s.Impact = m.stopImpact(active)
		m.add(s)
	}
	m.missingImages()
}

func (m *maker) down(volumes bool) {
	m.backwards = true
	done := map[string]bool{}
	remove := func(g *tree.Generation) {
		done[g.Container.Name] = true
		if m.state.find(g) == nil && g.Container.Job != nil {
			return
		}
		s := m.stepFor(g, Remove, "asked for")
		s.Impact = m.stopImpact(g)
		// What outlives it is cut off from what else is taken down: that is asked about.
		s.Dangerous = m.noteOutliving(g.Container.Name, "taken down")
		m.add(s)
	}
	m.eachActive(func(g *tree.Generation) {
		if m.declared[g.Container.Name] == nil {
			remove(g)
		}
	})
	for _, name := range slices.Backward(m.order) {
		if g := m.state.Active[name]; g != nil && !done[name] {
			remove(g)
		}
	}
	m.removeStrays()
	if !volumes {
		return
	}
	for _, v := range m.document.Volumes {
		if v.Host != m.state.Host {
			continue
		}
		if _, exists := m.state.Volumes[v.Name]; exists {
			m.add(Step{
				Host: m.state.Host, Container: v.Name, Action: RemoveVolume, Dangerous: true,
				Causes: []string{"asked for"}, Impact: "the data in it is lost for good",
			})
		}
	}
}

// noteOutliving says what goes on running without a container, and whether there is anything.
func (m *maker) noteOutliving(name, what string) bool {
	count := map[string]int{}
	for _, program := range m.state.Outliving[name] {
		count[program]++
	}
	var programs []string
	for _, program := range tree.SortedKeys(count) {
		programs = append(programs, fmt.Sprintf("%d %s", count[program], program))
	}
	if len(programs) == 0 {
		return false
	}
	m.note("%s, started by %s, goes on running: what it has from other containers that are %s, such as its network, is away until they are back",
		strings.Join(programs, ", "), name, what)
	return true
}

// noteDependents says which running containers depend on what is being stopped and stay.
func (m *maker) noteDependents(what string) {
	stopped := map[string]bool{}
	for _, s := range m.plan.Steps {
		stopped[s.Container] = true
	}
	for _, name := range m.order {
		active := m.state.Active[name]
		if stopped[name] || active == nil || m.declared[name].Job != nil {
			continue
		}
		if o := m.state.find(active); o == nil || !o.Running {
			continue
		}
		var on []string
		for _, d := range m.declared[name].Depends {
			if stopped[d.Name] {
				on = append(on, d.Name)
			}
		}
		if len(on) > 0 {
			m.note("%s goes on running and depends on %s, which will be %s", name, strings.Join(on, ", "), what)
		}
	}
}

// step makes a step for a declared container.
func (m *maker) step(c *tree.Container, action Action, causes ...string) Step {
	s := Step{
		Host: c.Host, Set: c.Set, Container: c.Name, Component: c.Component, Action: action,
		Causes: causes, Release: c.Release, Image: c.Spec.Image,
	}
	if active := m.state.Active[c.Name]; active != nil && c.Job == nil {
		s.From = active.Number
	}
	if action == Replace {
		s.Strategy = Strategy(c)
		s.Impact = replaceImpact(c, s.Strategy)
	}
	return s
}

// stepFor makes a step for a generation as it is.
func (m *maker) stepFor(g *tree.Generation, action Action, causes ...string) Step {
	c := &g.Container
	return Step{
		Host: c.Host, Set: c.Set, Container: c.Name, Component: c.Component, Action: action, From: g.Number,
		Causes: causes, Release: c.Release, Image: c.Spec.Image,
	}
}

// Strategy returns the order in which a container is replaced: what is declared, but
// start-first only where two generations can run at the same time, that is, where the
// container has no port of its own.
func Strategy(c *tree.Container) tree.Order {
	if c.Update.Order == tree.StartFirst && (c.Frontend != nil || len(c.Ports) == 0) {
		return tree.StartFirst
	}
	return tree.StopFirst
}

func replaceImpact(c *tree.Container, strategy tree.Order) string {
	switch {
	case strategy == tree.StartFirst && c.Frontend != nil:
		return "the old generation serves until the new one is ready: no request should fail"
	case strategy == tree.StartFirst:
		return "the new generation runs before the old one is stopped"
	default:
		return c.Name + " is away while it is replaced"
	}
}

func (m *maker) stopImpact(g *tree.Generation) string {
	if f := g.Container.Frontend; f != nil {
		return fmt.Sprintf("nothing answers on port %d", f.Port)
	}
	return ""
}

func (m *maker) eachActive(do func(g *tree.Generation)) {
	for _, name := range tree.SortedKeys(m.state.Active) {
		do(m.state.Active[name])
	}
}

func (m *maker) add(s Step) { m.plan.Steps = append(m.plan.Steps, s) }

func (m *maker) note(format string, args ...any) {
	m.plan.Notes = append(m.plan.Notes, fmt.Sprintf(format, args...))
}

// link writes into each step which other steps come first: those of the containers it depends
// on, looking through containers that need nothing; backwards when things are taken down.
func (m *maker) link() {
	planned := map[string]bool{}
	for _, s := range m.plan.Steps {
		switch s.Action {
		case RemoveStray, RemoveVolume, PrepareHost: // their names are not those of containers in use
		default:
			planned[s.Container] = true
		}
	}
	depends := m.dependencies(planned)
	after := map[string][]string{}
	for name, on := range depends {
		for _, d := range on {
			if m.backwards {
				after[d] = append(after[d], name)
			} else {
				after[name] = append(after[name], d)
			}
		}
	}
	for i := range m.plan.Steps {
		s := &m.plan.Steps[i]
		switch s.Action {
		case RemoveStray, PrepareHost:
		case RemoveVolume:
			s.After = tree.SortedKeys(planned)
		default:
			s.After = after[s.Container]
			slices.Sort(s.After)
		}
	}
}

// dependencies returns for each planned container the planned ones that it depends on.
func (m *maker) dependencies(planned map[string]bool) map[string][]string {
	depends := map[string][]string{}
	for name := range planned {
		found := map[string]bool{}
		seen := map[string]bool{name: true}
		var visit func(n string)
		visit = func(n string) {
			c := m.declared[n]
			if c == nil {
				return
			}
			for _, d := range c.Depends {
				if seen[d.Name] {
					continue
				}
				seen[d.Name] = true
				if planned[d.Name] {
					found[d.Name] = true
				} else {
					visit(d.Name)
				}
			}
		}
		visit(name)
		depends[name] = tree.SortedKeys(found)
	}
	return depends
}
