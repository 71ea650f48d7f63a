"""A trained student on the Hugging Face Hub: which files of its folder go there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unsaf_async.hub import Pushed, Repo, push

if TYPE_CHECKING:
    from unsaf_async.distill.train.recipe import Recipe

FILES = ("README.md", "recipe.yaml", "training.json", "adapter/*")
"""Of a student's folder, but for the merged model: what else lies there is its owner's."""
_MERGED = "merged/*"


def hub_repo(recipe: Recipe) -> Repo | None:
    """Where a student goes.

    Args:
        recipe: Names the repository.

    Returns:
        The repository; None: the student is not pushed.
    """
    return None if recipe.push_to_hub is None else Repo(recipe.push_to_hub, "model", public=recipe.public)


def push_student(recipe: Recipe, repo: Repo, *, bar: bool = False) -> Pushed:
    """Pushes a trained student: adapter, card and record, and the merged model if it is asked for.

    A merged model of an earlier push is deleted where there is no new one: it would be of another adapter.

    Args:
        recipe: Names the folder, and says whether the merged model goes, too.
        repo: Where they go, opened before.
        bar: Whether progress is shown on stderr.

    Returns:
        The commit.

    Raises:
        UserError: It did not succeed; the folder is as it was.
    """
    files = (*FILES, _MERGED) if recipe.push_merged else FILES
    return push(recipe.out, repo, files, message="A student trained by unsaf-async", gone=(_MERGED,), bar=bar)
