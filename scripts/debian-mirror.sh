#!/bin/sh
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Prints the mirror of Debian itself that this host uses, not those of updates or of others, for tests
# that need packages of another release.
set -eu

mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
	sed -nE 's/^(URIs:|deb (\[[^]]*\] )?)[[:space:]]*([^[:space:]]+).*/\3/p' | grep -E '/debian/?$' | head -n 1)
[ -n "$mirror" ] || {
	echo 'debian-mirror: there is no mirror of Debian in /etc/apt' >&2
	exit 1
}
echo "$mirror"
