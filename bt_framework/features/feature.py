"""What a feature is: a function of inputs and parameters, known by its code."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bt_framework.errors import PluginError
from bt_framework.jit import kernel_key

FORMAT = 1


class Input(NamedTuple):
    """What a feature is computed from.

    Attributes
    ----------
    content_hash : str
        Says what `open` returns.
    open : callable
        Returns it; not called if the feature is there already.
    """

    content_hash: str
    open: Callable[[], Any]


Compute = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, np.ndarray]]
"""Takes the opened inputs and the parameters, both by name, and returns float64 arrays by name.

It must depend on nothing else, and a row that is of a time must depend on nothing later.
"""


@dataclass(frozen=True)
class Feature:
    """A function whose results are kept; see `feature`."""

    name: str
    compute: Compute

    def key(self, inputs: Mapping[str, Input], params: Mapping[str, Any]) -> str:
        """SHA-256 of the name, the code, the parameters and what the inputs contain.

        Raises
        ------
        PluginError
            If a parameter is not of a JSON type.
        """
        identity = {
            "format": FORMAT,
            "name": self.name,
            "code": _code_hash(str(sys.modules[self.compute.__module__].__file__)),
            "params": params,
            "inputs": {name: given.content_hash for name, given in inputs.items()},
        }
        try:
            text = json.dumps(identity, sort_keys=True)
        except TypeError as error:
            raise PluginError(
                f"parameters of feature {self.name!r} must be of JSON types: {error}."
            ) from None
        return hashlib.sha256(text.encode()).hexdigest()


def feature(name: str) -> Callable[[Compute], Feature]:
    """Make a feature of a function.

    Examples
    --------
    >>> @feature("returns")
    ... def returns(inputs, params):
    ...     return {"returns": np.diff(np.log(inputs["close"]), params["lag"])}
    >>> returns.name
    'returns'
    """

    def made(compute: Compute) -> Feature:
        return Feature(name, compute)

    return made


def input_of(values: np.ndarray) -> Input:
    """Return an array as an input, known by its content."""
    values = np.ascontiguousarray(values)
    head = f"{values.dtype.str} {values.shape} ".encode()
    return Input(hashlib.sha256(head + values.tobytes()).hexdigest(), lambda: values)


@lru_cache(maxsize=1024)
def _code_hash(file: str) -> str:
    """Hash of a file and of what it imports, as it was when first asked for; imports inside functions do not count."""
    return kernel_key([Path(file)])
