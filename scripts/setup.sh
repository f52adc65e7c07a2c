#!/usr/bin/env bash
# Installs what building, running and testing everynode need, by name from Debian, Cargo and PyPI.
#   scripts/setup.sh [node|test]     node: to run it; test (the default): everything
. "$(dirname "$0")/lib.sh"
need_root
setup_node
setup_build
[ "${1:-test}" = node ] && exit 0
install_debian busybox-static curl procps
setup_etcd
setup_kubectl_debian
setup_kubectl_releases
setup_python_client
setup_cargo_tool cargo-nextest cargo-nextest
setup_cargo_tool cargo-deny cargo-deny
