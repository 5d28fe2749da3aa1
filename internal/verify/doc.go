// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package verify proves that a cloud works, by using it as somebody would: a project with a user
// of its own gets a token, uploads an image, makes a network with a router and a floating IP, and
// starts a server whose guest is asked who it is. What the service catalogue does not have is
// passed over, so that a cloud of keystone alone can be proved too.
//
// Everything that a run makes has the run's name, "copse-verify-" and eight digits. At the end,
// whatever happened, the cloud is asked for all that has this name and it is removed; what made
// it is not remembered. So an answer that was lost leaves nothing behind, and what an earlier run
// could not remove, the next one finds by the prefix.
//
// A call that changes something is not cut off by an interrupt: cut off, it might still be done
// after the removal has looked. Waiting is cut off at once.
package verify
