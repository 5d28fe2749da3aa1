#!/bin/sh
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Makes this host ready for `make up`: installs what is missing from the distribution's own
# packages and starts the container engine. It may be run again at any time; where nothing is
# missing it only looks.
#
#   host-setup.sh          what `make up` needs
#   host-setup.sh --test   and what `make test` needs
#   host-setup.sh --browser
#                          and what `make test-browser` needs
#
# COPSE_DAEMON_JSON and COPSE_DOCKERD_LOG name the engine's configuration and its log, where
# they are not /etc/docker/daemon.json and /var/log/dockerd.log.
set -eu

log_file=${COPSE_DOCKERD_LOG:-/var/log/dockerd.log}
daemon_json=${COPSE_DAEMON_JSON:-/etc/docker/daemon.json}
policy=/usr/sbin/policy-rc.d
start_seconds=60

say() { printf 'host: %s\n' "$*"; }
die() {
	printf 'host: %s\n' "$*" >&2
	exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

with_tests=no
with_browser=no
for argument in "$@"; do
	case $argument in
	--test) with_tests=yes ;;
	--browser) with_browser=yes ;;
	-h | --help)
		sed -n '5,16s/^# \{0,1\}//p' "$0"
		exit 0
		;;
	*) die "unknown argument $argument; there are only --test and --browser" ;;
	esac
done

# Non-interactive shells of root often lack these.
PATH=$PATH:/usr/local/go/bin:/usr/local/sbin:/usr/sbin:/sbin
export PATH

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

candidate() {
	LC_ALL=C apt-cache policy "$1" 2>/dev/null |
		sed -n 's/^ *Candidate: \(.*\)$/\1/p' | grep -v '^(none)$'
}

missing=
need_command() { # COMMAND PACKAGE
	have "$1" || missing="$missing $2"
}
need_package() { # PACKAGE, for what has no command of its own
	installed "$1" || missing="$missing $1"
}

