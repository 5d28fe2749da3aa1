// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package supervise keeps running what is meant to run. Machine is the pure part: it is told what
// was seen and when, and answers with what is to be done. Supervisor is the edge: it follows the
// engine's events, asks the engine, does what Machine says, and writes down every incident.
//
//	        ┌────────────── ended by itself, or by hand ──────────────┐
//	        ▼                                                         │
//	      down ──engine or supervisor starts it──► up ◄──check ok── sick
//	        │                                       │                 │
//	        │                                       └─check failed───►┘──restart──► up
//	        └─────────── too often ──► failed ◄──── too often ────────┘
//
//	held: a change works on it, or an operator has stopped it; nothing that happens is a failure
//	gone: somebody has removed its container; "copse up" makes it again
//
// Failures within Limits.Window count, an exit as one and a failed check as two, since a hang takes
// so much longer to be seen. While something that a container depends on is not well, its exits do
// not count and its failed checks have no consequence: restarting it would mend nothing.
package supervise
