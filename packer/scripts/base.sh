#!/bin/sh
# What every Linux build machine has: current packages, a compiler, and no timers that fight a build
# for the package lock.
set -eu
export DEBIAN_FRONTEND=noninteractive

# cloud-init writes the package sources; going ahead of it loses them. It says 2 for "done, with
# warnings", which is no reason to stop.
cloud-init status --wait >/dev/null || [ $? -eq 2 ]

apt-get update -q
apt-get -y -q -o Dpkg::Options::=--force-confold dist-upgrade
apt-get install -y -q --no-install-recommends \
  build-essential ca-certificates curl file git gnupg jq make openssh-server pkg-config procps rsync \
  sqlite3 libsqlite3-dev tar unzip util-linux xz-utils zip zstd

# An image is renewed by baking, not by itself. A machine that upgrades packages under a build is slow,
# and breaks builds that install some.
for timer in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer man-db.timer motd-news.timer; do
  systemctl disable "$timer" >/dev/null 2>&1 || true
done
apt-get purge -y -q unattended-upgrades >/dev/null 2>&1 || true

# Builds start many connections and watch many files.
cat >/etc/sysctl.d/60-builds.conf <<'END'
fs.inotify.max_user_watches = 524288
fs.inotify.max_user_instances = 1024
END
