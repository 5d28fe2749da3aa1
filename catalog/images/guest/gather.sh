# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the layer that gathers the guest's files in /guest. The kernel's package is unpacked,
# not installed: installing it would build an initramfs for this machine.

status=/guest.status # of the packages whose files are in the guest, for the inventory

# gather_kernel PACKAGE: the kernel that a package depends on goes to /guest/kernel, all of its
# modules to /kernel. Newer suites have it in parts: the package that was all of it depends on them.
gather_kernel() {
    newest=$(apt-cache depends "$1" | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p')
    parts=$(apt-cache depends "$newest" | sed -n -E 's/^ *Depends: (linux-(base|binary|modules)-[0-9].*)/\1/p')
    mkdir -p /guest /kernel
    # Names of packages are words.
    # shellcheck disable=SC2086
    (cd /kernel && apt_get download "$newest" $parts)
    for package in /kernel/*.deb; do
        dpkg-deb --extract "$package" /kernel
        dpkg-deb --field "$package"
        printf 'Status: install ok installed\n\n'
    done > "$status"
    for kernel in /kernel/boot/vmlinuz-* /kernel/usr/lib/modules/*/vmlinuz; do
        [ ! -e "$kernel" ] || install -m 644 "$kernel" /guest/kernel
    done
    dpkg-query --status busybox-static >> "$status"
    echo >> "$status"
    gather_notice "$newest" /kernel
    gather_notice busybox-static /
}

# gather_notice PACKAGE ROOT: who passes a program on must pass its copyright notice on.
gather_notice() {
    install -D -m 644 "$2/usr/share/doc/$1/copyright" "/guest/usr/share/doc/$1/copyright"
}

# gather_initramfs MODULE…: /guest/initramfs with busybox, the modules and what they depend on,
# numbered in the order in which they are loaded.
gather_initramfs() {
    root=/initramfs
    tree=$(dirname /kernel/usr/lib/modules/*/kernel)
    depmod -b /kernel/usr "${tree##*/}"
    mkdir -p $root/bin $root/dev $root/proc $root/sys $root/modules $root/www
    install -m 755 /bin/busybox $root/bin/busybox
    install -m 755 /run/build/guest/init /run/build/guest/lease $root/
    for module in "$@"; do
        load_order "$module" >> /order
    done
    number=10
    for file in $(awk '!seen[$0]++' /order); do
        name=${file##*/}
        unpack "$tree/$file" > "$root/modules/$number-${name%%.ko*}.ko"
        number=$((number + 1))
    done
    # Nothing tells when or where it was built.
    find $root -exec touch -h -d @0 {} +
    (cd $root && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) > /initramfs.cpio
    gzip -9n < /initramfs.cpio > /guest/initramfs
}

# load_order MODULE: the files of what it depends on, the first to load first, then its own;
# nothing where it is built in.
load_order() {
    if grep -q "/$1\.ko" "$tree/modules.builtin"; then
        return
    fi
    line=$(grep -E "(^|/)$1\.ko[.a-z]*:" "$tree/modules.dep") || {
        echo "the kernel has no module $1" >&2
        return 1
    }
    # modules.dep names last what must be loaded first.
    echo "${line#*:}" | tr ' ' '\n' | sed '/^$/d' | tac
    echo "${line%%:*}"
}

unpack() {
    case $1 in
        *.xz) busybox unxz -c "$1" ;;
        *.gz) busybox gunzip -c "$1" ;;
        *) cat "$1" ;;
    esac
}
