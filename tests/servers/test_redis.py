"""Redis as a server of the tests: Valkey from its wheel, or what PATH has."""

import redis

from tests.servers.support import had
from tiercache.testing.servers import redis_server


def test_it_answers_and_says_what_it_is():
    with had(redis_server()) as server, redis.Redis.from_url(server.url) as client:
        assert client.ping()
        assert server.kind.startswith(("valkey ", "redis-server "))


def test_it_serves_a_kept_directory_again(tmp_path):
    with had(redis_server(directory=tmp_path)) as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
    with had(redis_server(directory=tmp_path)) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"value"


def test_it_keeps_nothing_without_a_directory():
    with had(redis_server()) as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
    with had(redis_server()) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") is None
