// Copyright The Copse Authors
// SPDX-License-Identifier: Apache-2.0

// Package image names and builds the images of Copse.
//
// The catalogue describes images as templates that extend one another; a release says which Debian
// suite they are made from; an operator's override changes any of it. [Catalogue.Resolve] turns
// that into a Dockerfile with its build context and a reference, purely: the reference's tag is a
// hash of everything that goes in, so that a plan needs no build and what has not changed is not
// built again. [Builder] then builds what the engine lacks, through the engine's own BuildKit.
//
// What does not go into the hash: the package mirror, which reaches the build as a secret, and the
// time. New packages of the same suite come with a new serial in the override.
//
// See catalog/images/README.md for how an image is written.
package image
