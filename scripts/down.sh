#!/usr/bin/env bash
# `make down`: removes Pods, processes, mounts, bridges and data.
. "$(dirname "$0")/lib.sh"
data=${DATA_DIR:-/var/lib/everynode}
need_root
everynode=$root/target/release/everynode
if [ ! -e "$data" ]; then say "nothing at $data"; exit 0; fi
[ -x "$everynode" ] || build_release
exec "$everynode" down --data-dir "$data" --purge
