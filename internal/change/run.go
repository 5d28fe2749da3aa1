// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"copse/internal/store"
)

// Bounds of a task's log.
const (
	mostLines  = 100
	mostInLine = 2000 // bytes
)

// Run is what a handler sees of its task and change. Its methods may be called from several goroutines of
// the handler, until the handler returns.
type Run struct {
	runner *Runner
	live   *live
	change int
	id     TaskID
	phase  phase
	done   bool // committed; guarded by Runner.mu
}

// Task returns a copy of the task as it is now.
func (t *Run) Task() Task {
	t.runner.mu.Lock()
	defer t.runner.mu.Unlock()
	return *t.live.change.Task(t.id).clone()
}

// Change returns a copy of the change as it is now, tasks included; they are not to be modified.
func (t *Run) Change() *Change {
	t.runner.mu.Lock()
	defer t.runner.mu.Unlock()
	return t.live.change.clone()
}

// Get reads what is kept under key in the task's data into v, a pointer, and says whether there is any.
func (t *Run) Get(key string, v any) (bool, error) { return t.Of(t.id, key, v) }

// Of is Get for another task of the change: what one it waits on has found out.
func (t *Run) Of(id TaskID, key string, v any) (bool, error) {
	t.runner.mu.Lock()
	defer t.runner.mu.Unlock()
	task := t.live.change.Task(id)
	if task == nil {
		return false, fmt.Errorf("cannot read data of task %d: change %d has no such task", id, t.live.change.ID)
	}
	return decode(task.Data, key, v)
}

// ChangeData reads what is kept under key in the change's data into v, a pointer, and says whether there
// is any.
func (t *Run) ChangeData(key string, v any) (bool, error) {
	t.runner.mu.Lock()
	defer t.runner.mu.Unlock()
	return decode(t.live.change.Data, key, v)
}

// Set keeps v under key in the task's data. It is stored when Set returns, so what undo needs is there
// even if the program ends at the next line.
func (t *Run) Set(key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot keep %q in the task's data: %w", key, err)
	}
	return t.write(func(d *draft) {
		task := d.edit(t.id)
		task.Data = with(task.Data, key, raw)
	})
}

// SetChangeData keeps v under key in the change's data, where all its tasks see it. It is stored when
// SetChangeData returns.
func (t *Run) SetChangeData(key string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("cannot keep %q in the change's data: %w", key, err)
	}
	return t.write(func(d *draft) {
		c := d.editChange()
		c.Data = with(c.Data, key, raw)
	})
}

// Commit stores what fn writes and the task's final status (Done, Undone or cleaned up) in one
// transaction: a crash leaves both or neither. It is the last thing a handler does; what the handler
// returns after a successful Commit no longer matters. Where fn fails or the store cannot be written,
// nothing has happened, and the handler goes on with the error as with any other. fn must not use the Run
// or the runner.
func (t *Run) Commit(fn func(tx *store.Tx) error) error { return t.runner.commit(t, fn) }

// Log adds a line to the task's log, of which the last hundred are kept. Subscribers get it at once; it is
// stored with the next write of the task, so a crash may lose lines.
func (t *Run) Log(text string) {
	r := t.runner
	now := r.now()
	r.mu.Lock()
	task := t.live.change.Task(t.id).clone()
	text = task.log(now, text)
	t.live.change.Tasks[int(t.id)-1] = task
	r.mu.Unlock()
	r.feed.pass(Event{Time: now, Type: TaskLog, Change: t.change, Task: t.id, Text: text})
}

// Logf is Log with a format.
func (t *Run) Logf(format string, args ...any) { t.Log(fmt.Sprintf(format, args...)) }

// Progress tells subscribers how far the task is: done of total (0 where that is not known) and what is
// being done, in a few words. It is not stored.
func (t *Run) Progress(done, total int64, text string) {
	t.runner.feed.pass(Event{
		Time: t.runner.now(), Type: TaskProgress, Change: t.change, Task: t.id,
		Text: text, Done: done, Total: total,
	})
}

// Now returns the time, UTC, by the runner's clock.
func (t *Run) Now() time.Time { return t.runner.now() }

func (t *Run) committed() bool {
	t.runner.mu.Lock()
	defer t.runner.mu.Unlock()
	return t.done
}

// write stores an edit that is no change of status.
func (t *Run) write(edit func(*draft)) error {
	t.runner.mu.Lock()
	defer t.runner.mu.Unlock()
	d := t.runner.draft(t.live)
	edit(d)
	return t.runner.write(d, nil)
}

// log adds a line, and returns it as it was kept.
func (t *Task) log(now time.Time, text string) string {
	if len(text) > mostInLine {
		text = strings.ToValidUTF8(text[:mostInLine], "") + "…"
	}
	t.Log = append(t.Log, LogLine{Time: now, Text: text})
	if extra := len(t.Log) - mostLines; extra > 0 {
		t.Log = t.Log[extra:]
	}
	return text
}

func with(data map[string]json.RawMessage, key string, raw json.RawMessage) map[string]json.RawMessage {
	if data == nil {
		data = map[string]json.RawMessage{}
	}
	data[key] = raw
	return data
}

func decode(data map[string]json.RawMessage, key string, v any) (bool, error) {
	raw, ok := data[key]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return false, fmt.Errorf("cannot read %q from the data: %w", key, err)
	}
	return true, nil
}
