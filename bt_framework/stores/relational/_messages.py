"""What is wrong with a database, in our words: what, where, was, and fix; never a statement or a password."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """What a database is to the user.

    Attributes
    ----------
    what : str
        Such as "index".
    another : str
        How to choose another one.
    anew : str
        How its content comes back.
    waits : str
        How to wait longer for other processes; empty if there is no key for that.
    refers_to : tuple of two str
        What its rows refer to, and what to do if it is not there.
    """

    what: str = "database"
    another: str = "url=URL"
    anew: str = "restore a copy of it."
    waits: str = ""
    refers_to: tuple[str, str] = ("run", "Bring it in with: bt runs reindex")


RESEARCH = Subject(
    "research store",
    "store_dir=FOLDER, or $BT_RESEARCH_URL",
    "bt validate and bt screen make it anew.",
    refers_to=("pair or symbol", "Register it first: put_universe, register_symbols"),
)
INDEX = Subject("index", "store.path=FILE", "rebuild it with: bt runs reindex", "store.busy_timeout_ns")
DESK = Subject("index", "store.url=URL", "rebuild it with: bt runs reindex")


def newer(subject: Subject, name: str, was: str, head: str) -> str:
    """Message that a newer version of this program has made the database."""
    return (
        f"the {subject.what} {name} must have schema version {head}, was {was}: a newer version of this program made "
        f"it. Upgrade, or choose another: {subject.another}."
    )


def older(subject: Subject, name: str, was: str, head: str) -> str:
    """Message that a server's database has to be upgraded first."""
    return (
        f"the {subject.what} {name} must have schema version {head}, was {was}. Upgrade it for everybody on the desk "
        "with: bt db migrate url=URL"
    )


def explain(subject: Subject, name: str, text: str) -> str:
    """Say what is wrong, given a driver's error."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or ["no reason given"]
    problem, fix = _problem(subject, text)
    return f"the {subject.what} {name} {problem} ({lines[0]}). {fix}"


def _problem(subject: Subject, text: str) -> tuple[str, str]:
    for marks, problem, fix in (*_of_everybody(subject), *_OF_SERVERS):
        if any(mark in text for mark in marks):
            return problem, fix
    return "cannot be used", f"Check it, or choose another: {subject.another}."


def _of_everybody(subject: Subject) -> tuple[tuple[tuple[str, ...], str, str], ...]:
    """(what the driver's text may hold, problem, fix) of what goes wrong with both kinds of database."""
    another = f"choose another: {subject.another}"
    patience = f"Try again, or raise {subject.waits}." if subject.waits else "Try again when it has finished."
    return (
        (("locked", "lock timeout"), "is locked by another process", patience),
        (("statement timeout",), "takes too long", "Try again, or raise store.statement_timeout_ns."),
        (
            ("readonly", "read-only", "unable to open"),
            "cannot be opened for writing",
            f"Check the permissions, or {another}.",
        ),
        (
            ("is full", "I/O error", "No space left", "disk full"),
            "cannot be written",
            f"Free space there, or {another}.",
        ),
        (("not a database", "malformed"), "is damaged", f"Move it away; {subject.anew}"),
        (
            ("already exists",),
            "holds tables of the same name that something else has made",
            f"Use a database or a schema of its own, or {another}.",
        ),
        (
            ("FOREIGN KEY", "foreign key"),
            f"does not know the {subject.refers_to[0]}",
            f"{subject.refers_to[1]}.",
        ),
        (
            ("violates", "constraint failed"),
            "refuses a value",
            "It breaks a rule of its table; if it comes from this program, report it.",
        ),
    )


_CREDENTIALS = "Give user and password in $PGUSER and $PGPASSWORD, or in ~/.pgpass."
_OF_SERVERS = (
    (("authentication failed", "no password supplied", "no pg_hba.conf"), "refuses the user", _CREDENTIALS),
    (("role ",), "does not know the user", _CREDENTIALS),
    (("permission denied",), "does not let the user do that", "Ask its owner for the right to."),
    (("relation ",), "lacks a table", "Restore it, or make it anew with: bt db migrate url=URL"),
    (("does not exist",), "is not there as expected", "Create the database with: createdb NAME"),
    (("NUL", "0x00", "surrogates"), "cannot hold the text", "Leave the character out."),
    (
        (
            "Connection refused",
            "could not translate",
            "resolve",
            "timeout expired",
            "No route",
            "connection failed",
            "server closed",
            "terminating connection",
            "the connection is closed",
            "connection is lost",
        ),
        "cannot be reached",
        "Check the address, and that the server is running.",
    ),
)
