"""`LazyClient`: an SDK's client is made when it is needed, and made anew where its credentials were refused."""

from __future__ import annotations

import itertools

import pytest

from tiercache.errors import CacheClosed
from tiercache.objectstore.client import LazyClient


@pytest.fixture
def closed():
    return []


def lazy(closed, *, renewable=True):
    return LazyClient(itertools.count(1).__next__, closed.append, renewable=renewable)


def test_it_is_made_once(closed):
    client = lazy(closed)
    assert (client.get(), client.get()) == (1, 1)


def test_one_that_was_refused_is_closed_and_made_anew(closed):
    client = lazy(closed)
    client.forget(client.get())
    assert (client.get(), closed) == (2, [1])


def test_a_thread_that_was_refused_with_the_old_one_leaves_the_new_one_alone(closed):
    client = lazy(closed)
    old = client.get()
    client.forget(old)
    assert client.get() == 2
    client.forget(old)
    assert (client.get(), closed) == (2, [1])


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
