"""A process that reads from many files may have them open."""

import pytest

from lpd_jax.runtime import open_files

resource = pytest.importorskip("resource")


@pytest.mark.parametrize(
    ("soft", "hard", "count", "want"),
    [
        (1024, 4096, 100, None),
        (1024, 4096, 2000, 2256),
        (256, 4096, 9000, 4096),
        (256, resource.RLIM_INFINITY, 9000, 9256),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 9000, None),
    ],
)
def test_room_is_made_as_far_as_the_system_lets_it(monkeypatch, soft, hard, count, want):
    limits = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    open_files.make_room(count)
    assert limits == ([] if want is None else [(want, hard)])


def test_a_system_that_refuses_or_has_no_limit_is_no_error(monkeypatch):
    def refuse(*_):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    open_files.make_room(1000)
    monkeypatch.setattr(open_files, "resource", None)
    open_files.make_room(1000)
