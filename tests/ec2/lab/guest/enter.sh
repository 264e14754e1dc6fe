#!/bin/sh
# Runs as PID 1 of fresh mount, pid, uts and ipc namespaces: makes the guest's own view of the machine,
# then becomes its init. `$1` is the guest's directory (upper, work, root, dev), `$2` its host name.
set -eu
[ "$$" = 1 ] || { echo "not PID 1 of a pid namespace: refusing" >&2; exit 70; }
guest=$1
mount --make-rprivate /
mount -t overlay guest -o "lowerdir=/,upperdir=$guest/upper,workdir=$guest/work" "$guest/root"
cd "$guest/root"
mount -t proc proc proc
mount -t tmpfs -o mode=755,size=16m run run
mount -t tmpfs -o mode=755,size=1m dev dev
cp -a "$guest/../dev/." dev/
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
mount -t tmpfs -o mode=1777,size=64m shm dev/shm
mkdir run/sshd run/lock
# What the lab reads and writes while the guest runs lies outside the overlay.
mount --bind "$guest/shared" lab/run
# The kernel's switches are the host's: kept out of reach, the host name being set before.
echo "$2" >proc/sys/kernel/hostname
mount --bind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
[ ! -e proc/sysrq-trigger ] || mount --bind dev/null proc/sysrq-trigger
# Each boot has an id of its own, by which a client sees that the machine was restarted.
cat proc/sys/kernel/random/uuid >run/boot_id
mount --bind run/boot_id proc/sys/kernel/random/boot_id
mkdir -p lab/host
pivot_root . lab/host
umount -l /lab/host
# What is left suffices for sshd, sudo, package scripts and chown; nothing that reaches the host's
# network interfaces, clock, modules, mounts or power switch.
exec setpriv --inh-caps=-all --bounding-set=-all,+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,+net_bind_service,+sys_chroot,+mknod,+audit_write,+sys_nice,+sys_ptrace \
  /lab/init
