"""Processes of this machine that run chunks, each on its own: one that dies takes nobody with it."""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from bt_framework.errors import WorkersLost
from bt_framework.interrupt import Stop
from bt_framework.sweep import worker

if TYPE_CHECKING:
    from bt_framework.sweep.journal import Outcome
    from bt_framework.sweep.work import SweepWork

_POLL_S = 0.2


class Workers:
    """Worker processes, made when they are needed; each thread that asks has one of its own.

    Parameters
    ----------
    origin : Origin
        Of this process.
    """

    def __init__(self, origin: worker.Origin) -> None:
        self._origin = origin
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []
        self._lock = threading.Lock()

    def run_chunk(self, work: SweepWork, number: int, stop: Stop) -> list[Outcome]:
        """Run a chunk in a process and wait for it.

        Raises
        ------
        WorkersLost
            If the process ends before the chunk does.
        """
        # A process does one job at a time: if it dies, that job was alone in it.
        chunk = dataclasses.replace(work.chunks[number], alone=True)
        alone = dataclasses.replace(work, chunks=[chunk])
        with self._one() as process:
            answer = process.ask((alone, self._origin), stop)
        if answer is None:
            raise WorkersLost("a worker process has ended before its jobs did.", chunks=(number,))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @contextmanager
    def _one(self) -> Iterator[_Worker]:
        with self._lock:
            process = self._idle.pop() if self._idle else _Worker()
            if process not in self._all:
                self._all.append(process)
        yield process
        with self._lock:
            if process.lives:
                self._idle.append(process)
            else:
                self._all.remove(process)

    def close(self) -> None:
        """End the processes."""
        for process in self._all:
            process.close()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,), name="bt-worker", daemon=True)
        self._process.start()
        other.close()
        self._told = False

    @property
    def lives(self) -> bool:
        """Whether it can be asked again."""
        return self._process.is_alive()

    def ask(self, question: object, stop: Stop) -> list[Outcome] | BaseException | None:
        """Send a chunk and wait for what came of it; None if the process has ended."""
        try:
            self._pipe.send(question)
            while not self._pipe.poll(_POLL_S):
                if stop.received and not self._told and self._process.is_alive():
                    self._process.terminate()  # it ends its job at the next slice
                    self._told = True
            answer: list[Outcome] | BaseException = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            return None
        return answer

    def close(self) -> None:
        """End the process, which waits for a question or for the end of its job."""
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection) -> None:
    """Answer questions until nobody asks any more."""
    # A Ctrl-C of the terminal reaches the process that asks, which knows what is to be done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            work, origin = pipe.recv()
        except EOFError:
            return
        try:
            answer: object = worker.run_chunk(work, origin, 0)
        except Exception as error:
            answer = error
        pipe.send(answer)