find_missing() {
	missing=
	need_command go golang-go
	# A host may have the engine from elsewhere: then it is left alone.
	need_command dockerd docker.io
	if ! have docker; then
		# Newer releases ship the client apart from the engine.
		if have dockerd || [ -n "$(candidate docker-cli)" ]; then
			missing="$missing docker-cli"
		fi
	fi
	need_command mmdebstrap mmdebstrap
	[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
	[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
	if [ "$with_browser" = yes ]; then
		need_command chromium chromium
		need_command chromedriver chromium-driver
	fi
	[ "$with_tests" = yes ] || return 0
	need_command openstack python3-openstackclient
	need_command git git
	need_command ping iputils-ping
	need_command shellcheck shellcheck
	# The race detector links with the C compiler.
	need_command gcc gcc
	need_package libc6-dev
}

lists_updated=no
update_lists() {
	[ "$lists_updated" = no ] || return 0
	say "reading the package lists"
	apt-get update -qq || die "cannot read the package lists: see the lines above, and the sources in /etc/apt"
	lists_updated=yes
}

remove_policy=no
clean_up() {
	[ "$remove_policy" = no ] || rm -f "$policy"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install_missing() {
	find_missing
	[ -n "$missing" ] || return 0
	have apt-get || die "cannot install$missing: this host has no apt-get; install them by hand and run this again"
	[ "$(id -u)" = 0 ] || die "cannot install$missing: only root can; run it as root, e.g. sudo make up"
	for package in $missing; do
		if [ -z "$(candidate "$package")" ]; then
			update_lists
			break
		fi
	done
	find_missing # the lists decide about docker-cli
	for package in $missing; do
		[ -n "$(candidate "$package")" ] ||
			die "cannot install $package: no package source of this host offers it"
	done
	say "installing$missing"
	# Packages start their daemons as they install; a proxy or an engine that nobody
	# configured yet must not run. What is needed is started below.
	if [ ! -e "$policy" ]; then
		remove_policy=yes
		printf '#!/bin/sh\nexit 101\n' >"$policy"
		chmod 755 "$policy"
	fi
	# shellcheck disable=SC2086 # a list of names
	if ! install_packages $missing; then
		# The lists may be older than the archive.
		update_lists
		# shellcheck disable=SC2086
		install_packages $missing || die "cannot install$missing: see the lines above"
	fi
	clean_up
	remove_policy=no
}

# The hundreds of lines that this says matter only where it fails.
install_packages() {
	apt_log=$(mktemp)
	if DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
		apt-get install -y -qq --no-install-recommends \
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >"$apt_log" 2>&1; then
		rm -f "$apt_log"
		return 0
	fi
	tail -n 20 "$apt_log" >&2
	rm -f "$apt_log"
	return 1
}

# The first Go that downloads the version that go.mod names is 1.21.
check_go() {
	version=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null || true)
	case $version in
	'' | go1.[0-9] | go1.[0-9].* | go1.1[0-9]* | go1.20*)
		die "cannot build with ${version:-the installed go}: 1.21 or newer is needed; see https://go.dev/doc/install"
		;;
	esac
}

answers() { docker version >/dev/null 2>&1; }

live_restore() { [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = true ]; }

# With live-restore, containers outlive the engine's own restart and upgrade. An operator's
# file is never rewritten.
configure_engine() {
	if answers && live_restore; then
		return 0
	fi
	if answers && [ "$(docker info --format '{{.Swarm.LocalNodeState}}' 2>/dev/null)" = active ]; then
		say "live-restore stays off: the engine is part of a swarm, which excludes it; containers stop when the engine does"
		return 0
	fi
	if [ -e "$daemon_json" ]; then
		grep -q '"live-restore"[[:space:]]*:[[:space:]]*true' "$daemon_json" ||
			say "add \"live-restore\": true to $daemon_json and reload the engine (kill -HUP): without it containers stop when the engine does"
	elif [ "$(id -u)" = 0 ]; then
		say "turning live-restore on in $daemon_json"
		mkdir -p "${daemon_json%/*}"
		printf '{\n  "live-restore": true\n}\n' >"$daemon_json.new"
		mv "$daemon_json.new" "$daemon_json"
	fi
	if answers; then
		reload_engine
	fi
}

# A running engine takes live-restore at a reload: no container stops.
reload_engine() {
	grep -q '"live-restore"[[:space:]]*:[[:space:]]*true' "$daemon_json" 2>/dev/null || return 0
	for pid_file in /run/docker.pid /var/run/docker.pid; do
		[ -r "$pid_file" ] || continue
		pid=$(cat "$pid_file")
		[ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || continue
		kill -HUP "$pid" 2>/dev/null || break
		tries=0
		until live_restore; do
			tries=$((tries + 1))
			if [ "$tries" -gt 20 ]; then
				say "the engine did not take live-restore; it will at its next start"
				break
			fi
			sleep 0.5
		done
		return 0
	done
	say "live-restore takes effect at the engine's next start"
}

start_engine() {
	answers && return 0
	if [ -n "${DOCKER_HOST:-}" ]; then
		die "the engine at DOCKER_HOST=$DOCKER_HOST does not answer; start it, or unset DOCKER_HOST to use this host's"
	fi
	if [ "$(id -u)" != 0 ]; then
		die "the container engine does not answer to this user: run it as root, e.g. sudo make up"
	fi
	if [ -d /run/systemd/system ]; then
		say "starting the container engine (systemd)"
		systemctl enable --now docker >/dev/null 2>&1 ||
			die "cannot start the container engine: see systemctl status docker and journalctl -u docker"
		wait_for_engine || die "the container engine does not answer after $start_seconds s: see journalctl -u docker"
		return 0
	fi
	remove_stale_pid
	# After a kill, a first start can fail on what the old engine left behind.
	for attempt in 1 2; do
		say "starting the container engine (its log: $log_file)"
		setsid dockerd >>"$log_file" 2>&1 </dev/null &
		engine_pid=$!
		wait_for_engine && return 0
		[ "$attempt" = 2 ] || say "it did not start; trying once more"
	done
	tail -n 10 "$log_file" >&2 || true
	die "the container engine does not answer: its last words are above, the rest is in $log_file"
}

# An engine refuses to start while a process has the number that a killed one wrote down, even one that
# is dead and only waits for its parent to notice.
remove_stale_pid() {
	for pid_file in /run/docker.pid /var/run/docker.pid; do
		[ -r "$pid_file" ] || continue
		status=/proc/$(cat "$pid_file")/status
		if ! grep -q '^Name:[[:space:]]*dockerd$' "$status" 2>/dev/null || grep -q '^State:[[:space:]]*Z' "$status" 2>/dev/null; then
			rm -f "$pid_file"
		fi
	done
}

# Returns 1 where the engine ended or does not answer in time.
wait_for_engine() {
	tries=0
	until answers; do
		tries=$((tries + 1))
		[ "$tries" -le $((start_seconds * 5)) ] || return 1
		if [ -n "${engine_pid:-}" ] && ! kill -0 "$engine_pid" 2>/dev/null; then
			return 1
		fi
		sleep 0.2
	done
}

install_missing
check_go
configure_engine
start_engine
say "ready: Docker Engine $(docker version --format '{{.Server.Version}}')"
