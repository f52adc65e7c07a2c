"""What programs do with the Python client: lists in pages, every type of patch, applies, errors, a watch that goes on after 410.

usage: client.py KUBECONFIG    Prints `restart` and goes on with the next line of its input, when the server was restarted.
"""
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

config.load_kube_config(sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()


def config_map(name, **data):
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"of": "python"}), data=data)


def refused(status, reason, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == status and f'"reason":"{reason}"' in error.body.replace(" ", ""), (error.status, error.body)
    else:
        raise AssertionError(f"{call.__name__} is not refused with {status}")


for number in range(7):
    core.create_namespaced_config_map("default", config_map(f"m{number}", number=str(number)))

# Pages, all of one revision.
names, versions, token = [], set(), None
while token != "":
    page = core.list_namespaced_config_map("default", label_selector="of=python", limit=3, _continue=token)
    names += [item.metadata.name for item in page.items]
    versions.add(page.metadata.resource_version)
    token = page.metadata._continue or ""
assert names == [f"m{number}" for number in range(7)], names
assert len(versions) == 1, versions
assert len(core.list_config_map_for_all_namespaces(field_selector="metadata.name=m3").items) == 1

# Every type of patch.
patch = core.patch_namespaced_config_map
assert patch("m0", "default", {"data": {"strategic": "1"}}).data == {"number": "0", "strategic": "1"}
merged = patch("m0", "default", {"data": {"number": None}}, _content_type="application/merge-patch+json")
assert merged.data == {"strategic": "1"}, merged.data
operations = [{"op": "replace", "path": "/data/strategic", "value": "2"}]
assert patch("m0", "default", operations, _content_type="application/json-patch+json").data == {"strategic": "2"}
assert patch("m0", "default", {"data": {"x": "y"}}, dry_run="All").data == {"strategic": "2", "x": "y"}
assert core.read_namespaced_config_map("m0", "default").data == {"strategic": "2"}

# Server-side apply: who applies owns, others are told, force takes over, what is applied no more goes.
def configuration(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": data}


def apply(manager, force=None, **data):
    options = {"field_manager": manager, "force": force, "_content_type": "application/apply-patch+yaml"}
    return patch("applied", "default", configuration(**data), **options)


def managers(object):
    return sorted((entry.manager, entry.operation) for entry in object.metadata.managed_fields)


assert apply("one", a="1", b="1").data == {"a": "1", "b": "1"}
assert apply("two", b="1", c="2").data == {"a": "1", "b": "1", "c": "2"}
refused(409, "Conflict", apply, "two", b="2")
taken = apply("two", force=True, b="2")
assert taken.data == {"a": "1", "b": "2"}, taken.data
assert managers(taken) == [("one", "Apply"), ("two", "Apply")], taken.metadata.managed_fields
left = apply("one", b="2")
assert left.data == {"b": "2"}, left.data
refused(422, "Invalid", patch, "applied", "default", configuration(), _content_type="application/apply-patch+yaml")
version = left.metadata.resource_version
assert apply("one", b="2").metadata.resource_version == version, "nothing is applied twice"
maps = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="ConfigMap")
options = {"namespace": "default", "field_manager": "three"}
try:
    maps.server_side_apply(body=configuration(b="3"), **options)
    raise AssertionError("the dynamic client's apply is not refused")
except ApiException as error:
    assert error.status == 409 and 'conflicts with \\"one\\"' in error.body, error.body
assert maps.server_side_apply(body=configuration(b="3"), force_conflicts=True, **options).data.b == "3"

# Errors are upstream's.
refused(404, "NotFound", core.read_namespaced_config_map, "none", "default")
refused(409, "AlreadyExists", core.create_namespaced_config_map, "default", config_map("m0"))
stale = core.read_namespaced_config_map("m0", "default")
patch("m0", "default", {"data": {"strategic": "3"}})
stale.data["strategic"] = "4"
refused(409, "Conflict", core.replace_namespaced_config_map, "m0", "default", stale)
refused(422, "Invalid", core.create_namespaced_config_map, "default", config_map("No"))
refused(422, "Invalid", core.create_namespaced_config_map, "default", config_map("x"), field_validation="Loose")

# The dynamic client finds kinds by discovery.
found = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="apps/v1", kind="DaemonSet")
container = {"name": "c", "image": "example.com/none:1"}
template = {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeSelector": {"nowhere": "true"}, "containers": [container]}}
manifest = {"metadata": {"name": "set"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
assert found.create(body=manifest, namespace="default").metadata.generation == 1
typed = apps.read_namespaced_daemon_set("set", "default")
assert typed.spec.update_strategy.rolling_update.max_unavailable == 1, typed.spec.update_strategy
apps.delete_namespaced_daemon_set("set", "default", propagation_policy="Foreground")

# A watch tells what happens, in its order, and ends when it is told to.
version = core.list_namespaced_config_map("default").metadata.resource_version


def changes():
    core.create_namespaced_config_map("default", config_map("w"))
    core.patch_namespaced_config_map("w", "default", {"data": {"a": "b"}})
    core.delete_namespaced_config_map("w", "default")


thread = threading.Thread(target=changes)
thread.start()
seen = []
watching = watch.Watch()
for event in watching.stream(core.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=60):
    seen.append((event["type"], event["object"].metadata.name))
    if event["type"] == "DELETED":
        watching.stop()
thread.join()
assert seen == [("ADDED", "w"), ("MODIFIED", "w"), ("DELETED", "w")], seen

# What the server has forgotten is 410, and a new list goes on from now.
print("restart", flush=True)
sys.stdin.readline()
try:
    for event in watch.Watch().stream(core.list_namespaced_config_map, "default", resource_version=version, timeout_seconds=60):
        raise AssertionError(f"{event} from a version that is forgotten")
    raise AssertionError("the watch ended")
except ApiException as error:
    assert error.status == 410 and "too old resource version" in error.reason, error
listed = core.list_namespaced_config_map("default", label_selector="of=python")
assert len(listed.items) == 7
threading.Thread(target=changes).start()
watching = watch.Watch()
for event in watching.stream(
    core.list_namespaced_config_map, "default", resource_version=listed.metadata.resource_version, timeout_seconds=60
):
    if (event["type"], event["object"].metadata.name) == ("DELETED", "w"):
        watching.stop()
assert int(watching.resource_version) > int(listed.metadata.resource_version)
print("done", flush=True)
