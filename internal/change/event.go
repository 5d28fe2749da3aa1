// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

package change

import (
	"context"
	"slices"
	"sync"
	"time"

	"copse/internal/store"
)

// EventType says what an event is about.
type EventType string

// The types of events. The first five are stored; the other two are for whoever listens at the time.
const (
	ChangeCreated EventType = "change-created"
	ChangeAborted EventType = "change-aborted" // Text is who did it
	ChangeRetried EventType = "change-retried" // Text is who did it
	ChangeEnded   EventType = "change-ended"   // Status is how
	TaskStatus    EventType = "task-status"    // Status is the new one; Text is why, where there is a reason
	TaskProgress  EventType = "task-progress"  // Done of Total, and Text
	TaskLog       EventType = "task-log"       // Text is the line
)

// Event is something that happened to a change.
type Event struct {
	// Seq numbers the events that are stored, in the order in which they happened, over all changes. One
	// that is not stored carries the number of the last one before it. So a client that has seen Seq goes
	// on from there, and misses at most progress and log lines.
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	Type   EventType `json:"type"`
	Change int       `json:"change"`
	Task   TaskID    `json:"task,omitempty"` // 0 where it is about the change as a whole
	Status Status    `json:"status,omitempty"`
	Text   string    `json:"text,omitempty"`
	Done   int64     `json:"done,omitempty"`
	Total  int64     `json:"total,omitempty"`
}

// mostPassing bounds the events that are not stored and wait for one slow subscriber; the oldest go first.
const mostPassing = 256

// pageSize is how many stored events a subscriber reads at a time.
const pageSize = 500

// feed tells subscribers that there is something new. Stored events are read by the subscriber itself from
// the store, at its own pace, so a slow one neither blocks the runner nor loses one.
type feed struct {
	mu   sync.Mutex
	last uint64 // the newest stored event
	subs map[*subscriber]bool
}

type subscriber struct {
	change  int // 0 for all
	wake    chan struct{}
	passing []Event // guarded by feed.mu
}

func (s *subscriber) ring() {
	select {
	case s.wake <- struct{}{}:
	default: // it has yet to answer the last one
	}
}

// stored says that events up to last are in the store.
func (f *feed) stored(last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = max(f.last, last)
	for s := range f.subs {
		s.ring()
	}
}

// pass hands on an event that is not stored.
func (f *feed) pass(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	e.Seq = f.last
	for s := range f.subs {
		if s.change != 0 && s.change != e.Change {
			continue
		}
		if e.Type == TaskProgress { // only the newest of a task matters
			s.passing = slices.DeleteFunc(s.passing, func(o Event) bool {
				return o.Type == TaskProgress && o.Change == e.Change && o.Task == e.Task
			})
		}
		if len(s.passing) >= mostPassing {
			s.passing = slices.Delete(s.passing, 0, 1)
		}
		s.passing = append(s.passing, e)
		s.ring()
	}
}

func (f *feed) take(s *subscriber) []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := s.passing
	s.passing = nil
	return taken
}

func (f *feed) add(s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.subs[s] = true
}

func (f *feed) remove(s *subscriber) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.subs, s)
}

// Subscribe returns the events of a change (of all changes where it is 0) that come after sequence number
// after, stored ones first and then as they happen, in order.
//
// The channel is closed when ctx ends, when the runner stops, and, for a single change, after its last
// event. A subscriber may be as slow as it likes: it misses no stored event.
func (r *Runner) Subscribe(ctx context.Context, change int, after uint64) <-chan Event {
	out := make(chan Event)
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.base.Err() != nil {
		cancel()
		close(out)
		return out
	}
	stop := context.AfterFunc(r.base, cancel)
	s := &subscriber{change: change, wake: make(chan struct{}, 1)}
	r.feed.add(s)
	r.wg.Go(func() {
		defer close(out)
		defer cancel()
		defer stop()
		defer r.feed.remove(s)
		if err := r.pump(ctx, s, after, out); err != nil {
			r.log.Error("a subscriber's events end early", "change", change, "error", err)
		}
	})
	return out
}

// pump sends what is new to one subscriber until there can be no more.
func (r *Runner) pump(ctx context.Context, s *subscriber, cursor uint64, out chan<- Event) error {
	send := func(e Event) bool {
		select {
		case out <- e:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for {
		// Taken before the store is read: whatever is stored up to a passing event's number is then seen.
		passing := r.feed.take(s)
		var over bool
		for more := true; more; {
			p, err := r.page(s.change, cursor)
			if err != nil {
				return err
			}
			for _, e := range p.events {
				for len(passing) > 0 && passing[0].Seq < e.Seq {
					if !send(passing[0]) {
						return nil
					}
					passing = passing[1:]
				}
				if !send(e) {
					return nil
				}
			}
			cursor, more, over = p.last, p.more, p.over
		}
		for _, e := range passing {
			if !send(e) {
				return nil
			}
		}
		if over {
			return nil
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// page is a piece of the stored events.
type page struct {
	events []Event
	last   uint64 // the number up to which it goes
	more   bool   // there are events after it
	over   bool   // there will be no event after it, as things are: the change has ended
}

// page reads the stored events after cursor, those of one change unless it is 0.
func (r *Runner) page(change int, cursor uint64) (page, error) {
	p := page{last: cursor}
	err := r.store.View(func(tx *store.Tx) error {
		from, newest := cursor+1, store.Sequence(tx, eventBucket)
		if change != 0 {
			var c Change
			found, err := store.Get(tx, changeBucket, changeKey(change), &c)
			if err != nil {
				return err
			}
			if !found {
				p.over = true
				return nil
			}
			from = max(from, c.FirstEvent)
			if c.LastEvent != 0 {
				newest = c.LastEvent
			}
			p.over = c.LastEvent != 0
		}
		if from > newest {
			return nil
		}
		p.last = min(from+pageSize-1, newest)
		p.more = p.last < newest
		return store.EachIn(tx, eventBucket, store.Key(from), store.Key(p.last+1), func(_ string, e Event) error {
			if change == 0 || e.Change == change {
				p.events = append(p.events, e)
			}
			return nil
		})
	})
	return p, err
}
