#!/bin/sh
# The last step before the AMI is made: forget everything that must not be shared by its machines.
set -eu

apt-get -y -q autoremove --purge
apt-get clean
rm -rf /var/lib/apt/lists/*

# Identity. sshd makes host keys anew or gets them from user data; systemd makes a new machine id from
# an empty file (a missing one would count as the first boot of an installer).
rm -f /etc/ssh/ssh_host_*
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed
mkdir -p /var/lib/dbus
ln -s /etc/machine-id /var/lib/dbus/machine-id

# cloud-init runs again as on a new machine, with new user data.
cloud-init clean --logs --seed
rm -rf /var/lib/dhcp/* /var/lib/NetworkManager/*.lease

# Traces of this one, last of all Packer's key: its connection stays.
find /var/log -type f -exec truncate -s 0 {} +
rm -rf /tmp/* /var/tmp/* /var/lib/cloud/instances /root/.bash_history /root/.cache
for home in /root /home/*; do
  rm -f "$home/.ssh/authorized_keys" "$home/.bash_history" "$home/.sudo_as_admin_successful"
done

# Blocks that are free cost nothing in the snapshot, and are not fetched at boot.
sync
fstrim --all || true
sync
