#!/bin/sh
# Makes sure that a Debian package is there: installs it as root, else says how to.
#   debian_packages.sh FILE PACKAGE    FILE: a path, or a header's, that shows it is there
set -eu

if [ -e "$1" ] || dpkg-query --show --showformat='${db:Status-Status}' "$2" 2>/dev/null |
    grep -q '^installed'; then
  exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "This needs the Debian package $2. Please run: sudo apt-get install -y $2" >&2
  exit 1
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2"
