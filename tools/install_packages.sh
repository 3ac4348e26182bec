#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# install_packages.sh PACKAGE…: installs Debian packages without starting their services, now or at
# the next boot. Runs as root.
#
# Servers that the tests use as peers (nginx, danted, …) come with services that Debian starts as
# soon as they are installed. /usr/sbin/policy-rc.d that answers 101 forbids that, to systemd's
# helpers (deb-systemd-invoke) as to those of sysvinit (invoke-rc.d); it stands there only while apt
# runs. What the new packages enabled for the next boot is disabled again; a service that was there
# before is not touched. To use one of them later: systemctl enable --now NAME.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

readonly policy=/usr/sbin/policy-rc.d
readonly saved=/usr/sbin/policy-rc.d.before-shunt
readonly marker="# written by shunt's tools/install_packages.sh, which removes it again"

# Also mends what a run left that was killed.
restore_policy() {
  if [[ -f $policy ]] && grep -qxF "$marker" "$policy"; then rm -f "$policy"; fi
  if [[ -e $saved && ! -e $policy ]]; then mv "$saved" "$policy"; fi
}

forbid_service_starts() {
  restore_policy
  if [[ -x $policy ]]; then
    local answer=0
    "$policy" nginx start >/dev/null 2>&1 || answer=$?
    ((answer == 101)) && return
  fi
  if [[ -e $policy ]]; then mv "$policy" "$saved"; fi
  printf '#!/bin/sh\n%s\nexit 101\n' "$marker" >"$policy"
  chmod 755 "$policy"
}

# The services of the packages in tools/packages.sh.
readonly services=(nginx danted squid haproxy iperf3 ngtcp2d redsocks shadowsocks-libev)

has_service() { [[ -e /lib/systemd/system/$1.service || -e /etc/init.d/$1 ]]; }

disable_new_services() {
  local name
  for name in "${services[@]}"; do
    [[ -v was_there[$name] ]] && continue
    has_service "$name" || continue
    if [[ -e /lib/systemd/system/$name.service ]] && command -v systemctl >/dev/null; then
      systemctl --quiet disable "$name.service" >/dev/null 2>&1 || true
    elif [[ -e /etc/init.d/$name ]] && command -v update-rc.d >/dev/null; then
      update-rc.d "$name" disable >/dev/null 2>&1 || true
    fi
  done
}

finish() {
  disable_new_services
  restore_policy
}

install() {
  apt-get install -qy --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@" </dev/null
}

declare -A was_there=()
for service in "${services[@]}"; do
  if has_service "$service"; then was_there[$service]=1; fi
done
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
forbid_service_starts
# The lists may be old or not there at all.
apt-get update -q -o DPkg::Lock::Timeout=300 </dev/null ||
  echo "apt-get update failed; trying with the lists that are there" >&2
if install "$@"; then exit 0; fi
# One package that this release lacks must not keep the others out.
failed=()
for package in "$@"; do
  install "$package" >/dev/null 2>&1 || failed+=("$package")
done
if ((${#failed[@]})); then
  echo "could not be installed: ${failed[*]}" >&2
  exit 1
fi
