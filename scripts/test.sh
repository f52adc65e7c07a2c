#!/usr/bin/env bash
# `make test`: every test there is. The last line is `N passed, N failed`.
#   FILTER=… is handed to nextest as a filter expression.
. "$(dirname "$0")/lib.sh"
"$root/scripts/setup.sh" test
cd "$root"
build_release
build_images
export EVERYNODE_BIN=$root/target/release/everynode EVERYNODE_TOOLS=$tools/bin EVERYNODE_IMAGES=$root/target/images

# What must be the same before and after: processes, mounts, links, network namespaces, cgroups.
footprint() {
  { ps -eo comm= | grep -E '^(everynode|etcd|containerd|containerd-shim|runc|rsyslogd|prometheus-node)' || true
    awk '{print "mount " $5}' /proc/self/mountinfo
    ip -o link | awk -F': ' '{print "link " $2}'
    ip netns list | awk '{print "netns " $1}'
    find /sys/fs/cgroup -mindepth 1 -type d \( -name 'everynode*' -o -path '*everynode*' \) 2>/dev/null | sed 's/^/cgroup /' || true
  } | sort
}
before=$(mktemp) after=$(mktemp) left=$(mktemp) log=$(mktemp)
trap 'rm -f "$before" "$after" "$left" "$log"' EXIT
footprint >"$before"

status=0
cargo nextest run --workspace --no-fail-fast ${FILTER:+-E "$FILTER"} 2>&1 | tee "$log" || status=$?
summary=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E 'Summary \[' | tail -n 1 || true)
count() { sed -nE "s/.*[^0-9]([0-9]+) $1.*/\1/p" <<<"$summary" | grep . || echo 0; }
passed=$(count passed) failed=$(( $(count failed) + $(count 'timed out') ))
[ -n "$summary" ] || { failed=1; echo "the tests did not run" >&2; }

# A killed process may linger for a moment until it is reaped.
clean=no
for _ in $(seq 50); do
  footprint >"$after"
  # What went away meanwhile was somebody else's.
  comm -13 "$before" "$after" >"$left"
  if [ ! -s "$left" ]; then clean=yes; break; fi
  sleep 0.2
done
if [ $clean = yes ]; then
  passed=$((passed + 1))
else
  failed=$((failed + 1))
  echo "the tests left something behind:" >&2
  cat "$left" >&2
fi
[ "$status" = 0 ] || [ "$failed" != 0 ] || failed=1
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
