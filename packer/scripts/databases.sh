#!/bin/sh
# Database servers, installed and silent: a build starts the one it needs on a directory of its own,
# such as `/usr/lib/postgresql/17/bin/initdb -D db`, and nothing is shared between builds.
#
#   POSTGRESQL_MAJORS="16 17" SQL_SERVER=mariadb-server
set -eu
: "${POSTGRESQL_MAJORS:?}" "${SQL_SERVER:?}"
export DEBIAN_FRONTEND=noninteractive

# The PostgreSQL project's own archive: the distribution has one major only.
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
keyring=/usr/share/keyrings/pgdg.asc
curl -sSfL --retry 5 -o "$keyring" https://www.postgresql.org/media/keys/ACCC4CF8.asc
# Anybody could answer for that address on a bad day; the fingerprint has been the same since 2011.
gpg --show-keys --with-colons "$keyring" | grep -q '^fpr:.*:B97B0AFCAA1A47F044F244A07FCC7D46ACCC4CF8:$' ||
  { echo "the key of the PostgreSQL archive is not the one expected" >&2; exit 1; }
echo "deb [signed-by=$keyring] https://apt.postgresql.org/pub/repos/apt $codename-pgdg main" \
  >/etc/apt/sources.list.d/pgdg.list
apt-get update -q

# No cluster of its own for each major: they would all start at boot.
apt-get install -y -q --no-install-recommends postgresql-common
sed -i 's/^#\? *create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
grep -qx 'create_main_cluster = false' /etc/postgresql-common/createcluster.conf
for major in $POSTGRESQL_MAJORS; do
  apt-get install -y -q --no-install-recommends "postgresql-$major" "postgresql-server-dev-$major"
done

apt-get install -y -q --no-install-recommends "$SQL_SERVER" redis-server sqlite3 python3
for service in mariadb mysql redis-server postgresql; do
  systemctl disable --now "$service" >/dev/null 2>&1 || true
done

# Ubuntu confines mysqld to its system directories, where builds may not write.
if [ -e /etc/apparmor.d/usr.sbin.mysqld ]; then
  mkdir -p /etc/apparmor.d/disable
  ln -sf /etc/apparmor.d/usr.sbin.mysqld /etc/apparmor.d/disable/
  apparmor_parser -R /etc/apparmor.d/usr.sbin.mysqld || true
fi
