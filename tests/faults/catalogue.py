"""The rows of the fault matrix: the catalogue of failures, as far as stores, networks and callers bring them about."""

from __future__ import annotations

from tests.faults import behaviours as act
from tests.faults import injections as make
from tests.faults.fault import READS, STORES, WRITES, Fault
from tests.faults.rigs import PACKED, REMOTE, WEB, WIRED

UNAVAILABLE = frozenset({"BackendUnavailable"})
TIMEOUT = frozenset({"BackendTimeout"})
DENIED = frozenset({"AccessDenied"})
CORRUPT = frozenset({"CorruptEntry"})
UNKNOWN = frozenset({"UnknownFormat", "UnknownKey"})
CONFIGURATION = frozenset({"ConfigurationError"})
HITS = frozenset({"get", "get_many", "get_or_set"})
NO_NETWORK = {"memory": "it is in the process", "disk": "it is a file of this machine"}
REDIS_OWN = {"": "Redis' own"}
DISK_OWN = {"": "the disk's own"}
NO_BYTES = {"memory": "it keeps objects, no bytes that could be damaged"}


def on_the_network(id, title, fault, kinds, *, options=None, **more):
    return Fault(
        id,
        title,
        REMOTE,
        make.network(fault, **(options or {})),
        kinds,
        through="network",
        fresh=True,
        reasons=NO_NETWORK,
        **more,
    )


def answers(id, title, kinds, s3, gcs, azure, redis=None, **more):
    """A store's own answer; without a `redis` one, Redis has none such."""
    web = {"s3": s3, "gcs": gcs, "azure": azure}
    reasons = NO_NETWORK | ({} if redis else {"redis": more.pop("no_redis", "Redis has no such answer")})
    more.setdefault("reasons", reasons)
    stores = REMOTE if redis else WEB
    return Fault(id, title, stores, make.answered(web, redis), kinds, through="script", **more)


def redis_answers(id, title, kinds, line):
    return Fault(id, title, ("redis",), make.answered({}, line), kinds, through="script", reasons=REDIS_OWN)


def stored(id, title, change, kinds, **more):
    return Fault(id, title, WIRED, change, kinds, works=WRITES, reasons=NO_BYTES, **more)


NETWORK = [
    on_the_network("1", "down at the start: refused", "refuse", UNAVAILABLE, from_start=True),
    on_the_network("2a", "goes down: refused", "refuse", UNAVAILABLE),
    on_the_network("2b", "connections are reset", "reset", UNAVAILABLE),
    on_the_network("2c", "connections end without an answer", "half_close", UNAVAILABLE),
    on_the_network("2d", "answers are cut off", "truncate", UNAVAILABLE, options={"size": 3}),
    Fault(
        "2e",
        "restarted: idle connections are dead",
        REMOTE,
        make.dropped,
        UNAVAILABLE,
        loose=True,
        through="network",
        fresh=True,
        reasons=NO_NETWORK,
    ),
    on_the_network("3a", "slow: every answer takes a minute", "latency", TIMEOUT, options={"seconds": 60}, slow=True),
    on_the_network("3b", "drips a byte every 200 ms", "drip", TIMEOUT, options={"seconds": 0.2}, slow=True),
    on_the_network("3c", "a black hole: accepts, never answers", "black_hole", TIMEOUT, slow=True),
    on_the_network("3d", "the network stands still, then all arrives", "stall", TIMEOUT, slow=True),
    on_the_network(
        "6a",
        "a bit is flipped on the way",
        "corrupt",
        UNAVAILABLE | TIMEOUT | CORRUPT | CONFIGURATION | DENIED,
        options={"size": 40},
        slow=True,
        loose=True,
    ),
]

