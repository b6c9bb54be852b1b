"""Statements of a text of SQL."""

from __future__ import annotations

import re

_TOKENS = re.compile(
    r"""(?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.)*"|`(?:[^`\\]|\\.)*`)"""
    r"""|(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<end>;)""",
    re.DOTALL,
)


def statements(text: str) -> list[str]:
    """Return the statements of `text`, which semicolons end, without those that are only comments."""
    parts, start = [], 0
    for token in _TOKENS.finditer(text):
        if token["end"]:
            parts.append(text[start : token.start()])
            start = token.end()
    parts.append(text[start:])
    return [part.strip() for part in parts if _TOKENS.sub(_without_comments, part).strip()]


def _without_comments(token: re.Match[str]) -> str:
    return token["quoted"] or ""
