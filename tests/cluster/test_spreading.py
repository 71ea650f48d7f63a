"""What `--ray`, `--workers` and `--processes` say where they cannot be followed: one line, at once."""

from __future__ import annotations

import pytest

from unsaf_async.cli.spreading import Spreading
from unsaf_async.cluster.on_ray import connected
from unsaf_async.errors import UserError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ray": "ray://head:10001"}, "host:port"),
        ({"workers": 2}, "give ray, too"),
        ({"processes": 2, "ray": "local"}, "contradict"),
        ({"processes": 0}, "above 0"),
    ],
)
def test_options_that_cannot_be_followed_are_told_in_one_line(given, said):
    with pytest.raises(UserError, match=said):
        Spreading(**given).checked()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "head"])
def test_a_cluster_that_is_not_there_is_told_at_once(address, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)  # it is not even imported
    with pytest.raises(UserError, match="cannot be reached"), connected(address, 1):
        pass
