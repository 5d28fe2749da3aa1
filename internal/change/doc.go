// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package change runs operations of many steps so that a crash at any point loses nothing.
//
// A [Change] is made of [Task]s with dependencies. All of it is stored before the first task runs, and
// every step of a task's status is one transaction, so that the store always says what was being done. A
// task's kind names a [Handler] with a do and an undo. The package knows nothing about what they do.
//
// # A task's status
//
//	         ┌───────────────────── do ok ──────────────────┐
//	         │                                              ▼
//	Do ──► Doing ──► Error    do failed, and cleaned up    Done
//	│        │  │             after itself                  │ its lane fails
//	│        │  └──► Undone   cancelled, and cleaned up     ▼
//	│        │                after itself            ┌─► Undo ──► Undoing ──► Undone
//	│        ├──── do could not clean up (crash, ─────┘    ▲          │
//	│        │     panic)                                  │        undo failed
//	│        └──── do failed, and so did its own ──────┐ Retry        │
//	│              clean-up (NotCleanedUp)             ▼   │          ▼
//	└──► Hold      will not run, for its lane fails    Stuck ◄────────┘
//
// Hold, Done, Undone, Error and Stuck are final: a change ends when all its tasks are in one of them. The
// status of a change is derived from its tasks and never stored. Stuck is the loud one: something is left
// in the world that only an operator can judge; [Runner.Retry] undoes it once the cause is gone.
//
// # Lanes
//
// A lane is the unit of undo: in the end either all its tasks are Done, or none is. (In a change that is
// [Change.Atomic] all tasks are in one lane.) A lane fails when
//
//   - one of its tasks fails, or
//   - one of its tasks has yet to run, and waits on a task of a lane that failed, or
//   - the change is aborted before all its tasks are Done.
//
// Of a lane that fails, running tasks are cancelled through their context, those that did not run are
// held, and those that are Done are undone. An undo starts when nothing that waits on its task, directly
// or not, in whatever lane, is running or still to be undone. A lane whose tasks are all Done stays, even
// where it waited on a task that is undone now: a container is atomic, a set is not. Where an undo fails,
// what its task waits on stays as well (as Stuck), since its effect still rests on that.
//
// # The contract of a handler
//
// Do and Undo are run again from their first line after a crash, so they are idempotent: they look before
// they act, and keep in the task's data ([Run.Set]) what undo needs before they do it. A do that returns
// an error has cleaned up after itself, also where it was cancelled; the context is cancelled by then, so
// cleaning up takes context.WithoutCancel. Undo must cope with a do that got only half the way. When the
// runner stops, contexts are cancelled too, and a task whose handler then returns an error stays as it is,
// to be gone on with by the next [Runner.Resume].
package change
