#!/bin/sh
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Runs one phase of a larger job and says how long it took; the times are kept in build/phases.
#
#   phase.sh NAME COMMAND [ARGUMENT…]
set -u

name=$1
shift
mkdir -p build
printf '==> %s\n' "$name"
started=$(date +%s)
"$@"
status=$?
seconds=$(($(date +%s) - started))
result=passed
[ "$status" = 0 ] || result=FAILED
printf '<== %s: %s in %d s\n' "$name" "$result" "$seconds"
printf '%-24s %-6s %6d s\n' "$name" "$result" "$seconds" >>build/phases
exit "$status"
