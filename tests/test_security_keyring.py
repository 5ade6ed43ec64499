"""`KeyRing`: where keys come from, what is refused, and that nothing shows a secret."""

from __future__ import annotations

import base64
import copy
import pickle
import subprocess
import sys
import traceback

import pytest

from tiercache import KeyRing
from tiercache.errors import ConfigurationError, MissingExtra, UnknownKey
from tiercache.sealing import keyring

SECRET = bytes(range(200, 232))
OTHER = bytes(range(100, 164, 2))[::-1]
TEXT = base64.b64encode(SECRET).decode()


def forms(secret: bytes) -> list[str]:
    """How a secret might look in a text."""
    encoded = base64.b64encode(secret).decode()
    return [encoded.rstrip("="), encoded[:12], secret.hex(), repr(secret)[2:-1], repr(secret)[2:20]]


def shown(error: BaseException) -> str:
    """All that a log could show of an error."""
    return "\n".join([str(error), repr(error), *traceback.format_exception(error)])


def test_the_first_key_writes_unless_another_is_active():
    assert KeyRing({"new": SECRET, "old": OTHER}).active == "new"
    assert KeyRing({"new": SECRET, "old": OTHER}, active="old").active == "old"
    assert KeyRing({"new": SECRET, "old": OTHER}).ids == ("new", "old")


def test_a_ring_is_read_from_the_environment():
    other = base64.urlsafe_b64encode(OTHER).decode()
    ring = KeyRing.from_env("KEYS", env={"KEYS": f"2026-11:{TEXT}, 2026-05:{other}\n"}, encrypt=False)
    assert (ring.ids, ring.active, ring.encrypt) == (("2026-11", "2026-05"), "2026-11", False)
    assert ring.writing.same_secret(KeyRing({"k": SECRET}).writing)


def test_a_ring_is_read_from_the_process_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TIERCACHE_KEYS", f"a:{TEXT}")
    assert KeyRing.from_env().ids == ("a",)


def test_a_ring_is_read_from_a_file(tmp_path):
    (tmp_path / "keys").write_text(
        f"# made in November\n2026-11:{TEXT}\n\n  # the one before\n2026-05:{_encoded(OTHER)}\n"
    )
    assert KeyRing.from_file(tmp_path / "keys", active="2026-05").active == "2026-05"


def test_a_new_secret_makes_a_key():
    first, second = KeyRing.new_secret(), KeyRing.new_secret()
    assert first != second
    assert KeyRing.from_env("K", env={"K": f"a:{first} b:{second}"}).ids == ("a", "b")


def test_an_unknown_id_is_an_unknown_key():
    with pytest.raises(UnknownKey, match="key 'gone', which the ring does not have"):
        KeyRing({"a": SECRET}).key("gone")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KeyRing({}), "mapping of ids to secrets"),
        (lambda: KeyRing(SECRET), "mapping of ids to secrets"),
        (lambda: KeyRing({"a": SECRET[:31]}), "exactly 32 bytes, this one has 31"),
        (lambda: KeyRing({"a": SECRET + b"\0"}), "exactly 32 bytes, this one has 33"),
        (lambda: KeyRing({"a": TEXT}), "must be bytes, not str"),
        (lambda: KeyRing({"a": TEXT[:32].encode()}), "not random"),
        (lambda: KeyRing({"a": bytes(32)}), "not random"),
        (lambda: KeyRing({"a": b"\x80\x90" * 16}), "not random"),
        (lambda: KeyRing({"": SECRET}), "id of a key"),
        (lambda: KeyRing({TEXT: OTHER}), "id of a key"),
        (lambda: KeyRing({"a b": SECRET}), "id of a key"),
        (lambda: KeyRing({SECRET: SECRET}), "id of a key"),
        (lambda: KeyRing({"a": SECRET}, active="b"), "active must be the id of one of the keys: a"),
        (lambda: KeyRing({"a": SECRET, "b": SECRET}), "key 'b' has the secret of another key"),
        (lambda: KeyRing.from_env("KEYS", env={}), "KEYS is not set"),
        (lambda: KeyRing.from_env("KEYS", env={"KEYS": " \n"}), "KEYS is not set"),
        (lambda: KeyRing.from_env(f"a:{TEXT}", env={}), "not what it holds"),
        (lambda: KeyRing.from_env("KEYS", env={"KEYS": TEXT}), "item 1 of KEYS must be id:secret"),
        (lambda: KeyRing.from_env("KEYS", env={"KEYS": f"{TEXT}:a"}), "item 1 of KEYS must be id:secret"),
        (lambda: KeyRing.from_env("KEYS", env={"KEYS": f"a:{TEXT} b:{TEXT[:-8]}"}), "item 2 of KEYS must be id:secret"),
        (lambda: KeyRing.from_env("KEYS", env={"KEYS": f"a:{TEXT}!"}), "item 1 of KEYS must be id:secret"),
        (lambda: KeyRing.from_env("KEYS", env={"KEYS": f"a:{SECRET.hex()}"}), "item 1 of KEYS must be id:secret"),
        (lambda: KeyRing.from_env("KEYS", env={"KEYS": f"a:{TEXT} a:{_encoded(OTHER)}"}), "item 2 of KEYS has the id"),
        (lambda: KeyRing.from_file(TEXT), "the key file cannot be read: No such file"),
        (lambda: KeyRing.from_file(f"a:{TEXT}\0"), "the key file cannot be read: ValueError"),
    ],
)
def test_what_is_no_ring_is_refused_without_showing_a_secret(make, message: str):
    with pytest.raises(ConfigurationError, match=message) as caught:
        make()
    text = "\n".join([str(caught.value), repr(caught.value), *_last_frames(caught.value)])
    assert [form for secret in (SECRET, OTHER) for form in forms(secret) if form in text] == []


