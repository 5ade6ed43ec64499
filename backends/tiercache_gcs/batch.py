"""The API's batch requests: many deletes in one body, and one answer for each in another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from email.parser import BytesParser
from typing import Any

import requests

from .errors import Answered, NotAStore

_BOUNDARY = "tiercache-batch"  # no object name, quoted as it is, makes a line of its own
CONTENT_TYPE = f"multipart/mixed; boundary={_BOUNDARY}"


def deletes(paths: Iterable[str]) -> bytes:
    """Return the body that deletes the objects at these paths of the API.

    A part without a Content-ID is left out by some servers, though Google's needs none.
    """
    parts = (
        f"--{_BOUNDARY}\r\nContent-Type: application/http\r\nContent-ID: <delete+{number}>\r\n\r\n"
        f"DELETE {path} HTTP/1.1\r\n\r\n\r\n"
        for number, path in enumerate(paths)
    )
    return f"{''.join(parts)}--{_BOUNDARY}--\r\n".encode()


def outcomes(answer: requests.Response, count: int) -> Iterator[Answered]:
    """Yield what became of each part, in the order of the parts.

    Raises:
        NotAStore: the answer has not as many parts.
    """
    kind = answer.headers.get("Content-Type", "")
    parts = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + answer.content).get_payload()
    if not isinstance(parts, list) or len(parts) != count:
        raise NotAStore("its answer to a batch has other parts than were sent")
    part: Any
    for part in parts:
        head, _, body = str(part.get_payload()).replace("\r\n", "\n").partition("\n\n")
        try:
            status = int(head.split(maxsplit=2)[1])
        except (IndexError, ValueError):
            raise NotAStore("a part of its answer to a batch has no status") from None
        yield Answered(status, _json(body))


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None
