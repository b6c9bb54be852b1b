"""Which source files decide what a kernel compiles to, and their content hash.

numba looks only at the file of the function that it caches; a callee edited in another file would go unnoticed.
Here the files are found by following imports, from the kernel's own file, through everything that is neither the
standard library nor one of the libraries that are identified by their versions.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

BY_VERSION = frozenset(
    {"numba", "llvmlite", "numpy", "hftbacktest", "scipy", "pandas", "pyarrow", "statsmodels"}
)
"""Libraries that enter the hash by version instead of by content."""

_STARTED_AT_NS = time.time_ns()
"""Before any kernel was imported: they all need this package."""
_KEY_VERSIONS = ("numba", "llvmlite", "numpy", "hftbacktest")
_CODE_OPTIONS = ("BOUNDSCHECK", "OPT", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "ENABLE_AVX")
"""Settings of numba (NUMBA_BOUNDSCHECK, ...) that make other code of the same source."""


@lru_cache(maxsize=1)
def environment_hash() -> str:
    """SHA-256 over the versions and the processor that compiled code depends on."""
    import llvmlite.binding as llvm
    from numba import config

    facts = [f"{name}=={importlib.metadata.version(name)}" for name in _KEY_VERSIONS]
    facts += [platform.python_implementation(), platform.python_version(), platform.machine(), sys.platform]
    facts += [llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    facts += [f"{name}={getattr(config, name, None)}" for name in _CODE_OPTIONS]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def imports_changed_since_start(path: Path) -> bool:
    """Whether a local file that `path` imports was written after this process began.

    The module in memory may then be older than the file. What is compiled from the one must not be kept under the
    content of the other: the next process would take it for the code of what it reads.
    """
    for file in source_files([path]):
        if file != path.resolve():
            stat = file.stat()
            if max(stat.st_mtime_ns, stat.st_ctime_ns) > _STARTED_AT_NS:
                return True
    return False


def source_hash(paths: list[Path]) -> str:
    """SHA-256 over the content of `paths` and of every local file that they import, directly or not."""
    return _hash_of(_followed(paths, _read, _module_files)).hexdigest()


def plain_key(paths: list[Path]) -> str:
    """SHA-256 over what plain Python code in `paths` runs: its own sources by content, libraries by version.

    Imports inside functions count here. A file counts as a library's if it is installed and belongs to none of the
    packages that `paths` belong to.
    """
    own = {package.partition(".")[0] or path.stem for path, package in map(_source, paths)}
    libraries: set[str] = set()

    def own_files(module: str) -> Sequence[_Source]:
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names:
            return ()
        files = _module_files(module)
        if top in own or (top not in BY_VERSION and not any("site-packages" in f.path.parts for f in files)):
            return files
        libraries.add(top)
        return ()

    digest = _hash_of(_followed(paths, _read_anywhere, own_files))
    distributions = _distributions(tuple(sys.path)) if libraries else {}
    for top in sorted(libraries):
        digest.update(f"{top}=={_version_of(distributions.get(top, []))}\n".encode())
    return digest.hexdigest()


@lru_cache(maxsize=4096)
def _read_anywhere(path: str, package: str, mtime_ns: int, size: int) -> tuple[bytes, tuple[str, ...]]:
    """As `_read`, with the modules that it may import anywhere."""
    content = Path(path).read_bytes()
    modules: set[str] = set()
    for node in ast.walk(ast.parse(content)):
        modules |= _imported(node, package)
    return hashlib.sha256(content).digest(), tuple(sorted(modules))


@lru_cache(maxsize=4)
def _distributions(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Names of the distributions that have a package, by the package's; looked up once per `sys.path`."""
    return importlib.metadata.packages_distributions()


def _version_of(names: Iterable[str]) -> str:
    """Names and versions of distributions."""
    return ",".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names)))


def source_files(paths: list[Path]) -> list[Path]:
    """`paths` and the local source files that they import, directly or not, sorted by path."""
    return sorted(_followed(paths, _read, _module_files))


def _followed(
    paths: list[Path],
    read: Callable[[str, str, int, int], tuple[bytes, tuple[str, ...]]],
    files_of: Callable[[str], Sequence[_Source]],
) -> dict[Path, bytes]:
    """`paths` and the files of what they import, directly or not, with the hash of each; see `_read`."""
    found: dict[Path, bytes] = {}
    todo = [_source(path) for path in paths]
    while todo:
        path, package = todo.pop()
        if path in found:
            continue
        found[path], modules = read(str(path), package, *_stamp(path))
        for module in modules:
            todo.extend(files_of(module))
    return found


def _hash_of(found: Mapping[Path, bytes]) -> hashlib._Hash:
    return hashlib.sha256(b"".join(found[path] for path in sorted(found)))


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=4096)
def _read(path: str, package: str, mtime_ns: int, size: int) -> tuple[bytes, tuple[str, ...]]:
    """Hash of a source file's content, and the modules that it may import; memoised while the file is untouched."""
    content = Path(path).read_bytes()
    modules: set[str] = set()
    for node in _executed_at_import(ast.parse(content).body):
        modules |= _imported(node, package)
    return hashlib.sha256(content).digest(), tuple(sorted(m for m in modules if m and not _is_foreign(m)))


def _imported(node: ast.AST, package: str) -> set[str]:
    """Modules that a statement may import."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    base = node.module or ""
    if node.level:
        parent = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*parent, base] if base else parent)
    return {base, *(f"{base}.{alias.name}" for alias in node.names)} - {""}


def _executed_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that give a module its globals: a kernel cannot use what is imported inside a function."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _executed_at_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for field in ("body", "orelse", "finalbody"):
                yield from _executed_at_import(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from _executed_at_import(handler.body)


def _is_foreign(module: str) -> bool:
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or top in BY_VERSION


class _Source(NamedTuple):
    """A source file, and the package that its relative imports begin in."""

    path: Path
    package: str


def _source(path: Path) -> _Source:
    return _Source(path.resolve(), _package_of(path.resolve()))


def _package_of(path: Path) -> str:
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(path):
            return str(getattr(module, "__package__", "") or name.rpartition(".")[0])
    parts: list[str] = []
    folder = path.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    return ".".join(parts)


@lru_cache(maxsize=4096)
def _module_files(module: str) -> tuple[_Source, ...]:
    """Source files of `module` and of the packages above it; empty if it is no module or not Python source."""
    files = []
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        loaded = sys.modules.get(name)
        origin, is_package = getattr(loaded, "__file__", None), hasattr(loaded, "__path__")
        if origin is None:
            try:
                spec = importlib.util.find_spec(name)
            except (ImportError, AttributeError, ValueError):
                break
            if spec is None:
                break
            origin, is_package = spec.origin, spec.submodule_search_locations is not None
        if origin and origin.endswith(".py"):
            files.append(_Source(Path(origin).resolve(), name if is_package else name.rpartition(".")[0]))
    return tuple(files)
