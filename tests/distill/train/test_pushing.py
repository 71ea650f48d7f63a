"""A student on the hub: what of its folder goes there, and what a push that fails leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from distill.train.teaching import read_json
from hub_double import hub

from unsaf_async.distill.train.pushing import hub_repo, push_student
from unsaf_async.distill.train.train import train
from unsaf_async.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    from unsaf_async.distill.train.recipe import Recipe

pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::FutureWarning")

NAME = "someone/student"


def test_a_student_is_pushed_once_it_is_whole_and_a_push_that_fails_loses_nothing(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    with hub(monkeypatch) as there:
        there.refusals["/commit/main"] = 403, "storage quota is used up"
        asked = recipe(max_steps=1, push_to_hub=NAME)
        with pytest.raises(UserError, match=rf"^push_to_hub {NAME}: was not pushed \(403: storage quota is used up\)"):
            train(asked)
        whole = {"README.md", "adapter", "merged", "recipe.yaml", "training.json"}
        assert {path.name for path in asked.out.iterdir()} == whole
        assert "which is not on the hub" in (asked.out / "README.md").read_text("utf-8")
        assert "push_to_hub" not in (asked.out / "recipe.yaml").read_text("utf-8")
        assert read_json(asked.out / "training.json")["merged"]["compared"]["merge_error"] <= 1e-5

        there.refusals.clear()
        repo = hub_repo(asked)
        assert repo is not None
        pushed = push_student(asked, repo)
        repository = there.repositories["model", NAME]
        assert repository.private
        assert pushed.revision == repository.sha
        expected = {
            str(path.relative_to(asked.out)): path.read_bytes()
            for path in asked.out.rglob("*")
            if path.is_file() and "merged" not in path.parts
        }
        assert {name: data for name, data in repository.files.items() if name != ".gitattributes"} == expected
        repository.files["merged/model.safetensors"] = b"of another adapter"
        assert push_student(asked, repo).changed
        assert "merged/model.safetensors" not in repository.files


def test_what_cannot_be_pushed_is_told_before_the_training(
    recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(push_to_hub=NAME)
    with hub(monkeypatch, token=None) as there:
        with pytest.raises(UserError, match=rf"^push_to_hub {NAME}: no token was found"):
            train(asked)
        assert not there.asked
    with hub(monkeypatch) as there:
        there.refusals["/create"] = 403, "no rights"
        with pytest.raises(UserError, match=rf"^push_to_hub {NAME}: cannot be written to \(403: no rights\)"):
            train(asked)
    assert not asked.out.exists()
