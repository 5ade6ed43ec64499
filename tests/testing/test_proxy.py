"""Each fault of a `FaultProxy`, met by a plain socket, and by the backends' own clients."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tiercache.errors import BackendError, BackendTimeout, BackendUnavailable, ConfigurationError
from tiercache.testing import FaultProxy, NetworkFault
from tiercache_redis import RedisBackend


@pytest.fixture
def echo(serve):
    """The address of a server that answers what it is asked, in capitals."""

    def talk(peer, stop):
        while piece := peer.recv(65536):
            peer.sendall(piece.upper())

    return f"127.0.0.1:{serve(talk)}"


@pytest.fixture
def proxy(echo):
    with FaultProxy(echo) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy):
    made = []

    def connect(timeout=60):
        made.append(socket.create_connection((proxy.host, proxy.port), timeout))
        return made[-1]

    yield connect
    for peer in made:
        peer.close()


def test_a_client_that_leaves_before_it_has_read_its_answer_leaves_nothing_behind(proxy, connect):
    peer = connect()
    peer.sendall(b"abc")
    assert peer.recv(1, socket.MSG_PEEK) == b"A"
    peer.close()  # with an answer unread: a reset
    until(lambda: proxy.open_connections == 0)


def until(condition):
    guard = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < guard
        time.sleep(0.005)


def ask(peer, text=b"abcdef"):
    """Send it, and return what comes back until it is as long or the stream ends."""
    peer.sendall(text)
    answer = b""
    while len(answer) < len(text) and (piece := peer.recv(65536)):
        answer += piece
    return answer


def silent(peer, seconds=0.1):
    """Whether nothing comes for a while."""
    peer.settimeout(seconds)
    try:
        return peer.recv(65536) is None
    except TimeoutError:
        return True
    finally:
        peer.settimeout(60)


def test_a_healthy_proxy_passes_everything_on(proxy, connect):
    text = b"x" * 1_000_000
    assert ask(connect(), text) == text.upper()
    assert ask(connect()) == b"ABCDEF"
    assert proxy.connections == 2


def test_latency_holds_an_answer_and_changes_none_of_it(proxy, connect):
    peer = connect()
    proxy.inject("latency", seconds=0.1)
    start = time.monotonic()
    assert ask(peer) == b"ABCDEF"
    assert time.monotonic() - start >= 0.1


def test_a_drip_sends_a_byte_at_a_time(proxy, connect):
    peer = connect()
    proxy.inject("drip", seconds=0.02)
    peer.sendall(b"abcdef")
    assert [peer.recv(65536) for _ in range(6)] == [b"A", b"B", b"C", b"D", b"E", b"F"]


def test_what_a_drip_has_left_comes_at_once_when_it_is_healed(proxy, connect):
    peer = connect()
    proxy.inject("drip", seconds=60)
    peer.sendall(b"abcdef")
    assert peer.recv(65536) == b"A"
    proxy.heal()
    assert ask(peer, b"") == b""
    answer = b""
    while len(answer) < 5:
        answer += peer.recv(65536)
    assert answer == b"BCDEF"


def test_a_reset_comes_in_place_of_an_answer(proxy, connect):
    peer = connect()
    proxy.inject("reset")
    with pytest.raises(ConnectionResetError):
        ask(peer)


def test_a_half_close_ends_the_stream_without_an_answer(proxy, connect):
    peer = connect()
    proxy.inject("half_close")
    assert ask(peer) == b""
    peer.sendall(b"still taken")


@pytest.mark.parametrize("size", [0, 4])
def test_a_truncated_stream_ends_after_so_many_bytes(proxy, connect, size):
    peer = connect()
    assert ask(peer) == b"ABCDEF", "what was answered before does not count"
    proxy.inject("truncate", size=size)
    assert ask(peer) == b"ABCDEF"[:size]


@pytest.mark.parametrize(("size", "answer"), [(None, b"ABCDEG"), (6, b"@BCDEF"), (99, b"@BCDEF")])
def test_corruption_flips_one_bit(proxy, connect, size, answer):
    proxy.inject("corrupt", size=size)
    assert ask(connect()) == answer


def test_a_black_hole_takes_everything_and_never_answers(proxy, connect):
    before = connect()
    assert ask(before) == b"ABCDEF"
    with proxy.broken("black_hole"):
        after = connect()
        for peer in (before, after):
            peer.sendall(b"lost")
            assert silent(peer)
    assert silent(before), "what was lost stays lost"
    assert ask(connect()) == ask(before) == b"ABCDEF"


def test_a_stall_passes_on_what_it_held_when_it_is_healed(proxy, connect):
    peer = connect()
    with proxy.broken("stall"):
        peer.sendall(b"late")
        assert silent(peer)
    assert peer.recv(65536) == b"LATE"


def test_a_refusing_proxy_resets_connections_and_takes_none(proxy, connect):
    peer = connect()
    assert ask(peer) == b"ABCDEF"
    with proxy.broken("refuse"):
        with pytest.raises(ConnectionRefusedError):
            connect()
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
    assert ask(connect()) == b"ABCDEF", "the port is the same"


def test_dropped_connections_are_reset_and_new_ones_work(proxy, connect):
    peer = connect()
    assert ask(peer) == b"ABCDEF"
    proxy.drop()
    with pytest.raises(ConnectionResetError):
        peer.recv(1)
    assert ask(connect()) == b"ABCDEF"


def test_one_fault_follows_another(proxy, connect):
    proxy.inject("refuse")
    proxy.inject("black_hole")
    peer = connect()
    peer.sendall(b"lost")
    assert silent(peer)
    proxy.inject("corrupt")
    assert ask(connect()) == b"ABCDEG"


def test_a_server_that_is_not_there_is_a_connection_that_closes(free_port):
    with FaultProxy(f"127.0.0.1:{free_port}") as proxy, socket.create_connection((proxy.host, proxy.port), 60) as peer:
        try:
            assert peer.recv(1) == b""
        except ConnectionResetError:
            assert proxy.connections == 1


@pytest.mark.parametrize("fault", [None, *NetworkFault])
def test_all_sockets_and_the_thread_are_gone_at_the_end(echo, fault):
    def threads():
        return [thread.name for thread in threading.enumerate() if thread.name == "tiercache-fault-proxy"]

    with FaultProxy(echo) as proxy, socket.create_connection((proxy.host, proxy.port), 60) as peer:
        assert threads()
        ask(peer)
        if fault is not None:
            proxy.inject(fault)
    assert not threads()
    assert proxy.open_connections == 0
    with pytest.raises(OSError, match=r"."):
        socket.create_connection((proxy.host, proxy.port), 1)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [(["storm"], {}), (["reset"], {"seconds": 1}), (["latency"], {"size": 1}), (["drip"], {"seconds": -1})],
)
def test_a_fault_that_means_nothing_is_refused(proxy, arguments, options):
    with pytest.raises(ConfigurationError):
        proxy.inject(*arguments, **options)


@pytest.mark.parametrize("target", ["", "nowhere", "127.0.0.1", "127.0.0.1:port", "http://"])
def test_a_target_without_host_and_port_is_refused(target):
    with pytest.raises(ConfigurationError):
        FaultProxy(target)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("drip", BackendTimeout),
        ("black_hole", BackendTimeout),
        ("stall", BackendTimeout),
        ("reset", BackendUnavailable),
        ("half_close", BackendUnavailable),
        ("truncate", BackendUnavailable),
        ("refuse", BackendUnavailable),
        ("corrupt", BackendError),
    ],
)
def test_a_backend_behind_it_meets_the_fault_and_heals(redis_url, fault, error):
    with FaultProxy(redis_url) as proxy:
        backend = RedisBackend(f"redis://{proxy.address}/0", prefix="proxy:", timeout=0.3)
        try:
            backend.ping(deadline=time.monotonic() + 60)
            with proxy.broken(fault), pytest.raises(error):
                backend.ping(deadline=time.monotonic() + 0.1)
            backend.ping(deadline=time.monotonic() + 60)
        finally:
            backend.close()
