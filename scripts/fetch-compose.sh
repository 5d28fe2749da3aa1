#!/bin/sh
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Prints the path of docker compose 2, which the tests run rendered files with and the benchmarks
# compare with. Where this host has none, Debian's package is taken from this host's own mirror and
# unpacked below DIR, once; nothing is installed.
#
#   fetch-compose.sh DIR
set -eu

suite=forky
[ $# = 1 ] || {
	echo 'fetch-compose: call it with the directory to keep the program in' >&2
	exit 2
}
mkdir -p "$1"
dir=$(cd "$1" && pwd)
die() {
	printf 'fetch-compose: %s\n' "$*" >&2
	exit 1
}

below=libexec/docker/cli-plugins/docker-compose
for program in "$dir/usr/$below" "/usr/$below" "/usr/local/$below" \
	/usr/lib/docker/cli-plugins/docker-compose /usr/local/lib/docker/cli-plugins/docker-compose; do
	if "$program" version --short 2>/dev/null | grep -qE '^v?[2-9]'; then
		echo "$program"
		exit 0
	fi
done
command -v apt-get >/dev/null || die 'this host has neither docker compose nor apt-get: install the compose plugin of Docker'

mirror=$("$(dirname "$0")/debian-mirror.sh") || die 'no mirror of Debian in /etc/apt: install the compose plugin of Docker'

mkdir -p "$dir/apt/lists/partial" "$dir/apt/cache/archives/partial"
printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$mirror" "$suite" >"$dir/apt/sources.list"
: >"$dir/apt/status"
apt_get() {
	apt-get -qq -o Dir::Etc::SourceList="$dir/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$dir/apt/lists" -o Dir::State::status="$dir/apt/status" -o Dir::Cache="$dir/apt/cache" \
		-o APT::Sandbox::User=root "$@" >&2
}
apt_get update || die "cannot read the packages of $suite at $mirror: see the lines above"
(cd "$dir/apt" && apt_get download docker-compose) || die "cannot download docker-compose of $suite from $mirror"
dpkg -x "$dir"/apt/docker-compose_*.deb "$dir"
rm -rf "$dir/apt"
"$dir/usr/$below" version --short >/dev/null || die "docker-compose of $suite does not run on this host"
echo "$dir/usr/$below"
