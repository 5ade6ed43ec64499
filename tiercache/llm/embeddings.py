"""`EmbeddingCache`: vectors cached an input at a time, so that a batch asks the model only for what is new."""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..cache import Cache
from ..errors import ConfigurationError, MissingExtra
from ..keys import digest_after
from ..result import Result
from ..savings import NOTHING, SHARED, Saving
from ..slips import cache_given
from ..units import Duration, parse_duration

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Vectors = NDArray[np.float32]
    Compute = Callable[[list[Any]], ArrayLike]
    AsyncCompute = Callable[[list[Any]], ArrayLike | Awaitable[ArrayLike]]

Input = str | Sequence[int]
"""A text, or the numbers of its tokens."""

EMBEDDING_KEY_PREFIX = "embed"
LOOKUP_SIZE = 4000
"""Inputs that are looked up at a time."""


@dataclass(frozen=True, slots=True)
class EmbeddingStats:
    """What one `EmbeddingCache` did.

    Attributes:
        inputs: inputs asked for, duplicates included.
        hits: of these, answered without the model (duplicates within a call included).
        computed: vectors that the model made.
        calls: times that `compute` was called.
        seconds: seconds spent in `compute`.
        seconds_saved: seconds that the cached vectors took when they were computed.
    """

    inputs: int = 0
    hits: int = 0
    computed: int = 0
    calls: int = 0
    seconds: float = 0.0
    seconds_saved: float = 0.0


