"""Remote backends whose peer is a port of this machine; an SDK is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from tiercache import Backend, Cache, MemoryBackend, Tier, TierChain

KEY = "c2VjcmV0LWNhbmFyeQ=="


def redis_at(port: int, tls: bool = False) -> Backend:
    from tiercache_redis import RedisBackend

    return RedisBackend(f"redis{'s' if tls else ''}://127.0.0.1:{port}/0")


def s3_at(port: int, tls: bool = False) -> Backend:
    from tiercache_s3 import S3Backend

    return S3Backend(
        "bucket", endpoint_url=_url(port, tls), access_key_id="k", secret_access_key="s", region="us-east-1"
    )


def gcs_at(port: int, tls: bool = False) -> Backend:
    from tiercache_gcs import GCSBackend

    return GCSBackend("bucket", endpoint_url=_url(port, tls), anonymous=True)


def azure_at(port: int, tls: bool = False) -> Backend:
    from tiercache_azure import AzureBlobBackend

    return AzureBlobBackend("container", account_url=f"{_url(port, tls)}/account", credential=KEY)


def _url(port: int, tls: bool) -> str:
    return f"http{'s' if tls else ''}://127.0.0.1:{port}"


STORES: dict[str, Callable[..., Backend]] = {"redis": redis_at, "s3": s3_at, "gcs": gcs_at, "azure": azure_at}


def cache_on(backend: Backend, *, timeout: float, breaker: bool = True) -> Cache:
    """A cache on memory and this backend, as the tier `remote`."""
    return Cache(TierChain(MemoryBackend(), Tier(backend, name="remote", timeout=timeout, breaker=breaker)))
