#!/bin/sh
# Pythons of several minor versions: Ubuntu's own, and the others from the deadsnakes archive, which
# leaves out the one that Ubuntu has.
#
#   PYTHON_VERSIONS="3.9 3.12 3.13"
set -eu
: "${PYTHON_VERSIONS:?}"
export DEBIAN_FRONTEND=noninteractive

apt-get install -y -q --no-install-recommends python3 software-properties-common
add-apt-repository -y ppa:deadsnakes/ppa
apt-get update -q
for version in $PYTHON_VERSIONS; do
  apt-get install -y -q --no-install-recommends "python$version" "python$version-dev" "python$version-venv"
done
