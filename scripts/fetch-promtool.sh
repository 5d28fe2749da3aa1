#!/bin/sh
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of promtool, which checks the alert rules. Where this host has none, Debian's package is
# taken from this host's own package source and unpacked below DIR, once; nothing is installed, and no
# server is started.
#
#   fetch-promtool.sh DIR
set -eu

[ $# = 1 ] || {
	echo 'fetch-promtool: call it with the directory to keep the program in' >&2
	exit 2
}
mkdir -p "$1"
dir=$(cd "$1" && pwd)
die() {
	printf 'fetch-promtool: %s\n' "$*" >&2
	exit 1
}

for program in "$(command -v promtool || true)" "$dir/usr/bin/promtool"; do
	if [ -n "$program" ] && "$program" --version >/dev/null 2>&1; then
		echo "$program"
		exit 0
	fi
done
command -v apt-get >/dev/null || die 'this host has neither promtool nor apt-get: install Prometheus'
mkdir -p "$dir/promtool"
download() {
	# A package of its own since trixie.
	package=promtool
	apt-cache show "$package" >/dev/null 2>&1 || package=prometheus
	(cd "$dir/promtool" && apt-get -qq -o APT::Sandbox::User=root download "$package" >&2)
}
# The lists may be missing, or older than the archive.
download || { apt-get -qq update >&2 && download; } || die 'cannot download the package promtool: see the lines above'
dpkg -x "$dir"/promtool/*.deb "$dir/promtool/package"
mkdir -p "$dir/usr/bin"
mv "$dir/promtool/package/usr/bin/promtool" "$dir/usr/bin/promtool"
rm -rf "$dir/promtool"
"$dir/usr/bin/promtool" --version >/dev/null 2>&1 || die 'promtool does not run on this host'
echo "$dir/usr/bin/promtool"
