"""Keys that were given once: 500 requests have the same ones today, in every process.

`python -m tests.llm.test_golden_keys` writes the file of a new format below tests/golden/. A file that is there is
never written again: a format that changes is a new number in `packing.FORMAT` and a new file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.llm.golden_requests import COUNT, cases
from tiercache.keys import check_key
from tiercache.llm import CacheKeyBuilder, key_from_content, key_from_json, key_from_parts, packing
from tiercache.llm.keys import request_key
from tiercache.llm.packing import FORMAT

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / "tests" / "golden" / f"keys.v{FORMAT}.jsonl"


def golden() -> list[dict[str, Any]]:
    return [json.loads(line) for line in FILE.read_text(encoding="ascii").splitlines()]


def key_today(case: dict[str, Any]) -> str:
    return request_key(case["kind"], case["request"], user=case["user"], scope=case["tenant"])


def reordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: reordered(item) for key, item in reversed(value.items())}
    return [reordered(item) for item in value] if isinstance(value, list) else value


def test_there_are_500_of_all_kinds():
    assert len(golden()) == COUNT == 500
    assert {case["kind"] for case in golden()} == {"chat", "completion", "embedding", "response", "message"}


def test_every_request_has_the_key_that_it_had():
    assert [key_today(case) for case in golden()] == [case["key"] for case in golden()]


def test_every_request_has_it_with_its_fields_in_another_order():
    assert [key_today(reordered(case)) for case in golden()] == [case["key"] for case in golden()]


@pytest.mark.parametrize("seed", ["0", "4242"])
def test_another_process_gives_the_same_keys(seed: str):
    environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.llm.test_golden_keys", "check"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"{COUNT} keys agree\n", done.stderr


def test_every_key_can_be_stored_and_shows_no_user_and_no_tenant():
    for case in golden():
        check_key(case["key"])
        prefix, _, rest = case["key"].partition(":")
        model, _, digest = rest.rpartition(":")
        assert prefix in {"chat", "completion", "embed", "response", "message"}
        assert model == case["request"]["model"][:200]
        assert len(bytes.fromhex(digest)) == 32


def test_requests_share_a_key_only_where_what_differs_does_not_count():
    by_key: dict[str, list[str]] = {}
    for case in golden():
        by_key.setdefault(case["key"], []).append(
            json.dumps([case["user"], case["tenant"], _bare(case)], sort_keys=True)
        )
    assert all(len(set(shared)) == 1 for shared in by_key.values())
    assert len(by_key) > 450


def _bare(case: dict[str, Any]) -> Any:
    """The request without what is denied, as one reads the list of facts, not as the code walks it."""
    request = json.loads(json.dumps(case["request"]))
    denied = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
    denied |= {"prompt_cache_retention", "encoding_format"}
    request = {name: value for name, value in request.items() if name not in denied}
    if "stream_options" in request:
        request["stream_options"].pop("include_obfuscation", None)
        if not request["stream_options"]:
            del request["stream_options"]
    text = json.dumps(request, sort_keys=True)
    for mark in ('{"type": "ephemeral", "ttl": "1h"}', '{"type": "ephemeral"}'):
        mark = json.dumps(json.loads(mark), sort_keys=True)
        text = text.replace(f'"cache_control": {mark}, ', "").replace(f', "cache_control": {mark}', "")
    return text


def test_another_number_of_the_format_is_another_key_for_every_request(monkeypatch: pytest.MonkeyPatch):
    before = {case["key"] for case in golden()}
    monkeypatch.setattr(packing, "FORMAT", FORMAT + 1)
    assert not before & {key_today(case) for case in golden()}
    assert key_from_json('{"a": [1, 1.0, null]}') != PINNED["json"]


def test_the_other_keys_are_pinned():
    assert key_from_json('{"a": [1, 1.0, null]}') == PINNED["json"]
    assert key_from_content(b"\x00\xff") == PINNED["bytes"]
    assert key_from_content("\ud800 text") == PINNED["text"]
    assert key_from_parts("a", 1, None, 2**80, {1: "one", "1": "text"}, float("nan")) == PINNED["parts"]
    assert CacheKeyBuilder("chat").with_part("gpt-4o").add_optional(None).add_num(3).build() == PINNED["builder"]


PINNED = {
    "json": "json:e35b38061ed0224c7f3063960436bb0a4af02593525bffb5566d0d3ed330897c",
    "bytes": "content:6a8db6b4a0691f17d1876bd982c89e7aeee7f0e909c039d1837effa8cc142ee1",
    "text": "content:7e90971ea7c7a62b90a9d0f85d4a2c795e4cd290a15434bfd6343503775f94bc",
    "parts": "parts:358c8b1156f274f9cd355d56c8d5383b9fd44eae2364fe6814ab518de5d4b7cd",
    "builder": "chat:015aa143f34c80d4b33ee19d5a5f3a5ab4d0f62e6a224736566458636a4c9824",
}


def write() -> None:
    """Write the file of this format if it is not there."""
    if not FILE.exists():
        lines = [json.dumps({"key": key_today(case)} | case) for case in cases()]
        FILE.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")
        sys.stdout.write(f"wrote {FILE.name}\n")


def check() -> None:
    """Say how many keys of the file are those of this process."""
    sys.stdout.write(f"{sum(key_today(case) == case['key'] for case in golden())} keys agree\n")


if __name__ == "__main__":
    check() if sys.argv[1:] == ["check"] else write()
