"""`SdkStore`: what every store on a vendor's SDK does alike around its requests."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from ..errors import AccessDenied, BackendTimeout, TiercacheError
from .client import LazyClient
from .faults import Absent, Conflict, Faults, Refused
from .objects import ObjectStore
from .sockets import until

C = TypeVar("C")


class SdkStore(ObjectStore, Generic[C]):
    """A bucket reached through an SDK's client, one request at a time, each with a deadline that holds.

    Args:
        client: where the client comes from.
        faults: the errors of this bucket.
    """

    def __init__(self, client: LazyClient[C], faults: Faults) -> None:
        self._client = client
        self._faults = faults
        self._seen = False

    @abstractmethod
    def translate(self, error: Exception, operation: str, deadline: float | None) -> TiercacheError | None:
        """Return the error to raise in place of the SDK's; None for one that is not the SDK's."""

    def spoils_credentials(self, error: Exception) -> bool:
        """Whether the credentials themselves were refused, so that fresh ones may help."""
        return False

    @contextmanager
    def calling(self, operation: str, deadline: float | None) -> Iterator[C]:
        """Lend the client for one request that ends by the deadline; map what it raises."""
        client: C | None = None
        try:
            with until(deadline):
                client = self._client.get()
                _check_time(deadline)  # making the client takes a while
                yield client
        except TiercacheError:
            raise
        except Exception as error:
            mapped = self.translate(error, operation, deadline)
            if mapped is None:
                raise
            if client is not None and self.spoils_credentials(error):
                self._client.forget(client)
            raise mapped from None
        self._seen = True

    def check_container(self, name: str, deadline: float | None) -> None:
        """Raise when the bucket is missing; for answers that do not tell which of object and bucket is.

        It is looked into once, until something in it has been found.
        """
        if self._seen:
            return
        try:
            self.probe(name, deadline=deadline)
        except AccessDenied:  # it is there
            self._seen = True

    def rebuild(self) -> None:
        """Use another client from the next request on."""
        self._client.renew()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def took_place(attempt: Callable[[], object]) -> bool:
    """Return whether a conditional write took place; one that conflicts with another is tried once more."""
    for _ in range(2):
        try:
            attempt()
        except (Refused, Absent):
            return False
        except Conflict:
            continue
        return True
    return False


def _check_time(deadline: float | None) -> None:
    if deadline is not None and deadline <= time.monotonic():
        raise BackendTimeout("the deadline passed before the request was sent")