def test_a_file_that_is_no_text_is_refused_without_its_bytes(tmp_path):
    (tmp_path / "keys").write_bytes(SECRET)
    with pytest.raises(ConfigurationError, match="UnicodeDecodeError") as caught:
        KeyRing.from_file(tmp_path / "keys")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # its text would quote a byte
    assert "0x" not in shown(caught.value)


@pytest.mark.parametrize("encrypt", [True, False])
def test_a_repr_shows_ids_alone(encrypt: bool):
    rich = pytest.importorskip("rich.pretty")
    ring = KeyRing({"2026-11": SECRET, "2026-05": OTHER}, encrypt=encrypt)
    for one in (ring, ring.writing, [ring], {"keys": ring}):
        text = f"{one!r} {one} {rich.pretty_repr(one)}"
        assert "2026-11" in text
        assert [form for secret in (SECRET, OTHER) for form in forms(secret) if form in text] == []


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_ring_leaves_the_process_in_no_form(duplicate):
    ring = KeyRing({"a": SECRET})
    for one in (ring, ring.writing):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            duplicate(one)


def test_the_keys_for_each_purpose_are_different_and_none_is_the_secret():
    key = KeyRing({"a": SECRET}).writing
    kept = [key._tag, key._owner, key._cipher]
    assert len({SECRET, *kept}) == 4


def test_without_the_extra_encryption_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    keyring._aes_gcm.cache_clear()
    try:
        with pytest.raises(MissingExtra, match=r"install tiercache\[encryption\]"):
            KeyRing({"a": SECRET})
        assert KeyRing({"a": SECRET}, encrypt=False).ids == ("a",), "tags need no extra"
    finally:
        keyring._aes_gcm.cache_clear()


def test_cryptography_is_imported_by_those_who_encrypt_alone(tmp_path):
    program = """
import os, sys
import tiercache
tiercache.Cache(tiercache.TierChain(tiercache.DiskBackend(sys.argv[1]), keys=tiercache.KeyRing(
    {"a": os.urandom(32)}, encrypt=False))).set("k", 1)
assert "cryptography" not in sys.modules
tiercache.KeyRing({"a": os.urandom(32)})
assert "cryptography" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "cache.sqlite3")], check=True, timeout=60)


def _encoded(secret: bytes) -> str:
    return base64.b64encode(secret).decode()


def _last_frames(error: BaseException) -> list[str]:
    """The traceback without the lines of this file, which hold the secrets on purpose."""
    frames = traceback.extract_tb(error.__traceback__)
    return [str(frame.line) for frame in frames if frame.filename != __file__]