ANSWERS = [
    Fault(
        "4",
        "a part of a batch fails",
        ("disk", "s3", "gcs", "azure"),
        make.partly,
        UNAVAILABLE,
        kinds_of={"disk": CORRUPT},
        operations=frozenset({"get_many"}),
        through="script",
        reasons={"memory": "it answers for all keys or for none", "redis": "a batch is one command; see 4b"}
        | dict.fromkeys(PACKED, "entries that lie together come with one request"),
        check=lambda scene, answer: _good_ones_are_kept(scene, answer),
    ),
    Fault(
        "4b",
        "a part of a batch is of another type",
        ("redis",),
        make.other_redis_types,
        CORRUPT,
        works=WRITES,
        misses=frozenset({"get_many"}),  # MGET says nil for it
        reasons={"": "types are Redis' own"},
        check=lambda scene, answer: scene.operation == "get_many" and _good_ones_are_kept(scene, answer),
    ),
    answers(
        "5a",
        "busy: 503",
        UNAVAILABLE,
        (503, "SlowDown", {"Retry-After": "1"}),
        (503, "backendError", {"Retry-After": "1"}),
        (503, "ServerBusy", {"Retry-After": "1"}),
        b"-BUSY canary-of-the-server is busy running a script\r\n",
    ),
    answers(
        "5b",
        "throttled: 429",
        UNAVAILABLE,
        (429, "TooManyRequests"),
        (429, "rateLimitExceeded"),
        (429, "TooManyRequests"),
        b"-ERR max number of clients reached\r\n",
    ),
    answers(
        "5c",
        "an internal error: 500",
        UNAVAILABLE,
        (500, "InternalError"),
        (500, "internalError"),
        (500, "InternalError"),
    ),
    Fault(
        "9a",
        "wrong credentials",
        REMOTE,
        make.by_store(
            make.answered(
                {"s3": (403, "InvalidAccessKeyId"), "gcs": (401, "authError"), "azure": (403, "AuthenticationFailed")}
            ),
            make.other_password,
        ),
        DENIED,
        kinds_of={"redis": DENIED | UNAVAILABLE},  # the connections that were open are ended, too
        through="script",
        reasons=NO_NETWORK,
    ),
    Fault(
        "9b",
        "a permission is missing",
        REMOTE,
        make.by_store(
            make.answered(
                {
                    "s3": (403, "AccessDenied"),
                    "gcs": (403, "forbidden"),
                    "azure": (403, "AuthorizationPermissionMismatch"),
                }
            ),
            make.other_keys,
        ),
        DENIED,
        kinds_of={"redis": DENIED | UNAVAILABLE},
        through="script",
        reasons=NO_NETWORK,
    ),
    answers(
        "10",
        "the token has expired",
        DENIED,
        (400, "ExpiredToken"),
        (401, "authError"),
        (401, "InvalidAuthenticationInfo"),
        no_redis="its passwords do not expire",
    ),
    answers(
        "11",
        "the bucket is missing (Redis: the database)",
        CONFIGURATION,
        (404, "NoSuchBucket"),
        (404, "notFound"),
        (404, "ContainerNotFound"),
        b"-ERR DB index is out of range\r\n",
    ),
    Fault(
        "12",
        "the object was archived",
        ("s3", "azure", "packed-s3", "packed-azure"),
        make.archived,
        frozenset(),
        misses=READS,
        through="script",
        reasons=NO_NETWORK
        | {"redis": "it does not archive"}
        | dict.fromkeys(("gcs", "packed-gcs"), "it reads what it archived at once"),
    ),
    Fault("13a", "Redis is full", ("redis",), make.full, UNAVAILABLE, works=HITS | {"delete"}, reasons=REDIS_OWN),
    Fault(
        "13b",
        "Redis is a replica, read-only",
        ("redis",),
        make.read_only,
        UNAVAILABLE,
        works=HITS,
        reasons=REDIS_OWN,
    ),
    redis_answers(
        "13c", "Redis is loading its data", UNAVAILABLE, b"-LOADING Redis is loading the dataset in memory\r\n"
    ),
    Fault(
        "25",
        "the store knows no new checksums",
        ("s3", "packed-s3"),
        make.refuses_checksums,
        through="script",
        reasons={"": "S3's own"},
    ),
    Fault(
        "26",
        "objects were stored with gzip",
        ("gcs", "packed-gcs"),
        make.transcoded,
        CORRUPT,
        works=WRITES,
        reasons={"": "only Google unpacks what is downloaded"},
    ),
    Fault(
        "27",
        "a write is done, its answer lost",
        REMOTE,
        make.writes_lose_their_answer,
        UNAVAILABLE | TIMEOUT,
        operations=WRITES,
        through="script",
        reasons=NO_NETWORK,
    ),
    redis_answers("28", "the topology changed: MOVED", CONFIGURATION, b"-MOVED 1234 127.0.0.1:1\r\n"),
]

