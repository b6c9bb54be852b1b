"""The door to numba: kernels, and a cache keyed by content."""

from bt_framework.jit._cache import cached_kernel
from bt_framework.jit._kernel import kernel

__all__ = ["cached_kernel", "kernel"]
