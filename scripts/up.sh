#!/usr/bin/env bash
# `make up`: everynode on this machine with its examples running.
#   DETACH=1         return when all is ready
#   DATA_DIR, LISTEN where it keeps its data, where it listens
. "$(dirname "$0")/lib.sh"
data=${DATA_DIR:-/var/lib/everynode}
listen=${LISTEN:-127.0.0.1:6443}
need_root
setup_node
setup_build
setup_kubectl_debian
build_release
build_images
everynode=$root/target/release/everynode

say "starting everynode"
"$everynode" up --data-dir "$data" --listen "$listen" --detach
export KUBECONFIG=$data/admin.kubeconfig
kubectl=$tools/bin/kubectl-debian

say "loading the demo images (fluentd's is a stand-in: Debian's rsyslog, following /varlog)"
for archive in "$root"/target/images/*.tar; do
  "$everynode" image load --data-dir "$data" "$archive"
done

say "applying examples/"
node=$("$kubectl" get nodes -o jsonpath='{.items[0].metadata.name}')
"$kubectl" label node "$node" --overwrite disktype=ssd kubernetes.io/e2e-az-name=e2e-az1 >/dev/null
"$kubectl" apply -f "$root/examples/" 2>&1 | sed "s/^/    /" >&2
for file in "$root"/examples/static/*.yaml; do
  cp "$file" "$data/manifests/.${file##*/}"
  mv "$data/manifests/.${file##*/}" "$data/manifests/${file##*/}"
done

"$everynode" status --data-dir "$data" --wait --timeout 180s

cat <<EOF

${bold}everynode is up on $listen.${plain} Talk to it with any kubectl:

    export KUBECONFIG=$data/admin.kubeconfig
    kubectl get daemonsets,pods -A -o wide
    kubectl logs -f ds/fluentd

Static Pods: put a manifest into $data/manifests.
Logs: $data/everynode.log.   End it: make down
EOF
[ -n "${DETACH:-}" ] && exit 0
printf '%s\n' "${dim}Ctrl-C ends this status line; everynode and its Pods go on until \`make down\`.${plain}"
exec "$everynode" status --data-dir "$data" --watch
