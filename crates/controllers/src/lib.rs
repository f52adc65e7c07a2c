//! DaemonSet, garbage collector, node lifecycle, pod GC, namespace: one module each.
