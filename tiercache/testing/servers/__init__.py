"""Real servers on free loopback ports: Redis, S3, Google Cloud Storage, Azure Blob.

Each function is a context manager. The server answers when the block begins, and is gone when the block ends
or the process that opened it dies, however it dies. A server that cannot be had here raises
`ServerUnavailable`; this module itself imports without any of the packages.

    with redis_server() as redis, s3_server() as s3:
        run(redis.url, s3.endpoint_url, s3.access_key, s3.secret_key)

They come from wheels of the running environment, from PATH, or (Azurite, ministack) from the directory `.servers/`
of the working directory or of one of its parents, which `TIERCACHE_SERVERS_DIR` can name instead.
"""

from .azure import AzureServer, azurite_server
from .gcs import GCSServer, fake_gcs_server, gcp_storage_emulator, gcs_server
from .process import ServerUnavailable
from .redis import RedisServer, redis_server
from .redis_cluster import RedisCluster, redis_cluster
from .redis_sentinel import RedisSentinels, redis_sentinels
from .s3 import S3Server, ministack_server, moto_server, s3_server, seaweedfs_server

__all__ = [
    "AzureServer",
    "GCSServer",
    "RedisCluster",
    "RedisSentinels",
    "RedisServer",
    "S3Server",
    "ServerUnavailable",
    "azurite_server",
    "fake_gcs_server",
    "gcp_storage_emulator",
    "gcs_server",
    "ministack_server",
    "moto_server",
    "redis_cluster",
    "redis_sentinels",
    "redis_server",
    "s3_server",
    "seaweedfs_server",
]
