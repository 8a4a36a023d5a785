#!/bin/bash
# A clean Debian with a running systemd, in namespaces of its own, for tests of packages. Sourced; needs root.
#
#   machine_boot FOLDER     boots the root file system there (machine_root makes one), and waits until it is up
#   in_machine COMMAND...   runs something in it
#   machine_end
#
# It shares the network with this machine, so that loopback ports are the same.

. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
machine_pid=

# machine_root FOLDER: a fresh root file system, from the distribution that this machine has its packages from. What was made once is
# kept beside it as a tar.
machine_root() {
    local root=$1 kept=$1.tar
    rm -rf "$root"
    mkdir -p "$root"
    if [ ! -s "$kept" ]; then
        debian_root "$root" systemd,systemd-sysv || return
        tar -C "$root" -cf "$kept.new" . && mv "$kept.new" "$kept"
    else
        tar -C "$root" -xf "$kept"
    fi
}

# Runs in the new namespaces. By pivot_root and not by chroot: nobody may make a user namespace in a chroot, and units do.
machine_init() {
    local root=$1 device
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/run"
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    for device in null zero full random urandom tty; do cp -a /dev/$device "$root/dev/"; done
    mkdir -p "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    mount -t tmpfs tmpfs "$root/dev/shm"
    ln -s /proc/self/fd "$root/dev/fd"
    ln -s pts/ptmx "$root/dev/ptmx"
    mount -t sysfs -o ro sysfs "$root/sys"
    if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    else
        mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
        mkdir -p "$root/sys/fs/cgroup/unified" "$root/sys/fs/cgroup/systemd"
        mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified"
        mount -t cgroup -o none,name=systemd systemd "$root/sys/fs/cgroup/systemd"
    fi
    cd "$root" && mkdir -p .before && pivot_root . .before && umount -l /.before
    exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --log-target=journal --show-status=false --unit=multi-user.target
}

machine_boot() {
    local root=$1 tries
    export -f machine_init
    unshare --pid --mount --cgroup --uts --ipc --fork --kill-child bash -c "machine_init $root" >"$root.boot.log" 2>&1 &
    machine_unshare=$!
    for tries in $(seq 300); do
        machine_pid=$(pgrep -P $machine_unshare 2>/dev/null | head -n 1)
        if [ -n "$machine_pid" ] && [[ $(in_machine systemctl is-system-running 2>/dev/null) =~ ^(running|degraded)$ ]]; then
            return
        fi
        sleep 0.1
    done
    cat "$root.boot.log" >&2
    return 1
}

in_machine() {
    timeout "${LIMIT:-60}" nsenter -t "$machine_pid" -m -p -u -i -C -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 "$@"
}

machine_end() {
    [ -z "$machine_pid" ] || kill -9 "$machine_pid" 2>/dev/null
    machine_pid=
}
