"""Work that arrives together goes together: requests of one reactor turn become one statement.

At most a few batches are in flight; what arrives meanwhile waits for the next one, so that the batches
grow with the load. Each request has its own Deferred: cancelling one never harms the others.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sora.core.errors import Temporary

Q = TypeVar("Q")
A = TypeVar("A")


@attrs.define(eq=False)
class _Entry(Generic[Q, A]):
    request: Q
    weight: int
    done: "Deferred[A] | None"


class Batches(Generic[Q, A]):
    """Collects requests and sends them together; `send` answers them in their order."""

    def __init__(
        self,
        send: "Callable[[list[Q]], Deferred[list[A]]]",
        *,
        reactor: Any,
        in_flight_max: int,
        count_max: int,
        weight_max: int = 0,
        patience: float = 0.0,
    ) -> None:
        """`patience`: seconds to wait for the batch in flight before another that is not full is sent beside it."""
        self._send = send
        self._reactor = reactor
        self._in_flight_max = in_flight_max
        self._count_max = count_max
        self._weight_max = weight_max
        self._patience = patience
        self._impatient: Any = None
        self._entries: deque[_Entry[Q, A]] = deque()
        self._in_flight = 0
        self._flushing = False

    def add(self, request: Q, weight: int = 0) -> "Deferred[A]":
        """Put a request into the next batch; `weight` counts towards `weight_max`."""
        done: Deferred[A] = Deferred(lambda _: self._abandon(entry))
        entry = _Entry(request, weight, done)
        self._entries.append(entry)
        self._schedule()
        return done

    @property
    def waiting(self) -> int:
        """Requests that are in no batch yet."""
        return len(self._entries)

    def _abandon(self, entry: _Entry[Q, A]) -> None:
        entry.done = None

    def _schedule(self) -> None:
        if self._flushing or not self._entries or self._in_flight >= self._in_flight_max:
            return
        if self._in_flight and self._patience and len(self._entries) < self._count_max:
            if self._impatient is None:
                self._impatient = self._reactor.callLater(self._patience, self._flush)
            return
        self._flushing = True
        self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._impatient is not None:
            if self._impatient.active():
                self._impatient.cancel()
            self._impatient = None
        while self._entries and self._in_flight < self._in_flight_max:
            batch = self._next()
            if batch:
                self._in_flight += 1
                self._send([entry.request for entry in batch]).addCallbacks(
                    self._answer, self._fail, (batch,), {}, (batch,)
                )

    def _next(self) -> list[_Entry[Q, A]]:
        batch: list[_Entry[Q, A]] = []
        weight = 0
        while self._entries and len(batch) < self._count_max:
            entry = self._entries[0]
            if entry.done is not None:
                if batch and self._weight_max and weight + entry.weight > self._weight_max:
                    break
                weight += entry.weight
                batch.append(entry)
            self._entries.popleft()
        return batch

    def _answer(self, answers: list[A], batch: list[_Entry[Q, A]]) -> None:
        self._in_flight -= 1
        self._schedule()
        for entry, answer in zip(batch, answers, strict=True):
            if entry.done is not None:
                entry.done.callback(answer)

    def _fail(self, failure: Failure, batch: list[_Entry[Q, A]]) -> None:
        if len(batch) == 1 or isinstance(failure.value, Temporary):
            self._in_flight -= 1
            self._schedule()
            for entry in batch:
                if entry.done is not None:
                    entry.done.errback(Failure(failure.value))  # type: ignore[no-untyped-call]
            return
        # One of them cannot be stored: each alone tells which. The batch's place is kept until they are done.
        left = len(batch)

        def over(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._in_flight -= 1
                self._schedule()

        for entry in batch:
            self._send([entry.request]).addCallbacks(self._one, self._one, (entry,), {}, (entry,)).addBoth(over)

    def _one(self, result: "list[A] | Failure", entry: _Entry[Q, A]) -> None:
        if entry.done is None:
            return
        if isinstance(result, Failure):
            entry.done.errback(result)
        else:
            entry.done.callback(result[0])
