"""`S3Backend`: entries in Amazon S3, or in any store that speaks its API."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self
from urllib.parse import SplitResult

from tiercache.entry import Clock
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.findings import Finding, Permission
from tiercache.objectstore import ObjectStoreBackend
from tiercache.objectstore.address import checked_bucket, in_url, with_environment
from tiercache.objectstore.advice import TYPICAL_ENTRY
from tiercache.objectstore.client import LazyClient
from tiercache.units import Duration, Size

from .classes import RULES, S3StorageClass, usable_class

_SECRETS = {"access_key_id", "secret_access_key", "session_token"}
_SPARE_CONNECTIONS = 16  # for callers in threads of their own, beside both pools


class S3Backend(ObjectStoreBackend):
    """Entries as objects in an S3 bucket (see `ObjectStoreBackend` for what each operation costs).

    The constructor does no I/O; the first operation makes the SDK's client. Neither the SDK nor this class retries,
    but for one conflict of conditional writes. Objects that a lifecycle rule archived are misses; nothing is restored.

    Args:
        bucket: its name; it must exist.
        prefix: what the names of all objects start with; a `/` is added at its end.
        region: None: from `AWS_REGION`, `AWS_DEFAULT_REGION` or the profile.
        endpoint_url: of an S3-compatible store; None: Amazon's, or what `AWS_ENDPOINT_URL_S3` says.
        storage_class: the class of new objects that ask for none; those that cannot serve a cache are refused.
        access_key_id: with `secret_access_key`; None: the SDK's search (environment, files, role).
        secret_access_key: see `access_key_id`.
        session_token: of temporary credentials.
        profile: of the AWS configuration files.
        sse: `AES256` or `aws:kms`; None: as the bucket does by default.
        kms_key_id: for `aws:kms`; None: the account's default key.
        path_style: whether the bucket stands in the path; None: only with another endpoint than Amazon's.
        checksums: `when_supported` sends a CRC with each write; `when_required` is for stores that refuse it; None:
            `when_required` with another endpoint than Amazon's.
        timeout: seconds for one operation, connecting included; None: 60 without a byte. A tier may set the
            attribute later: every operation asks for it anew. The SDK's own timeouts, a second line behind it, stay
            as they were when the client was made.
        max_concurrency: requests of a batch side by side.
        max_entry_bytes: the largest payload.
        typical_entry_bytes: stored bytes of an entry, for the figure in a `StorageClassWarning` until a hundred
            were written.
        clock: Unix seconds; for tests.

    Raises:
        MissingExtra: boto3 is not installed.
        ConfigurationError: an option has no such value, or does not go with another.
    """

    scheme: ClassVar[str] = "s3"
    rules = RULES

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        region: str | None = None,
        endpoint_url: str | None = None,
        storage_class: str = S3StorageClass.STANDARD,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        session_token: str | None = None,
        profile: str | None = None,
        sse: Literal["AES256", "aws:kms"] | None = None,
        kms_key_id: str | None = None,
        path_style: bool | None = None,
        checksums: Literal["when_supported", "when_required"] | None = None,
        timeout: Duration | None = 2.0,
        max_concurrency: int = 16,
        max_entry_bytes: Size = "16MiB",
        typical_entry_bytes: Size = TYPICAL_ENTRY,
        clock: Clock = time.time,
    ) -> None:
        checked_bucket(bucket, self.scheme)
        if (access_key_id is None) != (secret_access_key is None) or (session_token and access_key_id is None):
            raise ConfigurationError("access_key_id and secret_access_key go together, session_token goes with them")
        if checksums not in (None, "when_supported", "when_required"):
            raise ConfigurationError(f"checksums={checksums!r} must be 'when_supported' or 'when_required'")
        compatible = bool(endpoint_url or _configured_endpoint(os.environ))
        put_options = {"StorageClass": usable_class(storage_class).value, **_encryption(sse, kms_key_id)}
        try:
            from .bucket import S3Bucket
            from .client import Connection, build
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in ("boto3", "botocore"):
                raise
            raise MissingExtra("S3Backend", "s3") from None
        connection = Connection(
            region=region,
            endpoint_url=endpoint_url,
            access_key_id=access_key_id,
            secret_access_key=secret_access_key,
            session_token=session_token,
            profile=profile,
            path_style=compatible if path_style is None else path_style,
            checksums=checksums or ("when_required" if compatible else "when_supported"),
            connections=2 * max_concurrency + _SPARE_CONNECTIONS,
        )
        client = LazyClient(
            lambda: build(connection, self.timeout), lambda client: client.close(), renewable=access_key_id is None
        )
        self._calls = S3Bucket(bucket, client, put_options)
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
        self.storage_class = S3StorageClass(storage_class)

    def examine(self, *, deadline: float | None = None) -> list[Finding]:
        """Return what the bucket says of itself that its operator should know: versions, rules that archive entries."""
        from . import examination

        return examination.examine(self._calls, self.bucket, self.prefix, deadline=self.due(deadline))

    def server_time(self, *, deadline: float | None = None) -> float | None:
        """Return the store's clock in whole seconds, by a listing's date; None: it told none."""
        return self._calls.time(self.prefix, deadline=self.due(deadline))

    def allow(self, permission: Permission) -> str:
        """Return the statement of an IAM policy that grants a permission."""
        from . import examination

        return examination.allow(permission, self.bucket, self.prefix)

    @classmethod
    def url_arguments(cls, url: SplitResult) -> dict[str, str]:
        """Return bucket and prefix of `s3://bucket/prefix`.

        Raises:
            ConfigurationError: the URL holds credentials, or a port.
        """
        return in_url(url, "endpoint_url and profile, and from_env", _SECRETS)

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Return a backend made from environment variables.

        `TIERCACHE_S3_BUCKET`, `TIERCACHE_S3_PREFIX`, `TIERCACHE_S3_STORAGE_CLASS`; `AWS_REGION` or
        `AWS_DEFAULT_REGION`; `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`; `AWS_ACCESS_KEY_ID`,
        `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or `AWS_PROFILE`. What is empty counts as not set.

        Args:
            env: the variables; None: those of this process.
            options: arguments of the constructor; they come before the variables.

        Raises:
            ConfigurationError: `TIERCACHE_S3_BUCKET` is not set.
        """
        env = os.environ if env is None else env  # as a default it would stand in help()
        found = {
            "bucket": env.get("TIERCACHE_S3_BUCKET"),
            "prefix": env.get("TIERCACHE_S3_PREFIX"),
            "storage_class": env.get("TIERCACHE_S3_STORAGE_CLASS"),
            "region": env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION"),
            "endpoint_url": _configured_endpoint(env),
        }
        if env.get("AWS_ACCESS_KEY_ID") and env.get("AWS_SECRET_ACCESS_KEY"):
            found["access_key_id"] = env["AWS_ACCESS_KEY_ID"]
            found["secret_access_key"] = env["AWS_SECRET_ACCESS_KEY"]
            found["session_token"] = env.get("AWS_SESSION_TOKEN")
        else:
            found["profile"] = env.get("AWS_PROFILE")
        return cls(**with_environment(found, options, "TIERCACHE_S3_BUCKET"))


def _configured_endpoint(env: Mapping[str, str]) -> str | None:
    return env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")


def _encryption(sse: str | None, kms_key_id: str | None) -> dict[str, str]:
    if sse not in (None, "AES256", "aws:kms"):
        raise ConfigurationError(f"sse={sse!r} must be 'AES256', 'aws:kms' or None (the bucket's default)")
    if kms_key_id is not None and sse != "aws:kms":
        raise ConfigurationError("kms_key_id goes with sse='aws:kms'")
    options = {} if sse is None else {"ServerSideEncryption": sse}
    return options if kms_key_id is None else {**options, "SSEKMSKeyId": kms_key_id}
