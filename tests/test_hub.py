"""Folders on the hub: pushed, pushed again, refused; the hub is a socket that speaks its wire."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hub_double import TOKEN, Hub, Repository, hub
from huggingface_hub import constants

from unsaf_async.errors import UserError
from unsaf_async.hub import Repo, check_push, open_repo, push

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>':DeprecationWarning")  # httpx's, of huggingface_hub

STUDENT = Repo("someone/student", "model")
FILES = ("adapter/*", "README.md")


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub(monkeypatch) as double:
        yield double


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files small and large, and others that are not to be pushed."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_model.safetensors").write_bytes(bytes(5000))
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    (tmp_path / "README.md").write_text("---\nlicense: other\n---\n# A student\n")
    (tmp_path / "pictures.bin").write_text("of the owner alone")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_pushed_privately_and_what_was_not_named_stays_here(there: Hub, folder: Path) -> None:
    open_repo(STUDENT)
    pushed = push(folder, STUDENT, FILES, message="A student")
    repository = there.repositories["model", "someone/student"]
    assert repository.private
    assert repository.messages == ["initial commit", "A student"]
    expected = contents(folder)
    del expected["pictures.bin"]
    assert {name: data for name, data in repository.files.items() if name != ".gitattributes"} == expected
    assert pushed.revision == repository.sha
    assert pushed.line() == f"pushed to {there.url}/someone/student/commit/{repository.sha}"
    assert list(there.objects.values()) == [bytes(5000)]  # by LFS, and the small files in the commit


def test_pushed_again_it_makes_no_commit_and_a_changed_file_makes_one(there: Hub, folder: Path) -> None:
    for _ in range(2):
        open_repo(STUDENT)
        pushed = push(folder, STUDENT, FILES, message="A student")
    repository = there.repositories["model", "someone/student"]
    assert len(repository.messages) == 2
    assert not pushed.changed
    assert pushed.line() == f"nothing has changed since {there.url}/someone/student/commit/{repository.sha}"
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(b"other")
    assert push(folder, STUDENT, FILES, message="Another").changed
    assert repository.files["adapter/adapter_model.safetensors"] == b"other"
    assert len([each for each in there.asked if each[0] == "PUT"]) == 2


def test_data_of_fewer_files_leave_none_of_the_older_ones_beside_them(there: Hub, tmp_path: Path) -> None:
    data = Repo("some-lab/data", "dataset", public=True)
    (tmp_path / "data").mkdir()
    for part in range(2):
        (tmp_path / "data" / f"train-{part}-of-2.parquet").write_bytes(b"%d" % part)
    open_repo(data)
    push(tmp_path, data, ["data/*"], message="Two parts")
    repository = there.repositories["dataset", "some-lab/data"]
    assert not repository.private
    repository.files["NOTES.md"] = b"written on the hub"
    for part in range(2):
        (tmp_path / "data" / f"train-{part}-of-2.parquet").unlink()
    (tmp_path / "data" / "train-0-of-1.parquet").write_bytes(b"both")
    pushed = push(tmp_path, data, ["data/*"], message="One part")
    assert sorted(repository.files) == [".gitattributes", "NOTES.md", "data/train-0-of-1.parquet"]
    assert pushed.url == f"{there.url}/datasets/some-lab/data/commit/{repository.sha}"


def test_the_library_with_its_streamed_commits_is_understood_too(
    there: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hf_xet")
    monkeypatch.setattr(
        constants, "HF_HUB_DISABLE_XET", False
    )  # small files go the same way, but for the commits' thread
    open_repo(STUDENT)
    assert push(folder, STUDENT, ("README.md", "adapter/*.json"), message="A student").changed
    assert not push(folder, STUDENT, ("README.md", "adapter/*.json"), message="A student").changed
    files = there.repositories["model", "someone/student"].files
    assert sorted(files) == [".gitattributes", "README.md", "adapter/adapter_config.json"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("student", "^push_to_hub student: has no owner; give OWNER/NAME$"),
        ("a/b/c", "^push_to_hub a/b/c: is no repository's name"),
        ("me/-x-", "^push_to_hub me/-x-: is no repository's name"),
    ],
)
def test_a_name_that_is_none_is_told_before_the_hub_is_asked(name: str, told: str, there: Hub) -> None:
    with pytest.raises(UserError, match=told):
        open_repo(Repo(name, "model"))
    assert not there.asked


def test_without_a_token_or_offline_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(monkeypatch, token=None) as double:
        with pytest.raises(
            UserError, match=r"^push_to_hub someone/student: no token was found; set HF_TOKEN, or run `hf auth login`"
        ):
            check_push(STUDENT)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(UserError, match=r"^push_to_hub someone/student: HF_HUB_OFFLINE is set"):
            open_repo(STUDENT)
        assert not double.asked


def test_a_refusal_is_one_line_without_the_token(there: Hub) -> None:
    there.refusals["/api/repos/create"] = 403, f"You don't have the rights\nto create a model ({TOKEN})"
    with pytest.raises(UserError) as told:
        open_repo(STUDENT)
    assert str(told.value) == (
        "push_to_hub someone/student: cannot be written to (403: You don't have the rights to create a model ([key])); "
        "check the name, the token and its rights"
    )


def test_a_wrong_token_and_a_hub_that_is_away_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with hub(monkeypatch, token="hf_of_somebody_else_0123456789") as double:
        with pytest.raises(
            UserError, match=r"cannot be written to \(401: Invalid credentials in Authorization header\)"
        ):
            open_repo(STUDENT)
        assert not double.repositories
    with pytest.raises(UserError, match=r"cannot be written to \(.*[Cc]onnection.*\)"):
        open_repo(STUDENT)


@pytest.mark.parametrize(("public", "found"), [(False, "public"), (True, "private")])
def test_a_repository_that_others_may_read_against_what_was_asked_for_is_left_alone(
    public: bool, found: str, there: Hub
) -> None:
    there.repositories["model", "someone/student"] = Repository(private=public)
    with pytest.raises(
        UserError, match=f"^push_to_hub someone/student: is {found} on the hub; .*public.*, choose another"
    ):
        open_repo(Repo("someone/student", "model", public=public))


@pytest.mark.parametrize("end", ["/commit/main", sha256(bytes(5000)).hexdigest()], ids=["commit", "storage"])
def test_a_push_that_breaks_leaves_the_folder_whole_and_says_how_to_go_on(end: str, there: Hub, folder: Path) -> None:
    before = contents(folder)
    open_repo(STUDENT)
    there.refusals[end] = 403, "storage quota is used up"
    with pytest.raises(UserError) as told:
        push(folder, STUDENT, FILES, message="A student")
    assert str(told.value) == (
        "push_to_hub someone/student: was not pushed (403: storage quota is used up); everything is in "
        f"{folder}; try again with: hf upload someone/student {folder} . --include 'adapter/*' --include README.md"
    )
    assert contents(folder) == before
    there.refusals.clear()
    assert push(folder, STUDENT, FILES, message="A student").changed
