"""A picture that is known from an earlier run is not decoded again, and only what this user kept is known."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from driving import drive, drive_at
from PIL import Image

from unsaf_async.errors import CallError
from unsaf_async.inputs import known as known_pictures
from unsaf_async.inputs.known import Known, KnownPictures, forget, packed, unpacked
from unsaf_async.inputs.loader import ImageLoader
from unsaf_async.inputs.pixels import encode
from unsaf_async.inputs.policy import ImageError, ImagePolicy
from unsaf_async.records import EncodedImage
from unsaf_async.simulate.server import Simulator
from unsaf_async.simulate.settings import Simulation

if TYPE_CHECKING:
    from pathlib import Path

    from driving import Outcome

KEY, ANOTHERS = b"k" * 32, b"a" * 32
POLICY = ImagePolicy(max_side_px=400)


def picture(file: Path, seed: int = 0) -> Path:
    """A picture of 300 x 200 pixels, in the format of its name."""
    noise = np.random.default_rng(seed).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    return file


async def load(file: Path, key: bytes = KEY, policy: ImagePolicy = POLICY) -> tuple[EncodedImage, str]:
    """One picture, loaded by a loader of its own that knows what lies beside it; with its bytes if it was decoded."""
    with KnownPictures(file.parent, key) as known, closing(ImageLoader(policy, known=known)) as loader:
        return await loader.load(file)


def is_decoded(loaded: tuple[EncodedImage, str]) -> bool:
    """Whether a picture was not known."""
    return bool(loaded[0].data)


def files_of(folder: Path) -> list[Path]:
    """The files of what is known."""
    return list(folder.glob("pictures-*.db"))


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
async def test_a_known_picture_is_what_it_was_and_its_bytes_are_made_when_they_are_sent(
    tmp_path: Path, name: str
) -> None:
    whole = encode(picture(tmp_path / name), POLICY)
    assert await load(tmp_path / name) == whole
    with KnownPictures(tmp_path, KEY) as known, closing(ImageLoader(POLICY, known=known)) as loader:
        image, digest = await loader.load(tmp_path / name)
        assert (replace(image, data=whole[0].data), digest) == whole
        assert image.data == b""
        sent = await image.sendable()
        assert sent == whole[0]
        assert await image.sendable() is sent is await sent.sendable()


async def test_what_another_user_or_nobody_kept_is_not_known(tmp_path: Path) -> None:
    files = [picture(tmp_path / f"{seed}.png", seed) for seed in range(2)]
    for file in files:
        await load(file)
    assert not any([is_decoded(await load(file)) for file in files])
    assert is_decoded(await load(files[0], ANOTHERS))
    assert is_decoded(await load(files[0], policy=replace(POLICY, max_side_px=100)))
    kept = files_of(tmp_path)
    assert len(kept) == 2
    for file in kept:
        assert file.stat().st_mode & 0o777 == 0o600
        with closing(sqlite3.connect(file, isolation_level=None)) as database:
            rows = database.execute("SELECT * FROM pictures").fetchall()
            for (name, value), (_, other) in zip(rows, rows[1:] + rows[:1], strict=True):
                swapped = other if len(rows) > 1 else value.replace(b"200", b"201")
                database.execute("UPDATE pictures SET kept = ? WHERE name = ?", (swapped, name))
    decoded = [is_decoded(await load(file)) for file in files]
    assert decoded == [True, True], "the seal of one picture is none of another"


async def test_a_file_that_holds_nothing_known_stops_no_run_and_all_can_be_forgotten(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    await load(file)
    forget(tmp_path)
    assert is_decoded(await load(file))
    (kept,) = files_of(tmp_path)
    kept.write_bytes(b"no database at all" * 100)
    assert is_decoded(await load(file))
    forget(tmp_path)


async def test_of_a_file_that_changes_between_reading_and_sending_nothing_is_sent(tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    await load(file)
    with KnownPictures(tmp_path, KEY) as known, closing(ImageLoader(POLICY, known=known)) as loader:
        image, _ = await loader.load(file)
        picture(file, 1)
        for _ in range(2):
            with pytest.raises(CallError, match="changed since"):
                await image.sendable()
        gone, _ = await loader.load(file)
        assert gone.data
        image, _ = await loader.load(file)
        file.unlink()
        with pytest.raises(CallError, match="missing"):
            await image.sendable()


async def test_a_broken_picture_is_looked_at_anew_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    for _ in range(2):
        with pytest.raises(ImageError):
            await load(tmp_path / "a.png")


@pytest.mark.parametrize(
    "changed",
    [
        {"width": 0},
        {"width": 3.5},
        {"height": True},
        {"media_type": "text/html"},
        {"pixels_sha256": "../x"},
        {"notes": ("odd",)},
        {"notes": ([],)},
        {"unchanged": None},
    ],
)
def test_only_what_can_be_of_a_picture_is_read_back(changed: dict[str, object]) -> None:
    image = EncodedImage(b"", "image/png", 3, 2, "a" * 64, "b" * 64, ("narrow",))
    assert unpacked(packed(Known(image, unchanged=True))) == Known(image, unchanged=True)
    unchanged = changed.pop("unchanged", True)
    assert unpacked(packed(Known(replace(image, **changed), unchanged))) is None  # type: ignore[arg-type]
    assert unpacked(b"[]") is unpacked(b"{}") is unpacked(b"\xff") is None


CALLS = {"asks": True, "questions": {"__all__": {"answer", "judge", "votes"}}}
"""What says how long a call took, and whether it was made."""


def told(run: Outcome) -> list[str]:
    """What a run's journal says of its images, whatever the calls took."""
    return [each.model_copy(update={"wall_s": 0.0}).model_dump_json(exclude=CALLS) for each in run.examinations]


async def test_a_run_over_known_pictures_is_the_run_that_decoded_them(tmp_path: Path) -> None:
    few: dict[str, Any] = {"images": 1, "judge": ("rules",)}
    async with Simulator(Simulation()) as simulator:
        first, again = [
            await drive_at(simulator, "vllm", tmp_path, out=tmp_path / out, **few) for out in ("one", "two")
        ]
        asked = simulator.ledger.requests
        further = await drive_at(simulator, "vllm", tmp_path, out=tmp_path / "three", questions=4, **few)
        assert simulator.ledger.requests > asked, "calls about known pictures leave with their bytes"
    alone = await drive(
        Simulation(), "vllm", tmp_path, out=tmp_path / "four", questions=4, cache=tmp_path / "new", **few
    )
    assert told(first) == told(again)
    assert told(further) == told(alone)
    assert first.score.counts == again.score.counts


def test_a_package_without_sources_keeps_nothing_of_a_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(known_pictures, "__file__", str(tmp_path / "known.pyc"))
    assert known_pictures._makers.__wrapped__() is None


async def test_pixels_that_are_not_those_kept_of_a_picture_are_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.new("RGB", (40, 30), (9, 9, 9)).save(file)
    with closing(KnownPictures(tmp_path, b"k" * 32)) as kept, closing(ImageLoader(ImagePolicy(), known=kept)) as loader:
        image, _ = await loader.load(file)
        other = Known(replace(image, data=b"", pixels_sha256="c" * 64), unchanged=False)
        monkey = kept.get
        kept.get = lambda key: other if monkey(key) else None
        known, _ = await loader.load(file)
        with pytest.raises(CallError, match="not those that were kept"):
            await known.sendable()