class EmbeddingCache:
    """Embeddings in a `Cache`: one entry an input, raw float32, keyed by model, dimensions, params and input.

    Args:
        cache: where the vectors are kept.
        model: the model's name, part of every key: vectors of two models never meet.
        dimensions: numbers a vector; part of the key when given, and every vector is checked against it.
        params: what else changes the vectors (task, prefix, normalisation …), made of plain data; part of the key.
        ttl: how long a vector is fresh; None: for ever, whatever the cache's ttl (a model's vectors do not age).
        batch_size: inputs at most that `compute` receives at a time.

    Raises:
        MissingExtra: numpy is not installed.
        ConfigurationError: an option has no such value.
    """

    def __init__(
        self,
        cache: Cache,
        model: str,
        *,
        dimensions: int | None = None,
        params: Mapping[str, Any] | None = None,
        ttl: Duration | None = None,
        batch_size: int = 256,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise ConfigurationError("model must be the name of the embedding model")
        if dimensions is not None and (type(dimensions) is not int or dimensions < 1):
            raise ConfigurationError(f"dimensions={dimensions!r} must be a positive integer or None")
        if type(batch_size) is not int or batch_size < 1:
            raise ConfigurationError(f"batch_size={batch_size!r} must be a positive integer")
        self._numpy = _import_numpy()
        self.cache = cache_given(cache)
        self.model = model
        self.dimensions = dimensions
        self.batch_size = batch_size
        self._ttl = None if ttl is None else parse_duration(ttl, "ttl")
        self._params = dict(params or {})
        # Now, to refuse what cannot be part of a key not only at the first batch.
        self._digests = {kind: digest_after(kind, model, dimensions, self._params) for kind in ("text", "tokens")}
        self._stats = EmbeddingStats()

    def embed(self, inputs: Sequence[Input], compute: Compute) -> Vectors:
        """Return the vectors of the inputs, in their order.

        Inputs that no tier knows go to `compute`, each once, at most `batch_size` at a time; each chunk is stored
        before the next is computed, so a failure keeps what was done.

        Args:
            inputs: texts, or lists of token numbers.
            compute: takes a list of inputs, returns one vector each, as an `(m, dim)` array or lists.

        Returns:
            `(n, dim)` float32, a copy of the caller's own; `(0, dimensions or 0)` for no inputs.

        Raises:
            ValueError: `compute` returned another shape, or another dimension than asked for or cached; nothing of
                that chunk is stored.
            Exception: what `compute` raised; the chunks before are stored.
        """
        work = self._begin(inputs)
        try:
            work.add_near(self.cache)
            for keys in work.lookups():
                work.add_known(self.cache.lookup_many(keys))
            for chunk in work.chunks(self.batch_size):
                start = time.perf_counter()
                made = compute(list(chunk.values()))
                if inspect.isawaitable(made):
                    if inspect.iscoroutine(made):
                        made.close()
                    raise TypeError("compute is async: call aembed() and await it")
                new, attributes = work.add_computed(chunk, made, time.perf_counter() - start)
                self.cache.set_many(new, ttl=self._ttl, attributes=attributes)
        finally:
            self._count(work)
        return work.result()

    async def aembed(self, inputs: Sequence[Input], compute: AsyncCompute) -> Vectors:
        """`embed`, awaited; `compute` may be async, a sync one runs in the loop's thread."""
        work = self._begin(inputs)
        try:
            work.add_near(self.cache)
            for keys in work.lookups():
                work.add_known(await self.cache.alookup_many(keys))
            for chunk in work.chunks(self.batch_size):
                start = time.perf_counter()
                made = compute(list(chunk.values()))
                if inspect.isawaitable(made):
                    made = await made
                new, attributes = work.add_computed(chunk, made, time.perf_counter() - start)
                await self.cache.aset_many(new, ttl=self._ttl, attributes=attributes)
        finally:
            self._count(work)
        return work.result()

    def get_many(self, inputs: Sequence[Input]) -> list[Vectors | None]:
        """Return the known vectors, None where there is none; read-only arrays of shape `(dim,)`."""
        work = self._begin(inputs)
        for keys in work.lookups():
            work.add_known(self.cache.lookup_many(keys))
        return [work.vectors.get(key) for key in work.keys]

    async def aget_many(self, inputs: Sequence[Input]) -> list[Vectors | None]:
        """`get_many`, awaited."""
        work = self._begin(inputs)
        for keys in work.lookups():
            work.add_known(await self.cache.alookup_many(keys))
        return [work.vectors.get(key) for key in work.keys]

    def put_many(self, inputs: Sequence[Input], vectors: ArrayLike) -> None:
        """Store vectors that were computed elsewhere: `(n, dim)`, one for each input. Raises ValueError as `embed`."""
        work = self._begin(inputs)
        if work.keys:
            new, attributes = work.add_given(vectors)
            self.cache.set_many(new, ttl=self._ttl, attributes=attributes)

    async def aput_many(self, inputs: Sequence[Input], vectors: ArrayLike) -> None:
        """`put_many`, awaited."""
        work = self._begin(inputs)
        if work.keys:
            new, attributes = work.add_given(vectors)
            await self.cache.aset_many(new, ttl=self._ttl, attributes=attributes)

    def key(self, item: Input) -> str:
        """Return the cache key of one input: `embed:{model}:{digest}`."""
        kind, material = self._material(item)
        return f"{EMBEDDING_KEY_PREFIX}:{self.model}:{self._digests[kind](material)}"

    def stats(self) -> EmbeddingStats:
        """Return what was asked for, found, computed and saved."""
        return self._stats

    def _begin(self, inputs: Sequence[Input]) -> _Work:
        if isinstance(inputs, (str, bytes)):
            raise TypeError("inputs must be a list of texts; for one text write [text]")
        return _Work(self._numpy, self.model, self.dimensions, [(self.key(item), item) for item in inputs])

    def _count(self, work: _Work) -> None:
        for tier, saving in work.saved.items():
            self.cache.savings.add(self.model, tier, saving)
        before = self._stats
        self._stats = EmbeddingStats(
            inputs=before.inputs + len(work.keys),
            hits=before.hits + sum(key in work.vectors for key in work.keys) - work.computed,
            computed=before.computed + work.computed,
            calls=before.calls + work.calls,
            seconds=before.seconds + work.seconds,
            seconds_saved=before.seconds_saved + sum(saving.seconds for saving in work.saved.values()),
        )

    def _material(self, item: Input) -> tuple[str, str | list[int]]:
        if isinstance(item, str):
            return "text", str(item)
        if isinstance(item, (bytes, Mapping)) or not hasattr(item, "__len__"):
            raise TypeError(f"an input must be a str or a list of token numbers, not {type(item).__name__}")
        numbers: Sequence[Any] = item
        tokens = [token.item() if isinstance(token, self._numpy.integer) else token for token in numbers]
        if not all(type(token) is int for token in tokens):
            raise TypeError("an input must be a str or a list of token numbers (int)")
        return "tokens", tokens


class _Work:
    """One call: which vectors are known, which are to be made, and whether they fit together."""

    def __init__(self, numpy: Any, model: str, dimensions: int | None, items: list[tuple[str, Input]]) -> None:
        self._numpy = numpy
        self._model = model
        self._declared = dimensions
        self._dim = dimensions
        self.keys = [key for key, _ in items]
        self._inputs = dict(items)
        self.vectors: dict[str, Vectors] = {}
        self.computed = self.calls = 0
        self.seconds = 0.0
        self.saved: dict[str, Saving] = {}

    def add_near(self, cache: Cache) -> None:
        """Take what memory holds: most hits of large batches, without the objects that a lookup makes of each."""
        hit, vectors, from_buffer = cache._hit, self.vectors, self._numpy.frombuffer
        sizes: dict[str, int | None] = {}
        seen: dict[int, list[Any]] = {}
        for key in self._inputs:
            slot = hit(key)
            if slot is None:
                continue
            traits, payload = slot.traits, slot.payload
            if traits.codec not in sizes:
                sizes[traits.codec] = self._size_of(traits.codec)
            if sizes[traits.codec] != len(payload):
                cache._uncount_hit()
                continue
            vectors[key] = from_buffer(payload, "<f4")
            if (same := seen.get(id(traits))) is not None:
                same[1] += 1
            else:
                seen[id(traits)] = [traits, 1]
        for traits, times in seen.values():
            self._save(cache.chain.tiers[0].label, dict(traits.attributes), times)
        for size in {sizes[traits.codec] for traits, _ in seen.values()}:
            self._check_dimension((size or 0) // 4, "a cached vector has")

    def _size_of(self, codec: str) -> int | None:
        """Return the bytes of a vector of that codec; None: it is no vector of the declared dimension."""
        name, _, dim = codec.rpartition(";")
        if name != "ndarray;<f4" or not dim.isdigit() or self._declared not in (None, int(dim)):
            return None
        return 4 * int(dim)

    def _save(self, tier: str, attributes: Mapping[str, Any], times: int = 1) -> None:
        one = Saving.of(attributes)
        saving = one if times == 1 else one * times
        self.saved[tier] = self.saved.get(tier, NOTHING) + saving

    def lookups(self) -> Iterator[list[str]]:
        """Yield the keys to look up, each once."""
        unique = [key for key in self._inputs if key not in self.vectors]
        for start in range(0, len(unique), LOOKUP_SIZE):
            yield unique[start : start + LOOKUP_SIZE]

    def add_known(self, results: Mapping[str, Result]) -> None:
        """Take cached vectors; what is no vector of the declared dimension counts as missing."""
        array, float32, declared = self._numpy.ndarray, self._numpy.dtype("float32"), self._declared
        for key, result in results.items():
            vector = result.value
            if not isinstance(vector, array) or vector.dtype != float32 or vector.ndim != 1:
                continue
            dim = len(vector)
            if declared is not None and dim != declared:
                continue
            if dim != self._dim:
                self._check_dimension(dim, "a cached vector has")
            self.vectors[key] = vector
            if result.metadata is not None:
                self._save(result.tier or SHARED, result.metadata.attributes)

    def chunks(self, size: int) -> Iterator[dict[str, Input]]:
        """Yield what is missing, each input once, at most `size` at a time."""
        missing = [key for key in self._inputs if key not in self.vectors]
        for start in range(0, len(missing), size):
            yield {key: self._inputs[key] for key in missing[start : start + size]}

    def add_computed(
        self, chunk: Mapping[str, Input], made: Any, seconds: float
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check and take what `compute` returned; return what to store and its attributes."""
        rows = self._rows(made, len(chunk), "compute")
        self.calls += 1
        self.computed += len(chunk)
        self.seconds += seconds
        self.vectors.update(zip(chunk, rows, strict=True))
        return self._storable(dict(zip(chunk, rows, strict=True))), {
            "model": self._model,
            "seconds": seconds / len(chunk),
            "calls": 1 / len(chunk),
        }

    def add_given(self, vectors: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Check and take vectors from the caller; return what to store and its attributes."""
        rows = self._rows(vectors, len(self.keys), "put_many")
        return self._storable(dict(zip(self.keys, rows, strict=True))), {"model": self._model}

    def result(self) -> Vectors:
        """Return all vectors in the order of the inputs."""
        numpy = self._numpy
        if not self.keys:
            empty: Vectors = numpy.empty((0, self._declared or 0), numpy.float32)
            return empty
        stacked: Vectors = numpy.stack([self.vectors[key] for key in self.keys])
        return stacked

    def _rows(self, made: Any, count: int, who: str) -> Vectors:
        try:
            rows: Vectors = self._numpy.array(made, dtype=self._numpy.float32)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{who} gave vectors that are no ({count}, dim) array of numbers: {error}") from None
        if rows.ndim != 2 or rows.shape[0] != count or rows.shape[1] == 0:
            raise ValueError(f"{who} gave an array of shape {rows.shape} for {count} inputs, not ({count}, dim)")
        self._check_dimension(rows.shape[1], f"{who} gave vectors of")
        return rows

    def _check_dimension(self, dim: int, who: str) -> None:
        if self._dim is None:
            self._dim = dim
        elif dim != self._dim:
            raise ValueError(
                f"{who} {dim} numbers where {self._dim} are expected: is {self._model!r} another model than before? "
                "Give it another name, or set params or dimensions, so that the two do not share keys"
            )

    def _storable(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Leave out vectors with NaN or infinity: they are handed through, not kept."""
        return {key: row for key, row in rows.items() if self._numpy.isfinite(row).all()}


def _import_numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtra("EmbeddingCache", "embeddings") from None
    return numpy