BYTES = [
    stored("6b", "an object is cut off", make.harmed("cut"), CORRUPT),
    stored("6c", "a bit of an object is flipped", make.harmed("flipped"), CORRUPT),
    Fault(
        "6d",
        "an object is empty",
        tuple(store for store in WIRED if store not in PACKED),
        make.harmed("empty"),
        CORRUPT,
        works=WRITES,
        reasons=NO_BYTES | dict.fromkeys(PACKED, "a record without bytes is a tombstone"),
    ),
    stored(
        "6e",
        "an object is another key's",
        make.bytes_that_are(lambda entry, data: make.another(entry, key=f"{entry.metadata.key}-of-another")),
        CORRUPT,
    ),
    Fault(
        "8a",
        "written by a clock 10 min ahead",
        STORES,
        make.made(600),
        misses=READS,
        works=WRITES,
    ),
    Fault("8b", "written by a clock 2 min ahead", STORES, make.made(120)),
    stored("20", "an entry of a later release", make.harmed("later"), UNKNOWN),
    stored("23", "an entry sealed with a key that is unknown", make.bytes_that_are(make.sealed_by_others), UNKNOWN),
    stored("24", "a bomb: 64 MiB in 2 KiB", make.bytes_that_are(make.bomb), CORRUPT),
]

DISK = [
    Fault(
        "1d",
        "the directory cannot be made",
        ("disk",),
        make.no_directory,
        UNAVAILABLE | CONFIGURATION,
        reasons=DISK_OWN,
        fresh=True,
        from_start=True,
    ),
    Fault(
        "2f",
        "the file is deleted",
        ("disk",),
        make.deleted_file,
        misses=READS,
        works=WRITES,
        reasons=DISK_OWN,
    ),
    Fault(
        "3e",
        "another process holds the file",
        ("disk",),
        make.locked,
        TIMEOUT,
        works=HITS,
        slow=True,
        reasons=DISK_OWN,
    ),
    Fault(
        "6f",
        "the file is damaged as a whole",
        ("disk",),
        make.damaged_file,
        UNAVAILABLE | CONFIGURATION,
        reasons=DISK_OWN,
    ),
    Fault("14b", "the disk is full", ("disk",), make.full_disk, UNAVAILABLE, works=HITS, reasons=DISK_OWN),
]

CALLERS = [
    Fault(
        "7",
        "a delete passes a computation",
        STORES,
        act=act.deleted_while_computed,
        operations=frozenset({"get_or_set"}),
    ),
    Fault(
        "7b",
        "a write that timed out lands after the next one",
        STORES,
        kinds=TIMEOUT,
        act=act.late_write,
        operations=WRITES,
    ),
    Fault(
        "14a",
        "a value larger than the tier takes",
        STORES,
        make.nothing,
        operations=frozenset({"set"}),
        misses=frozenset({"set"}),
        tier={"max_entry_bytes": 500},
        check=lambda scene, answer: _skipped(scene),
    ),
    Fault("15", "a herd asks for one missing key", STORES, act=act.herd, operations=frozenset({"get_or_set"})),
    Fault("16", "callers are cancelled", STORES, act=act.cancelled, faces=("async",)),
    Fault("17", "the process is forked after use", STORES, act=act.forked, faces=("sync",)),
    Fault("18", "threads and event loops", STORES, act=act.from_everywhere),
]


CATALOGUE = sorted(
    NETWORK + ANSWERS + BYTES + DISK + CALLERS,
    key=lambda fault: (int("".join(filter(str.isdigit, fault.id))), fault.id),
)

ELSEWHERE = {
    "19 interpreter exit with queued writes": "in processes of their own",
    "21 a poison entry": "refused where values are made: the LLM layer",
    "22 a request's field missing from its key": "keys, not stores: tests/properties/test_keys.py",
}
"""Numbers of the catalogue that no cell can show, and where they are tested."""


def _good_ones_are_kept(scene, answer):
    assert answer == {key: scene.stored(key) for key in scene.keys[1::2]}, "W, or a good key was lost"


def _skipped(scene):
    counters = scene.cache.chain.tiers[0].counters
    assert counters.skipped == 1, f"O: skipped {counters.skipped}"
