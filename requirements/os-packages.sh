#!/bin/sh
# Lists the operating system's packages that this machine lacks, then installs them (as root, or with sudo).
# Usage: os-packages.sh demo|test
set -eu
demo="gcc libc6-dev libseccomp-dev pkg-config busybox-static ca-certificates \
iproute2 util-linux mmdebstrap openssh-client openssl procps"
# The tests also validate the Vagrantfile, where the distribution has Vagrant (Debian 12 has, Ubuntu 24.04 has not).
test="$demo curl nftables vagrant"
eval "wanted=\$$1"

command -v dpkg-query >/dev/null || { echo "this machine has no dpkg; install by hand: $wanted" >&2; exit 1; }
missing=
for package in $wanted; do
  dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "missing OS packages:$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get -qq update
available=
for package in $missing; do
  if apt-cache show "$package" >/dev/null 2>&1; then available="$available $package"
  else echo "$package is not in this machine's apt sources: what needs it can't run here"; fi
done
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $sudo apt-get -qq install -y --no-install-recommends $available >/dev/null
