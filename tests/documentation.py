"""What the pages in docs/ show: blocks, commands, and the modules that their examples make."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)
_FILE = re.compile(r"# ([\w/]+\.(?:py|yaml))\n")


def fences(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block of a language."""
    return [
        (str(page.relative_to(DOCS)), body)
        for page in PAGES
        for found, body in FENCE.findall(page.read_text())
        if found == language
    ]


def commands() -> list[str]:
    """Every ``bt`` command that a page or the README shows in a shell block, and that runs as it stands."""
    readme = ROOT / "README.md"
    bodies = [body for _, body in fences("sh")]
    if readme.exists():
        bodies += [body for language, body in FENCE.findall(readme.read_text()) if language == "sh"]
    lines = {line.strip() for body in bodies for line in body.splitlines()}
    return sorted(line for line in lines if line.startswith("bt "))


def example_modules(folder: Path) -> dict[str, str]:
    """Write every block that starts with ``# a/path.py`` or ``# a/path.yaml`` into `folder`.

    Returns the modules that have a ``build``, each with the kind of its page (README is none).
    """
    modules = {}
    for page, body in fences("python") + fences("yaml"):
        path = _FILE.match(body)
        if path is None:
            continue
        file = folder / path[1]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(body)
        if "\ndef build(" in body:
            module = path[1].removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            modules[module] = Path(page).stem
    return modules
