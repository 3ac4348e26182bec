# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash disable=SC2154 # root is set by ./dev
# The Debian packages that shunt's own development needs, and how they get onto a machine.
# Sourced by ./dev.

declare -A packages=(
  [build]="clang-19 lld-19 libclang-rt-19-dev ccache cmake ninja-build pkg-config
    libnftables-dev libmnl-dev libfmt-dev libcap-ng-dev libseccomp-dev libgnutls28-dev
    nettle-dev libre2-dev libtomlplusplus-dev libbpf-dev bpftool
    libgtest-dev libgmock-dev libbenchmark-dev"
  [demo]="iproute2 nftables python3 curl nginx-light openssl dnsmasq-base bind9-dnsutils"
  [test]="git python3-pytest python3-pytest-xdist python3-jsonschema universal-ctags shellcheck
    clang-format-19 clang-tidy-19 procps util-linux systemd iptables socat wget libc6-dev
    dnsmasq-base unbound bind9-dnsutils openssl
    dante-server microsocks tinyproxy-bin squid haproxy libnginx-mod-stream
    ngtcp2-client ngtcp2-server nmap iperf3 dnsperf knot-dnsutils ntpsec-ntpdig"
  [bench]="iperf3"
  [long]="golang-go llvm-19"
)
# dnsmasq-base and tinyproxy-bin are the programs without the services.

# missing_packages SET…: prints those that are not installed, one a line.
missing_packages() {
  local set name
  local -A installed=()
  local wanted=()
  for set in "$@"; do
    # The lists are words.
    # shellcheck disable=SC2206
    wanted+=(${packages[$set]})
  done
  while read -r name; do
    installed[$name]=1
  done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
    sed -n 's/^installed //p')
  for name in "${wanted[@]}"; do
    [[ -v installed[$name] ]] || echo "$name"
  done
}

# ensure_packages SET…: installs what is missing, as root or through sudo. Where neither is possible
# it says what is missing and the one command for it, and returns 1: the caller goes on with what it
# can do. Silent when nothing is missing.
ensure_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    note "this is not Debian or a relative of it: the packages of tools/packages.sh are up to you"
    return 1
  fi
  local missing=()
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  local as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null || { ! sudo -n true 2>/dev/null && ! [[ -t 0 ]]; }; then
      note "missing packages: ${missing[*]}"
      note "to install them:  apt-get install --no-install-recommends ${missing[*]}   (as root)"
      return 1
    fi
    as_root=(sudo --)
  fi
  step "installing ${#missing[@]} packages${as_root[0]:+ (with sudo)}: ${missing[*]}"
  local install=("${as_root[@]}" bash "$root/tools/install_packages.sh" "${missing[@]}")
  if [[ -t 1 ]]; then
    "${install[@]}" && return
  else
    run_logged packages "${install[@]}" && return
  fi
  note "not all packages could be installed; going on with what is there"
  return 1
}
