"""Claims on request keys among all machines that share a PostgreSQL catalogue.

In: advisory locks on one connection of their own. Out: claims beside a catalogue in a file (`resources.claims`).

The server frees the locks when the connection ends, so nothing is left behind by `kill -9` or by a machine that is
gone. They belong to the session: a connection pooler between has to be in session mode.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection
from typing import Self

import psycopg2
from psycopg2.errors import OutOfMemory
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from resources.claims import claim_number
from resources.errors import LakeError
from resources.lake_errors import explain


class PostgresClaims:
    """Advisory locks by `claim_number`; implements `resources.inference.RequestClaims`.

    `libpq_string` is what follows `postgres:` in LAKE_CATALOG. Connects at the first claim. Each instance is a
    claimant of its own, also within one process. A claim takes one of the server's `max_locks_per_transaction` x
    `max_connections` lock slots (6,400 by default, shared by all).
    """

    def __init__(self, libpq_string: str) -> None:
        self._libpq_string = libpq_string
        self._connection: Connection | None = None
        self._ours: set[int] = set()
        self._lock = threading.Lock()
        self._loss: LakeError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._disconnect()

    def claim(self, request_keys: Collection[str]) -> set[str]:
        """Those of the keys that are ours now. LakeError where the server is not reached or has no lock left."""
        with self._lock:
            if self._loss is not None:
                # What it held is free for others by now; going on as if it were ours would buy answers twice.
                raise self._loss
            numbers = {key: claim_number(key) for key in request_keys}
            self._ours.update(self._call("pg_try_advisory_lock", set(numbers.values()) - self._ours))
            if self._loss is not None:
                raise self._loss
            return {key for key, number in numbers.items() if number in self._ours}

    def release(self, request_keys: Collection[str]) -> None:
        """Give up those of the keys that are ours; a lost connection has given them up already."""
        with self._lock:
            numbers = {claim_number(key) for key in request_keys} & self._ours
            self._call("pg_advisory_unlock", numbers)
            self._ours -= numbers

    def _call(self, function: str, numbers: set[int]) -> list[int]:
        """The numbers for which the function said true; after an error none, and `_loss` says what it was."""
        if not numbers or self._loss is not None:
            return []
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(self._libpq_string, application_name="synth_claims")
                self._connection.autocommit = True
            with self._connection.cursor() as cursor:
                statement = f"SELECT number, {function}(number) FROM unnest(%s::bigint[]) AS number"  # noqa: S608
                cursor.execute(statement, [sorted(numbers)])
                return [number for number, is_done in cursor.fetchall() if is_done]
        except psycopg2.Error as error:
            # Which of them were locked before the error is not known; without its connection none is.
            self._loss = _explained(error)
            self._disconnect()
            return []

    def _disconnect(self) -> None:
        self._ours.clear()
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
            self._connection = None


def _explained(error: psycopg2.Error) -> LakeError:
    if isinstance(error, OutOfMemory):
        return LakeError(
            f"The lake's PostgreSQL server has no lock left for a claim. ({str(error).strip().splitlines()[0]})",
            "Raise max_locks_per_transaction in its configuration, or let fewer runs work at once.",
        )
    return explain(error)
