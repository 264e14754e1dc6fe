#!/bin/sh
# Pythons of exact versions, as relocatable builds that uv fetches, in /opt/python. Each is reachable as
# python3.N from /usr/local/bin, ahead of the distribution's own, which stays untouched for the system.
#
#   PYTHON_VERSIONS="3.11.18 3.12.16" UV_VERSION=0.13.9
set -eu
: "${PYTHON_VERSIONS:?}" "${UV_VERSION:?}"
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -q --no-install-recommends python3 python3-venv

python3 -m venv /opt/uv
/opt/uv/bin/pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
ln -sf /opt/uv/bin/uv /usr/local/bin/uv

export UV_PYTHON_INSTALL_DIR=/opt/python UV_NO_CACHE=1
for version in $PYTHON_VERSIONS; do
  uv python install --no-bin "$version"
  python=$(uv python find --no-project --managed-python "$version")
  ln -sf "$python" "/usr/local/bin/python${version%.*}"
done
chmod -R go+rX /opt/python /opt/uv

# Two patches of one minor would have overwritten each other's name.
for version in $PYTHON_VERSIONS; do
  found=$("/usr/local/bin/python${version%.*}" -c 'import platform; print(platform.python_version())')
  [ "$found" = "$version" ] || { echo "python${version%.*} is $found, wanted $version" >&2; exit 1; }
done
