"""What a sweep is going to do: all its jobs, written down before the first one starts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PLAN_VERSION = 1


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes
    ----------
    number : int
        Position in the plan, from 0.
    varied : mapping of str to str
        Key and value, as an override writes them, of what differs between the jobs.
    """

    number: int
    varied: Mapping[str, str]

    @property
    def overrides(self) -> list[str]:
        """What differs, as on the command line."""
        return [f"{key}={value}" for key, value in self.varied.items()]

    @classmethod
    def of_plain(cls, plain: Any, number: int) -> Job:
        """Return the job that line `number` of a file describes, whoever wrote it.

        Raises
        ------
        ValueError
            If it describes none.
        """
        varied = plain.get("varied") if isinstance(plain, dict) else None
        if not isinstance(varied, dict) or plain != {"number": number, "varied": varied}:
            raise ValueError(f"line {number + 1} must be job {number}, with its number and what it varies")
        if not _are_texts([*varied, *varied.values()]):
            raise ValueError(f"line {number + 1} must have keys and values that are texts")
        return cls(number, varied)


@dataclass(frozen=True)
class SweepPlan:
    """What is known of a sweep before its first job.

    Attributes
    ----------
    fixed : tuple of str
        Overrides that all jobs share, as on the command line.
    keys : tuple of str
        What varies, with the ``+`` signs of the override; the columns of the table are called so without them.
    config_dirs : tuple of str
        Folders of options of the user's own.
    sweeper : str
        Name of the sweeper that makes the jobs.
    complete : bool
        Whether all jobs are known beforehand; not of a sweeper that learns from the results.
    metric, minimize
        What says which job is best.
    created_at_ns : int
        Wall clock, ns UTC.
    options : mapping
        Of the sweeper.
    command : tuple of str
        All overrides as they were given, those that list values and those for Hydra too: what makes the sweep again.
    cwd : str
        Folder in which relative paths are meant.
    """

    sweep_id: str
    fixed: tuple[str, ...]
    keys: tuple[str, ...]
    config_dirs: tuple[str, ...]
    sweeper: str
    complete: bool
    metric: str
    minimize: bool
    created_at_ns: int
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    command: tuple[str, ...] = ()
    cwd: str = ""
    version: int = PLAN_VERSION

    @classmethod
    def of_plain(cls, plain: Any) -> SweepPlan:
        """Return the plan that a file describes, whoever wrote it; its overrides are checked where they are read.

        Raises
        ------
        ValueError
            If it describes none.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if not isinstance(plain, dict) or plain.keys() != fields.keys():
            raise ValueError(f"it must have the keys {', '.join(fields)}")
        lists = {key: tuple(plain[key]) for key in _LISTS if isinstance(plain[key], list)}
        wrong = [key for key in _LISTS if not _are_texts(lists.get(key, [None]))]
        wrong += [key for key, kind in _PLAIN_TYPES.items() if type(plain[key]) is not kind]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} must be as a sweep writes it")
        if not _NAME.fullmatch(plain["sweep_id"]):
            raise ValueError(f"sweep_id must be the name of a folder, was {plain['sweep_id']!r}")
        return cls(**plain | lists)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what varies."""
        return tuple(key.lstrip("+") for key in self.keys)

    def overrides(self, job: Job) -> list[str]:
        """All overrides of a job, as on the command line of a single run."""
        return [*self.fixed, *job.overrides]

    def with_trials(self, other: SweepPlan) -> SweepPlan:
        """Return this plan of a sweep that learns, with as many jobs as `other` has if those are more."""
        trials = other.options.get("n_trials", 0)
        if self.complete or trials <= self.options.get("n_trials", 0):
            return self
        return dataclasses.replace(self, options={**self.options, "n_trials": trials})

    def digest(self, jobs: Sequence[Job]) -> str:
        """SHA-256 of what is planned: equal for a sweep that is asked for again, however it is to be carried out."""
        fixed = [text for text in self.fixed if not is_conduct(text)]
        learnt = [] if self.complete else [self.metric, self.minimize]
        # Relative paths are of other files elsewhere.
        content = [fixed, self.keys, self.config_dirs, self.sweeper, dict(self.options), learnt, self.cwd]
        planned = [dict(job.varied) for job in jobs] if self.complete else []
        return hashlib.sha256(json.dumps([content, planned], sort_keys=True).encode()).hexdigest()


_LISTS = ("fixed", "keys", "config_dirs", "command")
_PLAIN_TYPES: Mapping[str, type] = {
    "sweep_id": str,
    "sweeper": str,
    "complete": bool,
    "metric": str,
    "minimize": bool,
    "created_at_ns": int,
    "options": dict,
    "cwd": str,
    "version": int,
}
_NAME = re.compile(r"\w[\w-]*", re.ASCII)


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def is_conduct(override: str) -> bool:
    """Whether an override sets one of the keys of `Conduct`, which say how runs are carried out.

    >>> [is_conduct(text) for text in ("limits.max_seconds=5", "rerun=true", "latency=colo", "strategy.limits=1")]
    [True, True, False, False]
    """
    from bt_framework.config.conduct import Conduct

    first = override.lstrip("+~").partition("=")[0].partition(".")[0]
    return first in {field.name for field in dataclasses.fields(Conduct)}
