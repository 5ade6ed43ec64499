"""`Parts`: a batch that is done in parts: what fails in one keeps no other from being done, and is named at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sized
from typing import Any

from ..errors import BackendError, ConfigurationError, PartialFailure


class Parts:
    """What failed, and what succeeded in parts that failed.

    Args:
        whole: the keys of the batch. The error of a part that is the whole is raised as it is.

    Attributes:
        failed: the error of each key.
        partial: the results of parts of which some keys failed.
    """

    def __init__(self, whole: Sized) -> None:
        self._size = len(whole)
        self._wrong: ConfigurationError | None = None
        self.failed: dict[str, BackendError] = {}
        self.partial: list[Any] = []

    @contextlib.contextmanager
    def part(self, keys: list[str]) -> Iterator[None]:
        """Keep what fails within for the end."""
        try:
            yield
        except (BackendError, ConfigurationError) as error:
            if len(keys) == self._size:
                raise
            if isinstance(error, PartialFailure):
                self.failed |= error.failed
                self.partial.append(error.results)
            elif isinstance(error, BackendError):
                self.failed |= dict.fromkeys(keys, error)
            else:
                self._wrong = self._wrong or error

    def check(self, results: Any) -> None:
        """Say what failed; `results` is what succeeded.

        Raises:
            ConfigurationError: of a part, now that the others are done.
            PartialFailure: keys failed.
        """
        if self._wrong is not None:
            raise self._wrong
        if self.failed:
            raise PartialFailure(self.failed, results)
