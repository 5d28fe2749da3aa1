# Copyright The Copse Authors
# SPDX-License-Identifier: Apache-2.0
#
# Sourced by the layer that installs an image's packages. What the package source is comes in as
# build secrets: nothing of it stays in the image, and another mirror makes no other image.

export DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes LC_ALL=C.UTF-8

# Without the secrets the image's own sources are used: those of a base image that was pulled.
if [ -s /run/build/apt.conf ]; then
    export APT_CONFIG=/run/build/apt.conf
fi

# apt downloads as a user of its own, who may read neither the secrets nor the caches.
apt_get() {
    apt-get -qq -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-unsafe-io \
        -o Dpkg::Options::=--force-confold "$@"
}

install_packages() {
    [ $# -gt 0 ] || return 0
    apt_get update
    apt_get install -y --no-install-recommends "$@"
}

# finish_packages compiles all Python in one go (each package would start Python for itself) and
# removes what only the next installation or a person would want.
finish_packages() {
    if [ -x /usr/bin/python3 ]; then
        # Some packages carry files that are templates or another language's: they stay as they are.
        python3 -m compileall -q -j 0 /usr/lib/python3/dist-packages > /dev/null || :
        [ ! -d /usr/share/openstack-dashboard ] || python3 -m compileall -q -j 0 /usr/share/openstack-dashboard > /dev/null || :
    fi
    find /var/log -type f -delete
    rm -rf /tmp/* /var/tmp/* /root/.cache /var/cache/debconf/*-old /var/cache/ldconfig/* \
        /var/lib/dpkg/*-old /var/lib/systemd /etc/systemd/system \
        /etc/init.d/* /etc/rc?.d/* /usr/lib/udev/hwdb.bin
    # copse-init is the first process. What systemd's packages were brought along for are their other programs.
    rm -f /usr/sbin/init /usr/lib/systemd/systemd
    rm -f /etc/machine-id /var/lib/dbus/machine-id
}
