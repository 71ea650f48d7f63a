"""A whole audit as one file: models x judges x image sets x options, under one cap and with one cache.

Every combination of one entry of each table is a run like any other, in a folder below the suite's. These folders are all that
is kept of a suite: what has begun, what was spent (by the ledgers), and what has changed in the file since. The runs are worked
off by `campaign`, one after the other, each with what the others have left of the cap.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from unsaf_async.errors import UserError
from unsaf_async.files import make_private_folder
from unsaf_async.providers.profile import as_toml
from unsaf_async.providers.resolve import resolve
from unsaf_async.runs.campaign import PlannedRun
from unsaf_async.runs.listing import exists
from unsaf_async.runs.prepare import prepare
from unsaf_async.runs.saved import SavedRun
from unsaf_async.runs.setting_types import check_types
from unsaf_async.runs.settings import CACHE, DEFAULT_CACHE, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from unsaf_async.providers.profile import Profile

TABLES = ("models", "judges", "image_sets", "options")
"""Of which each run has one entry, in the order of its name's parts."""

OWN = ("max_cost", "out", "cache")
"""Keys of the whole suite."""

KEYS = tuple(each.name for each in fields(Settings) if each.name not in (*OWN, "trust_folder"))
"""Keys of `[settings]` and of entries: the settings of a run."""

PATHS = ("images", "data", "judge_calibration", "questions_from")
"""Settings that name files: below the suite's file, unless they are absolute."""

MOST_RUNS = 1000

LOCK = "suite.lock"


@dataclass(frozen=True)
class SuiteRun:
    """One run of a suite, as its file has it."""

    name: str
    """The names of its entries, joined by "--": its folder's."""
    settings: Settings
    given_by: Mapping[str, str]
    """Which table gave a setting, for errors."""


@dataclass(frozen=True)
class Suite:
    """A suite's file, read and checked as far as it can be without looking at anything else."""

    file: Path
    out: Path
    max_cost_usd: float | None
    """For all runs together; None: no cap."""
    runs: tuple[SuiteRun, ...]

    async def prepare(self, *, offline: bool = False) -> list[PlannedRun]:
        """The runs, checked and resolved. Nothing is written; an endpoint is asked for its model's name at most.

        Args:
            offline: For a plan alone: no endpoint is asked, and no key is needed.

        Returns:
            One a run, in the file's order.

        Raises:
            UserError: A model is unknown, images are missing, or a setting is wrong: with the file, the table and the key.
        """
        planned = []
        for run in self.runs:
            try:
                # Capped as they will be, so that a model whose price ends is refused now.
                settings = replace(run.settings, max_cost=self.max_cost_usd)
                planned.append(PlannedRun(self.out / run.name, await prepare(settings, offline=offline)))
            except UserError as error:
                raise self._explained(error, run) from None
        return planned

    def _explained(self, error: UserError, run: SuiteRun) -> UserError:
        where = run.given_by.get(error.field or "", "the suite" if error.field in OWN else run.name)
        return UserError(f"{self.file}: {where}: {error}")

    def others(self) -> list[SavedRun]:
        """Runs in its folder that the file does not name, or not any more. What they cost counts."""
        names = {run.name for run in self.runs}
        if not self.out.is_dir():
            return []
        return [SavedRun(path) for path in sorted(self.out.iterdir()) if path.name not in names and exists(path)]

    def cap_usd(self) -> float | None:
        """What its runs may spend together: the cap, less what runs have cost that the file no longer names.

        Returns:
            USD, perhaps 0 or less; None without a cap.
        """
        if self.max_cost_usd is None:
            return None
        return self.max_cost_usd - sum(run.spent_usd for run in self.others())

    def locked(self) -> _Locked:
        """A context in which no other process works the suite off: two would each spend what is left of the cap."""
        return _Locked(self)


class _Locked:
    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._lock = FileLock(suite.out / LOCK, timeout=0)

    def __enter__(self) -> Self:
        try:
            make_private_folder(self._suite.out)
            self._lock.acquire()
        except Timeout:
            raise UserError(f"{self._suite.file}: another process is at work on it; wait until it has ended") from None
        except OSError as error:
            raise UserError(
                f"{self._suite.file}: out: {self._suite.out} cannot be written ({error.strerror}); give another folder"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()


def read_suite(file: Path) -> Suite:
    """A suite's file.

    Args:
        file: TOML: `[settings]` of all runs, `[[models]]`, and perhaps `[[judges]]`, `[[image_sets]]` and `[[options]]`.

    Returns:
        The suite, whose runs are all combinations.

    Raises:
        UserError: It cannot be read, or a key or a value is wrong: with the file, the table, the key and what to do.
    """
    data = _toml(file)
    _check_keys(file, "the suite", data, (*OWN, "settings", *TABLES))
    common = _table(file, "[settings]", data.get("settings", {}))
    entries = [_entries(file, name, data.get(name, [])) for name in TABLES]
    if not entries[0]:
        raise UserError(f'{file}: models is missing; give a table [[models]] with provider = "NAME" for each model')
    cap, out, cache = _own(file, data)
    number = prod(len(each) or 1 for each in entries)
    if number > MOST_RUNS:
        raise UserError(f"{file}: makes {number:,} runs; give {MOST_RUNS:,} combinations at most")
    runs = tuple(_run(file, common, row, out, cache) for row in product(*filter(None, entries)))
    return Suite(file, out, cap, runs)


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); give the file of a suite") from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: is no UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file}: is no TOML ({error}); mend it there") from None


