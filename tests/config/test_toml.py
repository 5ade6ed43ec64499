"""Caches from TOML files: what each part becomes, and errors that name the line and the fix and show no secret."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from tiercache import Cache, TierChain
from tiercache.errors import ConfigurationError, MissingExtra
from tiercache.packed import PackedBackend
from tiercache.sealing.keyring import KeyRing

Write = Callable[[str], Path]

WHOLE = """\
# A cache of [answers]
[cache]
namespace = "search"
ttl = "30d"
refresh_ahead = 0.2
stale_if_error = true
stale_for = "1d"

[chain]
strict = false
lease = "30s"

[[tiers]]
url = "memory://?max_bytes=256MiB"
max_entries = 500

[[tiers]]
url = "redis://app@localhost:6379/0"
password = "env:PASSWORD"
timeout = 0.2
breaker = { failures = 3 }

[[tiers]]
backend = "s3"
bucket = "my-bucket"
prefix = "answers/"
region = "eu-central-1"
max_concurrency = 4
access_key_id = "env:PASSWORD"
secret_access_key = "env:PASSWORD"
write = "behind"
max_ttl = "none"

[[tiers.storage_classes]]
storage_class = "STANDARD_IA"
min_ttl = "90d"
attributes = { model = "large" }

[switches]
s3 = "read-only"
redis = { ramp = 25, namespaces = { search = "shadow" } }
"""


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setenv("PASSWORD", secret)


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Cache.from_toml(path)
    return str(caught.value)


def test_a_whole_cache(write: Write) -> None:
    with Cache.from_toml(write(WHOLE)) as cache:
        memory, redis, s3 = cache.chain.tiers
        assert (cache.namespace, cache.ttl) == ("search", 30 * 86400)
        assert (memory.backend.max_bytes, memory.backend.max_entries) == (256 * 2**20, 500)
        assert (redis.timeout, redis.breaker.policy.failures) == (0.2, 3)
        assert (s3.write, s3.max_ttl, s3.backend.concurrency, s3.backend.prefix) == ("behind", None, 4, "answers/")
        (rule,) = s3.storage_classes
        assert (rule.storage_class, rule.min_ttl, rule.attributes) == ("STANDARD_IA", 90 * 86400, {"model": "large"})
        assert cache.chain.switches.as_dict() == {
            "memory": "on",
            "redis": "on, 25 % of the keys; search: shadow",
            "s3": "read-only",
        }


def test_a_chain_alone(write: Write) -> None:
    chain = TierChain.from_toml(write(WHOLE))
    assert [tier.name for tier in chain.tiers] == ["memory", "redis", "s3"]
    chain.close()


def test_a_file_without_tiers_is_memory_and_disk(write: Write) -> None:
    with Cache.from_toml(write("[cache]\nnamespace = 'n'\n")) as cache:
        assert [tier.name for tier in cache.chain.tiers] == ["memory", "disk"]


def test_packed_stores(write: Write) -> None:
    chain = TierChain.from_toml(write("[[tiers]]\nbackend = 's3+packed'\nbucket = 'b'\nsegment_bytes = '4MiB'\n"))
    backend = chain.tiers[0].backend
    assert isinstance(backend, PackedBackend)
    assert backend.segment_bytes == 4 * 2**20
    chain.close()


def test_the_cache_of_a_disabled_process_has_no_tiers(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERCACHE_DISABLED", "1")
    with Cache.from_toml(write(WHOLE)) as cache:
        assert cache.chain.tiers == ()


MISTAKES = {
    "an unknown section": ("[cache]", "[cahce]", 2, "no section 'cahce' (did you mean 'cache'?)"),
    "no TOML": ("lease =", "lease ", 11, "this is no TOML"),
    "an option of the cache": ("ttl =", "ttll =", 4, "Cache has no option 'ttll' (did you mean 'ttl'?)"),
    "an option of the chain": ("strict", "strikt", 10, "(did you mean 'strict'?)"),
    "no duration": ('"30s"', '"30 parsecs"', 11, "lease='30 parsecs' is not a duration"),
    "no fraction": ("refresh_ahead = 0.2", "refresh_ahead = 2", 5, "refresh_ahead must be a number between 0 and 1"),
    "no size in a URL": ("256MiB", "256MoB", 14, "max_bytes='256MoB' is not a size"),
    "an option beside a URL": (
        "max_entries",
        "max_entry",
        15,
        "has no option 'max_entry' (did you mean 'max_entries'?)",
    ),
    "a number that is text": ("= 4\n", "= '4'\n", 28, "max_concurrency of S3Backend must be a whole number, not text"),
    "a date": ("strict = false", "strict = 2026-01-01", 10, "must be true or false, not a date or time"),
    "an option that Redis would not know": ("timeout = 0.2", "timout = 0.2", 20, "(did you mean 'timeout'?)"),
    "an option beside a password that Redis does not know": (
        "timeout = 0.2",
        "flurb = 1",
        20,
        "RedisBackend has no option 'flurb'; it takes ",
    ),
    "credentials of an object store beside a URL": (
        'backend = "s3"\nbucket = "my-bucket"\nprefix = "answers/"\n',
        'url = "s3://my-bucket/answers/"\n\n\n',
        29,
        "write backend = 's3' in its place, with bucket, prefix and access_key_id as options",
    ),
    "a figure of the breaker": ("failures = 3", "failures = 0", 21, "failures of a BreakerPolicy must be"),
    "an unknown figure": ("failures = 3", "failurs = 3", 21, "(did you mean 'failures'?)"),
    "an unknown backend": ('"s3"', '"s4"', 24, "no backend for s4://"),
    "a choice": ('"behind"', '"behnd"', 31, "must be one of through, behind, never (did you mean 'behind'?)"),
    "a storage class": ('"STANDARD_IA"', '"STANDARD_IB"', 34, "is unknown to S3"),
    "a rule's option": ("min_ttl", "min_tll", 36, "StorageClassRule has no option 'min_tll'"),
    "a missing place": ('bucket = "my-bucket"\n', "", 23, "S3Backend needs bucket"),
    "a tier without a backend": ('backend = "s3"\n', "", 23, "a tier needs a url"),
    "both": ('backend = "s3"\n', 'backend = "s3"\nurl = "gs://b"\n', 24, "backend and url differ"),
    "said twice": ("max_entries = 500", "max_bytes = '1MiB'", 15, "max_bytes stands in the url, too"),
    "a switch's tier": ("s3 = ", "s4 = ", 40, "no tier is named 's4' (did you mean 's3'?)"),
    "a switch's mode": ('"read-only"', '"readonly"', 40, "(did you mean 'read-only'?)"),
    "a switch's ramp": ("ramp = 25", "ramp = 250", 41, "ramp must be a percentage, 0 to 100"),
    "a switch's option": ("ramp = 25", "rampe = 25", 41, "(did you mean 'ramp'?)"),
    "a missing variable": ("env:PASSWORD", "env:NOT_THERE", 19, "env:NOT_THERE: the variable NOT_THERE is not set"),
    "a missing file": ("env:PASSWORD", "file:not-there", 19, "file:not-there: the file cannot be read"),
    "tables in the wrong place": ("[[tiers]]\nurl", "[tiers]\nurl", 13, "write [[tiers]]"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_what_to_do(write: Write, name: str) -> None:
    before, after, line, words = MISTAKES[name]
    assert before in WHOLE
    path = write(WHOLE.replace(before, after, 1))
    if name == "tables in the wrong place":
        path = write("[cache]\n" + "\n" * 11 + "[tiers]\nurl = 'memory://'\n")
    said = refusal(path)
    assert said.startswith(f"{path}, line {line}: "), said
    assert words in said
    assert said.count(str(path)) == 1


@pytest.mark.parametrize(
    ("scheme", "option", "place"),
    [
        ("s3", "secret_access_key", "bucket, prefix"),
        ("s3+packed", "session_token", "bucket, prefix"),
        ("gs", "credentials_json", "bucket, prefix"),
        ("az", "connection_string", "container, prefix"),
    ],
)
def test_credentials_do_not_go_with_a_url_and_it_is_said_what_does(
    write: Write, secret: str, scheme: str, option: str, place: str
) -> None:
    path = write(f'[[tiers]]\nurl = "{scheme}://place/p/"\n{option} = "{secret}"\n')
    said = refusal(path)
    assert said == (
        f"{path}, line 3: {option} does not go with a url: write backend = '{scheme}' in its place, with {place} and "
        f"{option} as options beside it"
    )


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+cluster", "redis+sentinel"])
def test_options_of_the_driver_stand_beside_a_url_of_redis(write: Write, secret: str, scheme: str) -> None:
    own = 'sentinel_password = "x"\n' if scheme == "redis+sentinel" else ""
    path = write(
        f'[[tiers]]\nurl = "{scheme}://localhost:1/{"service/0" if own else ""}"\n'
        f'username = "app"\npassword = "{secret}"\nclient_name = "tests"\n{own}prefix = "p:"\n'
    )
    TierChain.from_toml(path).close()
    path.write_text(path.read_text() + "flurb = 1\n")
    assert refusal(path).startswith(f"{path}, line {8 if own else 7}: RedisBackend has no option 'flurb'; it takes ")


def test_the_sections_of_a_chain_are_checked_whoever_reads_them(write: Write) -> None:
    with pytest.raises(ConfigurationError, match=r"line 2: Cache has no option 'ttll'"):
        TierChain.from_toml(write("[cache]\nttll = 1\n[[tiers]]\nurl = 'memory://'\n"))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml").endswith(
        "none.toml: the configuration cannot be read: No such file or directory"
    )
    (tmp_path / "latin.toml").write_bytes(b"x = '\xe9'")
    assert "it is no text in UTF-8" in refusal(tmp_path / "latin.toml")


def test_an_extra_that_is_missing_keeps_its_class(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tiercache.config.discovery.entry_points", lambda group: ())
    path = write("[[tiers]]\nbackend = 'redis'\n")
    with pytest.raises(MissingExtra, match=r"line 2: .*tiercache\[redis\]"):
        TierChain.from_toml(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("timeout = 0.2", "timeout = 'env:PASSWORD'"),
        ("max_concurrency = 4", "max_concurrency = 'env:PASSWORD'"),
        ('write = "behind"', "write = 'env:PASSWORD'"),
        ('lease = "30s"', "lease = 'env:PASSWORD'"),
        ('"STANDARD_IA"', "'env:PASSWORD'"),
        ('s3 = "read-only"', "s3 = 'env:PASSWORD'"),
        ("redis://app@localhost:6379/0", "env:PASSWORD"),
        ("redis://app@localhost:6379/0", "redis://app:hunter2-hunter2@localhost:port/0"),
        ('"s3"', '"env:PASSWORD"'),
        ("failures = 3", "failures = 'env:PASSWORD'"),
        ('min_ttl = "90d"', "min_ttl = 'env:PASSWORD'"),
        ('secret_access_key = "env:PASSWORD"', "secret_access_key = 'hunter2-hunter2'\nsession_tokn = 1"),
    ],
)
def test_no_message_shows_what_was_fetched(write: Write, secret: str, before: str, after: str) -> None:
    assert before in WHOLE
    with pytest.raises(ConfigurationError) as caught:
        Cache.from_toml(write(WHOLE.replace(before, after, 1)))
    assert secret not in "".join(traceback.format_exception(caught.value))
    assert "line " in str(caught.value)


# Keys


@pytest.fixture
def ring() -> str:
    return f"a:{KeyRing.new_secret()}\nb:{KeyRing.new_secret()}"


def test_keys_from_a_variable(write: Write, monkeypatch: pytest.MonkeyPatch, ring: str) -> None:
    monkeypatch.setenv("RING", ring)
    path = write("[chain]\nkeys = 'env:RING'\n[[tiers]]\nurl = 'memory://'\n[[tiers]]\nurl = 'disk://'\n")
    chain = TierChain.from_toml(path)
    assert "a" in repr(chain.tiers[1].backend.envelope.keys)
    chain.close()


def test_keys_from_a_file_beside_the_configuration(write: Write, tmp_path: Path, ring: str) -> None:
    (tmp_path / "ring").write_text(f"# a comment\n{ring}\n")
    path = write("[chain.keys]\nsource = 'file:ring'\nactive = 'b'\nencrypt = false\n[[tiers]]\nurl = 'disk://'\n")
    chain = TierChain.from_toml(path)
    keys = chain.tiers[0].backend.envelope.keys
    assert (keys.active, keys.encrypt) == ("b", False)
    chain.close()


def test_keys_do_not_belong_into_the_file(write: Write, ring: str) -> None:
    said = refusal(write(f"[chain]\nkeys = '''{ring}'''\n"))
    assert ", line 2: keys must name where the secrets are" in said
    assert ring.split(":")[1][:20] not in said


def test_what_is_wrong_with_keys(write: Write, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    assert ", line 2: env:RING: the variable RING is not set" in refusal(write("[chain]\nkeys = 'env:RING'\n"))
    said = refusal(write("[chain]\nkeys = 'env:PASSWORD'\n"))
    assert "item 1 of PASSWORD must be id:secret" in said
    assert secret not in said
    said = refusal(write("[chain.keys]\nsource = 'env:PASSWORD'\nencrypted = true\n"))
    assert ", line 3: KeyRing has no option 'encrypted' (did you mean 'encrypt'?)" in said


@pytest.mark.parametrize("text", ["x = " + "[" * 5000 + "]" * 5000, "x = " + "9" * 5000])
def test_what_the_parser_gives_up_on_is_a_mistake_of_the_file(write: Write, text: str) -> None:
    path = write(text)
    with pytest.raises(ConfigurationError, match="this is no TOML that can be read") as caught:
        TierChain.from_toml(path)
    assert str(caught.value).startswith(str(path))


def test_a_url_that_stands_as_backend_is_not_shown(write: Write) -> None:
    path = write('[[tiers]]\nbackend = "redis://app:hunter2secret@host/0"\n')
    with pytest.raises(ConfigurationError, match="line 2: backend is a scheme") as caught:
        TierChain.from_toml(path)
    assert "hunter2secret" not in "".join(traceback.format_exception(caught.value))


def test_what_a_rule_refers_to_is_not_shown(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASS", "hunter2secret")
    text = '[[tiers]]\nurl = "s3://b/p/"\n[[tiers.storage_classes]]\nstorage_class = "env:CLASS"\n'
    with pytest.raises(ConfigurationError, match="env:CLASS is unknown") as caught:
        TierChain.from_toml(write(text))
    assert "hunter2secret" not in "".join(traceback.format_exception(caught.value))
