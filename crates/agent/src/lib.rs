//! The node agent: pod sources, pod workers, volumes, status, node object, kubelet HTTP API.
