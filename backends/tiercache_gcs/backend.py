"""`GCSBackend`: entries in Google Cloud Storage."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Self
from urllib.parse import SplitResult

from tiercache.entry import Clock
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.findings import Finding, Permission
from tiercache.objectstore import ObjectStoreBackend
from tiercache.objectstore.address import checked_bucket, checked_endpoint, in_url, with_environment
from tiercache.objectstore.advice import TYPICAL_ENTRY
from tiercache.objectstore.client import LazyClient
from tiercache.units import Duration, Size

from .classes import RULES, GCSStorageClass, usable_class

_SPARE_CONNECTIONS = 16  # for callers in threads of their own, beside both pools
_PACKAGES = {"google", "requests", "urllib3"}


class GCSBackend(ObjectStoreBackend):
    """Entries as objects in a Google Cloud Storage bucket (see `ObjectStoreBackend` for what each operation costs).

    The constructor does no I/O; the first operation makes the SDK's client and looks for credentials. Nothing is
    tried again, but for a request whose token was refused (once, with another) and one conflict of conditional
    writes. An object carries the end of its entry as its custom time, by which `apply_lifecycle` has it deleted.

    Google takes one write a second for each name: a key that is written more often is `BackendUnavailable` now and
    then. Buckets keep what was deleted for seven days, and bill it, unless soft delete is switched off.

    Args:
        bucket: its name; it must exist.
        prefix: what the names of all objects start with; a `/` is added at its end.
        storage_class: the class of new objects that ask for none.
        project: that the SDK's client is told; reading and writing objects needs none.
        credentials: a `google.auth.credentials.Credentials`. With neither these nor one of the next three, google-auth
            looks for some: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's login, the machine's service account.
        credentials_file: a file of any kind that `GOOGLE_APPLICATION_CREDENTIALS` may name; read when needed.
        credentials_json: the key of a service account, as JSON or a dict.
        anonymous: whether to send no credentials; None: at an emulator, which is what `STORAGE_EMULATOR_HOST` or an
            endpoint without TLS is taken for, where no credentials are given.
        endpoint_url: of another host than Google's; None: what `STORAGE_EMULATOR_HOST` says.
        timeout: seconds for one operation, a search for credentials included; None: 60 without a byte.
        max_concurrency: requests of a batch side by side.
        max_entry_bytes: the largest payload.
        typical_entry_bytes: stored bytes of an entry, for the figure in a `StorageClassWarning` until a hundred
            were written.
        clock: Unix seconds; for tests.

    Raises:
        MissingExtra: google-cloud-storage is not installed.
        ConfigurationError: an option has no such value, or does not go with another.
    """

    scheme: ClassVar[str] = "gs"
    rules = RULES

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        storage_class: str = GCSStorageClass.STANDARD,
        project: str | None = None,
        credentials: Any = None,
        credentials_file: str | os.PathLike[str] | None = None,
        credentials_json: str | Mapping[str, Any] | None = None,
        anonymous: bool | None = None,
        endpoint_url: str | None = None,
        timeout: Duration | None = 2.0,
        max_concurrency: int = 16,
        max_entry_bytes: Size = "16MiB",
        typical_entry_bytes: Size = TYPICAL_ENTRY,
        clock: Clock = time.time,
    ) -> None:
        checked_bucket(bucket, self.scheme)
        given = sum(each is not None for each in (credentials, credentials_file, credentials_json))
        if given > 1 or (given and anonymous):
            raise ConfigurationError(
                "give one of credentials, credentials_file and credentials_json; none of them with anonymous=True"
            )
        if credentials is not None and not hasattr(credentials, "before_request"):
            raise ConfigurationError("credentials must be an object of google-auth; for a file see credentials_file")
        self.storage_class = usable_class(storage_class)
        emulator = _emulator(os.environ)
        if endpoint_url is not None or emulator is not None:
            endpoint_url = checked_endpoint(endpoint_url or emulator or "")
        if anonymous is None:
            plain = endpoint_url is not None and (endpoint_url == emulator or endpoint_url.startswith("http://"))
            anonymous = plain and not given
        try:
            from .bucket import GCSBucket
            from .client import Connection, build
            from .tokens import of_service_account
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _PACKAGES:
                raise
            raise MissingExtra("GCSBackend", "gcs") from None
        connection = Connection(
            project=project,
            endpoint_url=endpoint_url,
            credentials=credentials if credentials_json is None else of_service_account(credentials_json),
            credentials_file=None if credentials_file is None else os.fspath(credentials_file),
            anonymous=anonymous,
            connections=2 * max_concurrency + _SPARE_CONNECTIONS,
        )
        client = LazyClient(
            partial(build, connection),
            lambda link: link.client.close(),
            renewable=connection.credentials is None and not anonymous,
        )
        self._calls = GCSBucket(bucket, client, self.storage_class.value)
        super().__init__(
            self._calls,
            prefix=prefix,
            timeout=timeout,
            max_concurrency=max_concurrency,
            max_entry_bytes=max_entry_bytes,
            typical_entry_bytes=typical_entry_bytes,
            clock=clock,
        )
        self.bucket = bucket

    def examine(self, *, deadline: float | None = None) -> list[Finding]:
        """Return what the bucket says of itself that its operator should know: soft delete, and versions."""
        from . import examination

        return examination.examine(self._calls, self.bucket, deadline=self.due(deadline))

    def server_time(self, *, deadline: float | None = None) -> float | None:
        """Return the store's clock in whole seconds, by a listing's date; None: it told none."""
        return self._calls.time(self.prefix, deadline=self.due(deadline))

    def allow(self, permission: Permission) -> str:
        """Return the command that grants a permission."""
        from . import examination

        return examination.allow(permission, self.bucket)

    @classmethod
    def url_arguments(cls, url: SplitResult) -> dict[str, str]:
        """Return bucket and prefix of `gs://bucket/prefix`.

        Raises:
            ConfigurationError: the URL holds credentials, or a port.
        """
        return in_url(url, "endpoint_url and credentials_file", {"credentials_json"})

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return a backend made from environment variables.

        `TIERCACHE_GCS_BUCKET`, `TIERCACHE_GCS_PREFIX`, `TIERCACHE_GCS_STORAGE_CLASS`; `GOOGLE_CLOUD_PROJECT`;
        `STORAGE_EMULATOR_HOST`, or else `GOOGLE_APPLICATION_CREDENTIALS`. What is empty counts as not set.

        Args:
            env: the variables; None: those of this process.
            options: arguments of the constructor; they come before the variables.

        Raises:
            ConfigurationError: `TIERCACHE_GCS_BUCKET` is not set.
        """
        env = os.environ if env is None else env  # as a default it would stand in help()
        found: dict[str, Any] = {
            "bucket": env.get("TIERCACHE_GCS_BUCKET"),
            "prefix": env.get("TIERCACHE_GCS_PREFIX"),
            "storage_class": env.get("TIERCACHE_GCS_STORAGE_CLASS"),
            "project": env.get("GOOGLE_CLOUD_PROJECT"),
        }
        emulator = _emulator(env)
        if not options.keys() & {"credentials", "credentials_file", "credentials_json", "anonymous"}:
            found["anonymous"] = emulator is not None
            found["credentials_file"] = None if emulator else env.get("GOOGLE_APPLICATION_CREDENTIALS")
        found["endpoint_url"] = emulator
        return cls(**with_environment(found, options, "TIERCACHE_GCS_BUCKET"))


def _emulator(env: Mapping[str, str]) -> str | None:
    """The emulator's URL; its host and port alone will do, as they do for Google's other libraries."""
    host = env.get("STORAGE_EMULATOR_HOST")
    return None if not host else host.rstrip("/") if "://" in host else f"http://{host.rstrip('/')}"
