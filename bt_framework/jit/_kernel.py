"""The decorators for code that runs inside the loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from types import CodeType
from typing import Any, TypeVar

from numba import config as numba_config
from numba import njit, types
from numba.core import compiler
from numba.core.codegen import JITCodeLibrary
from numba.core.dispatcher import _FunctionCompiler  # type: ignore[attr-defined]
from numba.core.registry import CPUDispatcher
from numba.core.typing.templates import make_concrete_template
from numba.experimental import jitclass

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type)

_OPTIONS = {"nopython": True, "nogil": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


class _InnerLibrary(JITCodeLibrary):  # type: ignore[misc]
    """Bitcode for callers to link: not optimised and not compiled, since the outermost caller does both for all."""

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            if hasattr(library, "_reload_init"):  # numba >= 0.62
                self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalize_dynamic_globals()
        self._finalized = True


class _InnerCompiler(_FunctionCompiler):  # type: ignore[misc]
    """Stops before machine code."""

    def _compile_core(self, args: Any, return_type: Any) -> Any:
        flags = compiler.Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        flags.no_compile = True
        context = self.targetdescr.target_context
        return compiler.compile_extra(
            self.targetdescr.typing_context,
            context,
            self.py_func,
            args=args,
            return_type=return_type,
            flags=flags,
            locals=self.locals,
            library=_InnerLibrary(context.codegen(), self.py_func.__qualname__),
            pipeline_class=self.pipeline_class,
        )


class _InnerPipeline(compiler.CompilerBase):  # type: ignore[misc]
    """Numba's passes without those that kernels have nothing for: a tenth of a loop's compile time."""

    def define_pipelines(self) -> list[Any]:
        passes = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state, "kernel")
        passes.passes = [(p, why) for p, why in passes.passes if _pass_name(p) not in _NOT_NEEDED]
        passes._finalized = False
        passes.finalize()
        return [passes]


_NOT_NEEDED = frozenset({"NopythonRewrites", "InlineClosureLikes", "WithLift"})
"""Fusing array expressions, comprehensions and inner functions, leaving compiled code."""


def _pass_name(pass_: Any) -> str:
    return (pass_ if isinstance(pass_, type) else type(pass_)).__name__


def _pipeline_of(py_func: Callable[..., Any], default: Any) -> Any:
    """The short pipeline, unless `py_func` has comprehensions or functions inside."""
    return default if any(isinstance(c, CodeType) for c in py_func.__code__.co_consts) else _InnerPipeline


class _KernelDispatcher(CPUDispatcher):  # type: ignore[misc]
    """Compiles for compiled callers only: what Python callers need is more than half of a loop's compile time."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func=py_func, targetoptions=dict(_OPTIONS))
        outer = self._compiler  # type: ignore[has-type]
        pipeline = _pipeline_of(py_func, outer.pipeline_class)
        self._compiler = _InnerCompiler(
            py_func, outer.targetdescr, outer.targetoptions, outer.locals, pipeline
        )

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Type a call: the compilation for just these types, and constants taken as their types.

        Numba would also offer the compilations for other types, and take a record for one that it begins with.
        """
        args = [types.unliteral(arg) for arg in args]
        template, pysig, args, kws = super().get_call_template(
            args, {name: types.unliteral(arg) for name, arg in kws.items()}
        )
        exact = self.overloads.get(tuple(args))
        if exact is not None:
            name = self.py_func.__name__
            template = make_concrete_template(f"CallTemplate({name})", key=name, signatures=[exact.signature])
        return template, pysig, args, kws

    def add_overload(self, cres: Any) -> None:
        """Keep a compilation, and let callers link it under a key that stands for the missing entry point."""
        cres = cres._replace(entry_point=object())
        cres.target_context.insert_user_function(cres.entry_point, cres.fndesc, [cres.library])
        self.overloads[tuple(cres.signature.args)] = cres

    @cached_property
    def _with_wrappers(self) -> Callable[..., Any]:
        return njit(nogil=True)(self.py_func)  # type: ignore[no-any-return]

    def __call__(self, *args: Any) -> Any:
        """Call from Python, as tests do: compiles a second time, with wrappers."""
        return self._with_wrappers(*args)


def kernel(function: F) -> F:
    """Compile `function` with numba, without the GIL, as part of whatever compiled code calls it.

    Nothing is cached here: the loop, or another `cached_kernel`, that calls it is. Division by zero raises as in
    Python. ``function.py_func`` is the plain function. With ``NUMBA_DISABLE_JIT=1`` it is returned as it is.
    """
    if numba_config.DISABLE_JIT:
        return function
    return _KernelDispatcher(function)


def kernel_class(spec: Sequence[tuple[str, Any]]) -> Callable[[C], C]:
    """Make a numba jitclass, with fields `spec`, whose methods are compiled as `kernel` does."""

    def decorate(cls: C) -> C:
        compiled = jitclass(spec)(cls)
        if not numba_config.DISABLE_JIT:
            methods = compiled.class_type.instance_type.jit_methods
            for name, method in list(methods.items()):
                methods[name] = _KernelDispatcher(method.py_func)
        return compiled  # type: ignore[no-any-return]

    return decorate
