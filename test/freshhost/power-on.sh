#!/bin/sh
# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# The first process of a host within this one. It is started in name spaces of its own:
#
#   power-on.sh DIR NAME [PATH...]
#
# DIR has base (a root file system, never written), what the host has written since (upper, work) and
# its engine's data; each PATH of this machine is there too. The control groups are version 1's.
set -eu

# join GROUP makes a control group of every controller and goes there.
join() {
	for controller in /sys/fs/cgroup/*/; do
		group=$controller$1
		mkdir -p "$group"
		case $controller in
		*/cpuset/)
			cat "$group/../cpuset.cpus" >"$group/cpuset.cpus"
			cat "$group/../cpuset.mems" >"$group/cpuset.mems"
			;;
		esac
		echo 0 >"$group/cgroup.procs"
	done
}

if [ "${1:-}" != --grouped ]; then
	join "copse-host-$2"
	exec unshare --cgroup "$0" --grouped "$@"
fi
# No process of a host is in the root, as with systemd.
join "copse-host-$3/session"
dir=$2 name=$3
shift 3
root=$dir/root
mkdir -p "$root" "$dir/upper" "$dir/work" "$dir/docker"

mount --make-rprivate /
mount -t overlay -o "lowerdir=$dir/base,upperdir=$dir/upper,workdir=$dir/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
for controller in /sys/fs/cgroup/*/; do
	mkdir "$root$controller"
	mount --bind "${controller}copse-host-$name" "$root$controller"
done
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/lock" "$root/var/lib/docker" "$root/mnt"
# An engine's layers cannot lie on layers.
mount --bind "$dir/docker" "$root/var/lib/docker"
for path; do
	mkdir -p "$root$path"
	mount --bind "$path" "$root$path"
done
# It finds and trusts what this machine does.
cat /etc/resolv.conf >"$root/etc/resolv.conf"
cat /etc/ssl/certs/ca-certificates.crt >"$root/etc/ssl/certs/ca-certificates.crt"
hostname "$name"
echo "$name" >"$root/etc/hostname"
printf '127.0.0.1 localhost %s\n' "$name" >"$root/etc/hosts"
ip link set lo up

cd "$root"
pivot_root . mnt
umount -l /mnt
# The first process inherits every orphan; a shell that waits reaps them.
exec /bin/bash -c 'echo ready; while :; do sleep 1d & wait; done' </dev/null
