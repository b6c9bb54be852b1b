"""Values that compiled code uses without counting references to them."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def borrowed(typingctx, value):
    """`value` without an owner: arrays, instances of kernel classes, tuples of them.

    Numba counts a reference, with an atomic operation, for every such argument of every call; there is nothing to count
    where there is no owner. The owner must live until the last use of the result, see `keep_alive`.
    """

    def codegen(context, builder, signature, values):
        return _disowned(context, builder, signature.return_type, values[0])

    return value(value), codegen


def _disowned(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.BaseTuple):
        items = [
            _disowned(context, builder, item, builder.extract_value(value, index))
            for index, item in enumerate(kind)
        ]
        return context.make_tuple(builder, kind, items)
    if not isinstance(kind, types.Array | types.ClassInstanceType):
        return value
    struct = cgutils.create_struct_proxy(kind)(context, builder, value=value)
    struct.meminfo = ll.Constant(struct.meminfo.type, None)
    if isinstance(kind, types.Array):
        struct.parent = ll.Constant(struct.parent.type, None)
    return struct._getvalue()


@intrinsic
def keep_alive(typingctx, owner):
    """Do nothing with `owner`, which lives until here."""

    def codegen(context, builder, signature, values):
        return context.get_dummy_value()

    return types.void(owner), codegen
