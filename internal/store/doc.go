// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package store keeps JSON documents in one file: what is wanted, and what happened.
//
// The file is a bbolt database. Documents live in named buckets under string keys, in the order of the
// keys' bytes ([Key] turns a number into a key that sorts as the number does). A write transaction is
// durable when [Store.Update] returns: a crash at any point leaves the state before it or after it.
//
// One process has the file open at a time. A second one is told who holds it instead of waiting for ever.
//
// The file carries a schema version. Older data is brought up step by step ([WithUpgrades]), after a copy
// of the file has been put beside it; data newer than the program is refused, since a program that does
// not know a field would drop it at the next write.
//
// The package knows nothing about what the documents mean.
package store
