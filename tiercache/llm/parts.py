"""An answer to an embeddings request <-> its parts: a vector an item, with what the answer said beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..entry import AttributeValue
from .items import Batch
from .shares import added_up, shared_out
from .vectors import Encoding, Vector, of_array, read

_OF_AN_ITEM = ("index", "embedding")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Unfit(Exception):
    """An answer that cannot be taken apart; its message is the reason, in a word."""


class Part:
    """The vector of one item.

    Attributes:
        vector: the vector.
        attributes: what its entry says: `usage` (its share) and `answer` (what the answer said beside vectors and
            usage) as JSON, `fields` likewise if its item had more than a vector, `numbers` if base64 was asked for in
            vain, and what it saves.
    """

    __slots__ = ("attributes", "vector")

    def __init__(self, vector: Vector, attributes: Mapping[str, AttributeValue]) -> None:
        self.vector = vector
        self.attributes = attributes

    @classmethod
    def of(cls, value: Any, attributes: Mapping[str, AttributeValue]) -> Part | None:
        """Return what an entry holds; None: no part of an answer."""
        vector = of_array(value, attributes.get("writing"))
        return None if vector is None or not isinstance(attributes.get("answer"), str) else cls(vector, attributes)

    @property
    def family(self) -> tuple[int, Any]:
        """What all vectors of an answer have in common: how many numbers they have, and whose they are."""
        return len(self.vector.array), _said(self.attributes["answer"]).get("model")


def taken_apart(
    answer: Any, batch: Batch, keys: Sequence[str], whole: Mapping[str, AttributeValue], **more: AttributeValue
) -> dict[str, Part]:
    """Return the parts of an answer to a request for the items with these keys (which may stand there twice).

    Args:
        answer: plain data, as JSON gives it.
        batch: the items.
        keys: of the items that were asked for, in order.
        whole: attributes of the whole call (`costs.attributes_of`), to be shared out.
        more: further attributes of each part.

    Raises:
        Unfit: it is not the answer to that request: another number of vectors, other indices, vectors of different
            lengths, or with something that is no finite number.
    """
    rows = _rows(answer, len(keys))
    found: dict[str, tuple[Vector, str]] = {}
    for key, row in zip(keys, rows, strict=True):
        vector = read(row.get("embedding"))
        if vector is None:
            raise Unfit("malformed")
        found[key] = vector, _fields(row)
    if batch.encoding == "base64" and isinstance(rows[0].get("embedding"), list):
        more = {**more, "numbers": True}  # this provider knows no base64: nor will those who ask again get it
    if len({len(vector.array) for vector, _ in found.values()}) > 1:
        raise Unfit("uneven")
    said = _text({name: value for name, value in answer.items() if name not in ("data", "usage")})
    shares = _shares(answer.get("usage"), whole, batch.weights(keys))
    return {
        key: Part(vector, {**share, **more, "answer": said, **_written(vector, fields)})
        for (key, (vector, fields)), share in zip(found.items(), shares, strict=True)
    }


def put_together(parts: Sequence[Part], distinct: Iterable[Part], encoding: Encoding, said: str) -> dict[str, Any]:
    """Return the answer that parts make up.

    Args:
        parts: one for each input, in order.
        distinct: each part once: what their shares of the usage amount to is the usage.
        encoding: of the vectors, unless their provider answered a request for base64 with numbers.
        said: what else the answer says, as JSON.
    """
    answer: dict[str, Any] = {"object": "list", "data": [], **_said(said)}
    written: dict[int, Any] = {}
    for index, part in enumerate(parts):
        vector = written.get(id(part))
        if vector is None:
            as_told: Encoding = "float" if part.attributes.get("numbers") else encoding
            vector = written[id(part)] = part.vector.written(as_told)
        elif type(vector) is list:
            vector = vector.copy()  # a caller who changes one of them does not change the other
        row = {"object": "embedding", "index": index, "embedding": vector}
        fields = part.attributes.get("fields")
        answer["data"].append(row if fields is None else row | _said(fields))
    counted = Counter(usage for part in distinct if isinstance(usage := part.attributes.get("usage"), str))
    usage = added_up((_decode(share.encode()), times) for share, times in counted.items())
    return answer if usage is None else {**answer, "usage": usage}


def _rows(answer: Any, count: int) -> list[Mapping[str, Any]]:
    """Return what the answer has for each input."""
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise Unfit("malformed")
    by_index = {index: row for row in data if type(index := row.get("index")) is int}
    if len(data) != count or by_index.keys() != set(range(count)):
        raise Unfit("incomplete")
    return [by_index[index] for index in range(count)]


def _shares(usage: Any, whole: Mapping[str, AttributeValue], weights: list[int]) -> list[dict[str, AttributeValue]]:
    """Return the attributes of each part: tokens and money by length, seconds and the call itself evenly."""
    even = [1] * len(weights)
    by_length = {name: whole[name] for name in ("input_tokens", "output_tokens", "usd") if name in whole}
    fixed = {name: value for name, value in whole.items() if name not in (*by_length, "seconds")}
    told = [{"usage": _text(share)} for share in shared_out(usage, weights)] if usage is not None else [{}] * len(even)
    return [
        {**fixed, **counted, **timed, **text}
        for counted, timed, text in zip(
            shared_out(by_length, weights),
            shared_out({"calls": 1.0, **({"seconds": whole["seconds"]} if "seconds" in whole else {})}, even),
            told,
            strict=True,
        )
    ]


def _written(vector: Vector, fields: str) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {} if fields == "{}" else {"fields": fields}
    return attributes if vector.writing == "exact" else {**attributes, "writing": vector.writing}


def _fields(row: Mapping[str, Any]) -> str:
    """Return what stands in an item beside the usual, as JSON."""
    if len(row) == 3 and row.get("object") == "embedding":
        return "{}"
    known = {"object": "embedding"}
    return _text(
        {name: value for name, value in row.items() if name not in _OF_AN_ITEM and known.get(name, row) != value}
    )


def _text(value: Any) -> str:
    try:
        return _encode(value).decode()
    except (TypeError, ValueError, OverflowError):  # nothing that JSON has
        raise Unfit("malformed") from None


def _said(text: Any) -> dict[str, Any]:
    return dict(_decode(text.encode())) if isinstance(text, str) else {}
