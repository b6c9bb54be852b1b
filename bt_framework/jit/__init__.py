"""The door to numba: kernels, and a cache of compiled code keyed by content."""

from bt_framework.jit._cache import (
    cache_root,
    cached_kernel,
    has_machine_code,
    kernel_key,
)
from bt_framework.jit._collector import pause_while_compiling
from bt_framework.jit._kernel import kernel, kernel_class
from bt_framework.jit._loaded import files_of, key_as_loaded
from bt_framework.jit._plain import PlainForms
from bt_framework.jit._sources import plain_key

__all__ = [
    "PlainForms",
    "cache_root",
    "cached_kernel",
    "files_of",
    "has_machine_code",
    "kernel",
    "kernel_class",
    "kernel_key",
    "key_as_loaded",
    "plain_key",
]

pause_while_compiling()
