#!/usr/bin/env bash
# `make bench`: figures beside their floors, in one run. Arguments choose: start, api, fleet, footprint.
. "$(dirname "$0")/lib.sh"
need_root
setup_node
setup_build
build_release
build_images busybox
export EVERYNODE_BIN=$root/target/release/everynode EVERYNODE_IMAGES=$root/target/images
cd "$root"
exec cargo bench --quiet -p everynode --bench figures -- "$@"
