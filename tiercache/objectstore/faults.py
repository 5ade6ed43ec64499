"""What a store's refusal means: the errors that all vendors' codes and exceptions become, in their own words.

No message of an SDK or a server is passed on: they hold object names, and with them keys. What stands in ours is the
vendor's code, the container, the permission and what to do.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..errors import (
    AccessDenied,
    BackendError,
    BackendTimeout,
    BackendUnavailable,
    ConfigurationError,
    EntryTooLarge,
)


class Absent(BackendError):
    """There is no such object, or it is archived. Never leaves the object-store layer."""


class BeyondEnd(ConfigurationError):
    """The store refuses a range: it begins where the object has ended. Only who asks for none lets it pass."""


class Refused(BackendError):
    """The condition of a write or delete does not hold. Never leaves the object-store layer."""


class Conflict(BackendError):
    """Another write to the same name was under way: try again. Never leaves the object-store layer."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds for which a store wants not to be asked (RFC 9110, 10.2.3); None where it does not say so."""
    text = next((text for name, text in headers.items() if name.lower() == "retry-after"), "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    until = seconds_of(text)
    return None if until is None else max(0.0, until - time.time())


def seconds_of(date: str | None) -> float | None:
    """Return the Unix seconds of an HTTP date; None where it is none."""
    try:
        return parsedate_to_datetime(date or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class Words:
    """What a vendor calls things.

    Attributes:
        store: the service, such as `S3`.
        container: `bucket` or `container`.
        endpoint: the option that says where the service is.
        credentials: how to give credentials, in the imperative.
        permissions: the permission that each operation of `SdkStore.calling` needs.
        listing: the permission without which a missing object is denied, not absent; empty where there is none.
        readers: the operations for which that is so.
        clock: what to do when the store says that the time of the request is wrong.
    """

    store: str
    container: str
    endpoint: str
    credentials: str
    permissions: Mapping[str, str]
    listing: str = ""
    readers: frozenset[str] = frozenset()
    clock: str = "the clock of this machine and the store's are too far apart: set this machine's clock (NTP)"


@dataclass(frozen=True, slots=True)
class Faults:
    """The errors of one container.

    Attributes:
        words: the vendor's.
        name: the container's, shown in messages.
    """

    words: Words
    name: str

    @property
    def where(self) -> str:
        """Return `bucket 'name'`."""
        return f"{self.words.container} {self.name!r}"

    def timed_out(self, operation: str, what: str) -> BackendTimeout:
        """The store did not answer in time; `what` is the code or the exception's class, here and below."""
        return BackendTimeout(f"{self.words.store} did not answer {operation} in time ({what})")

    def unreachable(self, operation: str, what: str) -> BackendUnavailable:
        """No answer came at all."""
        return BackendUnavailable(
            f"{self.words.store} cannot be reached for {operation} ({what}): check the network and"
            f" {self.words.endpoint}",
            retry_after=0.0,  # a connection that was idle for too long, most often
        )

    def stuck(self, operation: str, what: str) -> BackendUnavailable:
        """The store cannot do this to this object for now; it serves others."""
        return BackendUnavailable(f"{self.words.store} cannot serve {operation} for now ({what})", tier_wide=False)

    def busy(
        self, operation: str, what: str, *, explained: bool = True, retry_after: float | None = None
    ) -> BackendUnavailable:
        """The store cannot serve for now; not `explained`: it may be something else that answered in its place."""
        hint = "" if explained else f", and check {self.words.endpoint} if that does not help"
        return BackendUnavailable(
            f"{self.words.store} cannot serve {operation} for now ({what}); try again later{hint}",
            retry_after=retry_after or 0.0,
        )

    def no_credentials(self, what: str) -> AccessDenied:
        """The SDK finds no credentials."""
        return AccessDenied(f"no usable credentials for {self.words.store} ({what}): {self.words.credentials}")

    def bad_credentials(self, what: str, advice: str) -> AccessDenied:
        """The store refuses the credentials themselves."""
        return AccessDenied(f"{self.words.store} refuses the credentials ({what}): {advice}")

    def skewed(self, what: str) -> AccessDenied:
        """The store refuses the time of the request."""
        return self.bad_credentials(what, self.words.clock)

    def denied(self, operation: str, what: str) -> AccessDenied:
        """The credentials are good, and do not allow this."""
        hint = ""
        if self.words.listing and operation in self.words.readers:
            hint = f"; without {self.words.listing}, {self.words.store} answers this for a missing key, too"
        permission = self.words.permissions[operation]
        return AccessDenied(f"{self.words.store} denies {permission} on {self.where} ({what}): allow it{hint}")

    def no_container(self) -> ConfigurationError:
        """The container is missing."""
        return ConfigurationError(f"{self.where} does not exist; create it or fix the name")

    def not_a_store(self, what: str) -> ConfigurationError:
        """Something answers there, and it is not this kind of store."""
        return ConfigurationError(
            f"the endpoint does not answer like {self.words.store} ({what}): check {self.words.endpoint}"
        )

    def too_large(self, what: str) -> EntryTooLarge:
        """The store takes no object of this size."""
        return EntryTooLarge(f"{self.words.store} refuses an object of this size ({what}); lower max_entry_bytes")

    def beyond_end(self, operation: str, what: str) -> BeyondEnd:
        """The store has nothing of the range."""
        return BeyondEnd(str(self.refused(operation, what, "check what stands before the store: it asks for ranges")))

    def refused(self, operation: str, what: str, advice: str) -> ConfigurationError:
        """The store refuses the request as it is; `advice` names the options to look at."""
        return ConfigurationError(f"{self.words.store} refuses {operation} on {self.where} ({what}): {advice}")
