"""`LazyClient`: an SDK's client is made when it is needed, and made anew where its credentials were refused."""

from __future__ import annotations

import itertools
import threading
import time

import pytest

from tiercache.errors import BackendTimeout, CacheClosed
from tiercache.objectstore.client import LazyClient
from tiercache.objectstore.sockets import until


@pytest.fixture
def closed():
    return []


def lazy(closed, *, renewable=True):
    return LazyClient(itertools.count(1).__next__, closed.append, renewable=renewable)


def test_it_is_made_once(closed):
    client = lazy(closed)
    assert (client.get(), client.get()) == (1, 1)


def test_one_that_was_refused_is_made_anew_and_left_to_those_who_use_it(closed):
    client = lazy(closed)
    client.forget(client.get())
    assert (client.get(), closed) == (2, [])


def test_a_thread_that_was_refused_with_the_old_one_leaves_the_new_one_alone(closed):
    client = lazy(closed)
    old = client.get()
    client.forget(old)
    assert client.get() == 2
    client.forget(old)
    assert client.get() == 2


def test_one_whose_credentials_cannot_change_is_kept(closed):
    client = lazy(closed, renewable=False)
    client.forget(client.get())
    assert (client.get(), closed) == (1, [])


def test_after_close_there_is_none(closed):
    client = lazy(closed)
    client.get()
    client.close()
    client.close()
    assert closed == [1]
    with pytest.raises(CacheClosed):
        client.get()


def test_a_thread_waits_no_longer_for_it_than_its_operation_has_left_and_close_waits_not_at_all(closed):
    may_end, was_closed = threading.Event(), threading.Event()
    client = LazyClient(lambda: may_end.wait(30), lambda made: was_closed.set(), renewable=True)
    with until(time.monotonic() + 0.2), pytest.raises(BackendTimeout):
        client.get()
    client.close()
    may_end.set()
    assert was_closed.wait(30)  # the one that was ready too late
    with pytest.raises(CacheClosed):
        client.get()


def test_it_is_made_once_for_all_threads_and_the_error_is_told_to_each():
    made, start = itertools.count(1), threading.Barrier(8)
    errors = []

    def fail():
        time.sleep(0.2)
        raise ValueError(next(made))

    client = LazyClient(fail, lambda _: None, renewable=True)

    def ask():
        start.wait(30)
        with pytest.raises(ValueError, match="1") as caught:
            client.get()
        errors.append(caught.value)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 8