def _check_keys(file: Path, where: str, table: Mapping[str, object], known: Sequence[str]) -> None:
    """Raises UserError for an unknown key. Its value is not repeated: it may be a stray key of a vendor's."""
    for key in table:
        if key in known:
            continue
        if key in OWN:
            raise UserError(f"{file}: {where}: {key} is of the whole suite; put it above all tables")
        if key in KEYS:
            raise UserError(f"{file}: {where}: {key} is a setting of runs; put it into [settings] or into an entry")
        if re.search(r"key|secret|token|password", key, re.IGNORECASE) and "max" not in key:
            raise UserError(
                f"{file}: {where}: {key} is an unknown key; keys of vendors stand in environment variables, which the model's "
                "profile names (api_key_env)"
            )
        near = get_close_matches(key.replace("-", "_"), known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
        raise UserError(f"{file}: {where}: {key} is an unknown key; {hint}")


def _table(file: Path, where: str, table: object, more: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise UserError(f"{file}: {where} is {as_toml(table)}; give a table")
    _check_keys(file, where, table, (*more, *KEYS))
    return {key: _on_disk(file, key, value) for key, value in table.items()}


def _on_disk(file: Path, key: str, value: Any) -> Any:
    """A setting's value with its paths below the suite's file."""

    def below(path: Any) -> Any:
        if not isinstance(path, str) or not path or "://" in path or path.startswith("~"):
            return path
        return str(file.parent / path)

    if key in PATHS:
        return list(map(below, value)) if isinstance(value, list) else below(value)
    if key == "prompts" and isinstance(value, str) and value and (file.parent / value).is_dir():
        return below(value)
    return value


def _own(file: Path, data: Mapping[str, Any]) -> tuple[float | None, Path, Path | None]:
    """The keys of the whole suite: (cap, folder, cache)."""
    cap = data.get("max_cost")
    if cap is not None and (type(cap) not in (int, float) or not 0 < cap < float("inf")):
        raise UserError(f"{file}: max_cost is {as_toml(cap)}; give an amount in USD above 0")
    out, cache = data.get("out", f"runs/{file.stem}"), data.get("cache")
    if not isinstance(out, str) or not out:
        raise UserError(f"{file}: out is {as_toml(out)}; give a folder's path in quotes")
    if cache is None:
        return cap, file.parent / out, Path(os.environ.get(CACHE.variable or "") or file.parent / DEFAULT_CACHE)
    if cache is False:
        return cap, file.parent / out, None
    if not isinstance(cache, str) or not cache:
        raise UserError(f"{file}: cache is {as_toml(cache)}; give a folder's path in quotes, or false for none")
    return cap, file.parent / out, file.parent / cache


@dataclass(frozen=True)
class _Entry:
    name: str
    where: str
    values: dict[str, Any]


def _entries(file: Path, table: str, given: object) -> list[_Entry]:
    """The entries of a table, each with a name that no other one has."""
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise UserError(f"{file}: {table} is no list of tables; begin each entry with [[{table}]]")
    entries: dict[str, _Entry] = {}
    for number, each in enumerate(given, 1):
        where = f"[[{table}]] {number}"
        values = _table(file, where, each, ("name",))
        name = values.pop("name", None)
        if name is not None and (not isinstance(name, str) or not _slug(name)):
            raise UserError(f"{file}: {where}: name is {as_toml(name)}; give a short name in quotes")
        if table == "models" and "provider" not in values:
            raise UserError(
                f"{file}: {where}: provider is missing; name a model, as `unsaf-async providers` lists them"
            )
        name = _slug(name or _name_of(table, values))
        if twice := entries.get(name.casefold()):
            raise UserError(
                f'{file}: {where}: is called {name}, as {twice.where} is; give it a name = "..." of its own'
            )
        entries[name.casefold()] = _Entry(name, where, values)
    return list(entries.values())


def _slug(name: str) -> str:
    """A name as a part of a folder's name."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9._+-]+", "-", name)).strip("-.")[:60]


def _name_of(table: str, values: Mapping[str, Any]) -> str:
    """What an entry is called that has no name of its own."""
    if table == "models":
        return str(values.get("model") or values["provider"])
    if table == "judges":
        judge = values.get("judge", "default")
        return "+".join(map(str, judge)) if isinstance(judge, list) else str(judge)
    if table == "image_sets":
        images = values.get("images") or values.get("data") or values.get("questions_from") or "images"
        return Path(str(images[0] if isinstance(images, list) else images)).stem or "images"
    return "-".join(f"{key}-{as_toml(value)}" for key, value in values.items()) or "plain"


def _run(file: Path, common: Mapping[str, Any], row: Sequence[_Entry], out: Path, cache: Path | None) -> SuiteRun:
    """The run of one entry of each table. Raises UserError if two of them give one setting, or a value is of a wrong type."""
    values, given_by = dict(common), dict.fromkeys(common, "[settings]")
    for entry in row:
        for key, value in entry.values.items():
            if given_by.get(key, "[settings]") != "[settings]":
                raise UserError(f"{file}: {entry.where}: {key} is given by {given_by[key]}, too; leave one of them out")
            values[key], given_by[key] = value, entry.where
    name = "--".join(entry.name for entry in row)
    settings = Settings(**{**values, "out": out / name, "cache": cache})
    try:
        check_types(settings)
    except UserError as error:
        raise UserError(f"{file}: {given_by.get(error.field or '', name)}: {error}") from None
    return SuiteRun(name, settings, given_by)


# --- a finished run as a suite ----------------------------------------------------------------------------------------


def as_suite(run: SavedRun) -> str:
    """The file of a suite that makes a finished run again.

    Args:
        run: The run.

    Returns:
        TOML. Models by their profiles' names and addresses; no key ever stands in it.

    Raises:
        UserError: The folder holds no run, or one that asks nothing.
    """
    if run.manifest.judged_anew:
        raise UserError(f"{run.folder}: only judges answers; give the run that it lies in, {run.folder.parent.parent}")
    return "".join(f"{line}\n" for line in _suite_lines(run))


def _suite_lines(run: SavedRun) -> Iterator[str]:
    from unsaf_async.inputs.sources import bundled_images

    manifest = run.manifest
    yield f"# As {run.folder.name} was made, with unsaf-async {manifest.versions.get('unsaf-async', '')}."
    if manifest.max_cost_usd is not None:
        yield f"max_cost = {manifest.max_cost_usd!r}"
    if not manifest.cache:
        yield "cache = false"
    yield "\n[settings]"
    judges = [manifest.others[name] for name in manifest.judges if name in manifest.others]
    auditors = [manifest.others[name] for name in manifest.auditors if name in manifest.others]
    yield from _keys(
        seed=manifest.seed,
        questions=manifest.questions,
        question_form=None if manifest.form == "open" else manifest.form,
        prompts=manifest.pack,
        judge=None if manifest.form == "choice" else list(manifest.judges) or "rules",
        judge_api_base=_address(judges),
        judge_together=manifest.judge_together if manifest.judge_together > 1 else None,
        audit=list(manifest.auditors) or None,
        audit_api_base=_address(auditors),
        grounded=manifest.grounded or None,
        confidence=manifest.confidence or None,
        samples=manifest.samples or None,
        controls=list(manifest.controls) or None,
        controls_per_image=manifest.controls_per_image if manifest.controls else None,
        until_ci=manifest.until_ci,
        anytime=manifest.anytime or None,
        strict_model=manifest.strict_model or None,
    )
    subject = manifest.subject
    usual = _usual(subject.name)
    side_px = subject.image.max_side_px
    yield "\n[[models]]"
    yield from _keys(
        provider=subject.name,
        model=subject.wire_model if usual is None or usual.model != subject.model else None,
        api_base=_address([subject]),
        price=_price(subject) if usual is None or usual.price is None else None,
        max_side=side_px if usual is None or usual.image.max_side_px != side_px else None,
    )
    source = manifest.source
    if source is not None and source.kind == "labelled":
        yield "\n[[image_sets]]"
        yield from _keys(data=source.path, data_format=source.format or None, limit=manifest.images)
    elif source is not None:
        yield "\n[[image_sets]]"
        yield from _keys(questions_from=source.path)
    elif {image.path for image in run.images} != {image.path.absolute() for image in bundled_images(subject.images)}:
        yield "\n[[image_sets]]"
        yield from _keys(images=str(run.files.images.absolute()))


def _keys(**values: Any) -> Iterator[str]:
    """Lines of TOML; values that are None are left out. JSON's texts and lists are TOML's, too."""
    for key, value in values.items():
        if value is not None:
            yield f"{key} = {json.dumps(value, ensure_ascii=False)}"


def _usual(name: str) -> Profile | None:
    """What the user's own files say of a model; None if they know none of this name."""
    try:
        return resolve(name)
    except UserError:
        return None


def _address(models: Sequence[Profile]) -> list[str] | None:
    """Where models were called, if that is elsewhere than their profiles say and the same for all; None if not."""
    elsewhere = {
        each.endpoints
        for each in models
        if each.endpoint and getattr(_usual(each.name), "endpoints", ()) != each.endpoints
    }
    return list(elsewhere.pop()) if len(elsewhere) == 1 else None


def _price(profile: Profile) -> str | None:
    price = profile.price
    return f"{price.input_usd_per_mtok:g},{price.output_usd_per_mtok:g}" if price else None
