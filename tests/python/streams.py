"""Streams as the Python client opens them: WebSocket v4 for exec, the old channels for port-forward, proxy, logs.

usage: streams.py KUBECONFIG POD    (a Pod of tests/streams.rs, in default)
"""
import sys

from kubernetes import client, config
from kubernetes.client.rest import ApiException
from kubernetes.stream import portforward, stream

kubeconfig, pod = sys.argv[1:]
config.load_kube_config(kubeconfig)
core = client.CoreV1Api()
everything = dict(container="main", stdin=False, stdout=True, stderr=True, tty=False)


def shell(text, **options):
    return stream(
        core.connect_get_namespaced_pod_exec, pod, "default", command=["sh", "-c", text], **{**everything, **options}
    )


assert shell("echo out; echo err >&2") in ("out\nerr\n", "err\nout\n")

session = shell("read line; echo got $line; echo bad >&2; exit 7", stdin=True, _preload_content=False)
session.write_stdin("a line\n")
session.run_forever(timeout=60)
assert session.read_stdout() == "got a line\n"
assert session.read_stderr() == "bad\n"
assert session.returncode == 7, session.returncode
session.close()

binary = shell("head -c 3000000 /dev/zero", _preload_content=False, binary=True)
count = 0
while binary.is_open():
    binary.update(timeout=10)
    count += len(binary.read_stdout(timeout=0) or b"")
assert count == 3_000_000, count

forward = portforward(core.connect_get_namespaced_pod_portforward, pod, "default", ports="9001")
socket = forward.socket(9001)
socket.settimeout(60)
for _ in range(3):
    socket.sendall(b"through and back")
    got = b""
    while len(got) < 16:
        got += socket.recv(16)
    assert got == b"through and back", got
socket.close()

assert core.connect_get_namespaced_pod_proxy_with_path(f"{pod}:8080", "default", "index.html") == "hello from the pod\n"
assert "ready" in core.read_namespaced_pod_log(pod, "default", container="main", tail_lines=5)
try:
    core.read_namespaced_pod_log(pod, "default", container="main", tail_lines=-1)
    raise AssertionError("a negative number of lines is refused")
except ApiException as refused:
    assert refused.status == 422, refused.status
try:
    stream(core.connect_get_namespaced_pod_exec, pod, "default", command=["true"], **{**everything, "container": "none"})
    raise AssertionError("a container that is not there is refused")
except ApiException as refused:
    assert "400" in str(refused), refused
print("done")
