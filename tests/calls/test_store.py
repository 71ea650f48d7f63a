"""The store: a key covers everything that can change an answer, and a folder that somebody tampered with runs no code."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from unittest.mock import Mock

import orjson
import pytest
from diskcache import Cache, Timeout
from doubles import IMAGE, Function, disk_of, reply, request
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.calls.cached import Cached
from unsaf_async.calls.disk import entries, open_cache
from unsaf_async.calls.seal import Seal
from unsaf_async.calls.store import ReplyStore
from unsaf_async.calls.stored_reply import digests_of, key_of, key_parts, packed, unpacked
from unsaf_async.errors import UserError
from unsaf_async.records import (
    EncodedImage,
    Message,
    PromptCache,
    Reply,
    Request,
    Sampling,
    Schema,
    Target,
    Usage,
)

FULL = Request(
    role="answer",
    target=Target("gpt", "gpt-4o", "https://api.example/v1", {"reasoning_effort": "low"}),
    messages=(Message("system", "Be brief."), Message("user", "What is this?", IMAGE)),
    sampling=Sampling(max_output_tokens=300, temperature=0.5, top_p=0.9, seed=7, logprobs=True),
    schema=Schema("questions", {"type": "object", "properties": {"a": {"type": "string"}}}),
    draw=3,
    prompt_cache=PromptCache("pixels:", 1044, 12, by_mark=True, an_hour=True, by_key=True),
)
"""A request with every field set."""

PINNED = "f43d9da2a5e7fe6efc7b17acb8c57319d560f91793455b52796990e44f3c1412"
"""The key of `FULL`. If it changes, every reply that users have paid for is asked again: raise KEY_VERSION knowingly."""

LEFT_OUT = {
    "Request.role",  # steers priority and accounting
    *(f"PromptCache.{field.name}" for field in fields(PromptCache)),  # steers what the provider keeps, and its bill
    "Target.provider",  # the profile's local name
    "EncodedImage.data",  # the pixels' hash stands in
    "EncodedImage.width",  # in the pixels' hash
    "EncodedImage.height",
    "EncodedImage.difference_hash",
    "EncodedImage.notes",
}


def key(wanted: Request) -> str:
    return key_of(key_parts(wanted))


def changed(value: object) -> object:
    """Another value of the same kind."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case bytes():
            return value + b"x"
        case dict():
            return value | {"further": 1}
    raise AssertionError(f"no other value is known for {value!r}: teach the test")


def variants(whole: object):
    """(field, copy of `whole` in which just that field differs), down to the leaves."""
    for field in fields(whole):
        value = getattr(whole, field.name)
        if is_dataclass(value):
            for name, variant in variants(value):
                yield name, replace(whole, **{field.name: variant})
        elif isinstance(value, tuple):
            yield f"{type(whole).__name__}.{field.name}", replace(whole, **{field.name: value[:-1]})
            yield f"{type(whole).__name__}.{field.name}", replace(whole, **{field.name: value[::-1]})
            for index, part in enumerate(value):
                for name, variant in variants(part):
                    yield name, replace(whole, **{field.name: (*value[:index], variant, *value[index + 1 :])})
        elif value is not None:
            yield f"{type(whole).__name__}.{field.name}", replace(whole, **{field.name: changed(value)})


def test_every_field_of_a_request_changes_its_key_but_those_that_cannot_change_the_answer():
    seen = set()
    for name, variant in variants(FULL):
        seen.add(name)
        assert (key(variant) == key(FULL)) == (name in LEFT_OUT), name
    every = {
        f"{kind.__name__}.{field.name}"
        for kind in (Request, Target, Message, Sampling, Schema, EncodedImage, PromptCache)
        for field in fields(kind)
    }
    # Fields that hold further records are walked into.
    walked = {"Request.target", "Request.sampling", "Request.schema", "Request.prompt_cache", "Message.image"}
    how_bytes_come = {"EncodedImage.make"}  # the pixels' digest stands for them
    assert seen == every - walked - how_bytes_come


def test_a_part_that_is_left_out_makes_another_key_than_one_that_is_there():
    keys = {
        key(FULL),
        key(replace(FULL, schema=None)),
        key(replace(FULL, messages=(Message("system", "Be brief."), Message("user", "What is this?")))),
        *(
            key(replace(FULL, sampling=replace(FULL.sampling, **{name: None})))
            for name in ("temperature", "top_p", "seed")
        ),
    }
    assert len(keys) == 6


def test_the_order_in_which_extra_fields_and_schemas_are_written_does_not_matter():
    one = replace(FULL, target=Target("a", "m", "", {"x": 1, "y": {"p": 1, "q": 2}}))
    other = replace(FULL, target=Target("a", "m", "", {"y": {"q": 2, "p": 1}, "x": 1}))
    assert key(one) == key(other)
    assert digests_of(key_parts(one)) == digests_of(key_parts(other))


def test_text_cannot_be_moved_between_messages_unnoticed():
    assert key(replace(FULL, messages=(Message("user", "ab"), Message("user", "c")))) != key(
        replace(FULL, messages=(Message("user", "a"), Message("user", "bc")))
    )


def test_the_key_is_the_same_in_every_process_and_version():
    assert key(FULL) == PINNED
    script = "from test_store import FULL, key; print(key(FULL))"
    places = os.pathsep.join([os.path.dirname(__file__), *filter(None, sys.path)])  # noqa: PTH120
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": places}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == PINNED


# --- what is stored


TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=50)
COUNT = st.integers(0, 10**9)


@given(
    st.builds(
        Reply,
        outcome=st.sampled_from(["ok", "truncated", "refused", "blocked", "unreadable"]),
        text=TEXT,
        finish_reason=st.none() | TEXT,
        usage=st.builds(Usage, COUNT, COUNT, COUNT, COUNT, COUNT),
        cost_usd=st.floats(0, 1e6),
        detail=TEXT,
        model=TEXT,
        logprobs=st.none() | st.lists(st.floats(-100, 0), max_size=5).map(tuple),
        latency_s=st.floats(0, 1e6),
    )
)
def test_a_reply_is_read_back_as_it_was_stored_and_says_that_it_was(said):
    assert unpacked(packed(key_parts(FULL), said)) == replace(said, cached=True)


GOOD = orjson.loads(packed(key_parts(FULL), reply()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        b"7",
        b"null",
        b"[]",
        b"{}",
        b'{"reply": 7, "parts": {}}',
        b'{"reply": {}, "parts": {}}',
        orjson.dumps({"reply": GOOD["reply"]}),
        orjson.dumps({**GOOD, "parts": 7}),
        *(orjson.dumps({**GOOD, "reply": {**GOOD["reply"], name: {"an": "object"}}}) for name in GOOD["reply"]),
        orjson.dumps({**GOOD, "reply": {**GOOD["reply"], "outcome": "splendid"}}),
        orjson.dumps({**GOOD, "reply": {**GOOD["reply"], "usage": {"input_tokens": "many"}}}),
        orjson.dumps({**GOOD, "reply": {**GOOD["reply"], "usage": {"apples": 1}}}),
        orjson.dumps({**GOOD, "reply": {**GOOD["reply"], "colour": "red"}}),
        *(
            orjson.dumps({**GOOD, "reply": {k: v for k, v in GOOD["reply"].items() if k != name}})
            for name in GOOD["reply"]
        ),
    ],
)
def test_what_is_no_stored_reply_is_a_value_error_whatever_it_is(data):
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own error is one, too
        unpacked(data)


def test_the_digests_tell_which_part_of_two_requests_differs():
    mine = digests_of(key_parts(FULL))
    theirs = digests_of(key_parts(replace(FULL, sampling=replace(FULL.sampling, temperature=1.0))))
    assert {name for name in mine if mine[name] != theirs[name]} == {"temperature"}
    theirs = digests_of(
        key_parts(replace(FULL, messages=(FULL.messages[0], replace(FULL.messages[1], text="And this?"))))
    )
    assert {name for name in mine if mine[name] != theirs[name]} == {"text"}
    theirs = digests_of(key_parts(replace(FULL, messages=(FULL.messages[0], replace(FULL.messages[1], image=None)))))
    assert {name for name in mine if mine[name] != theirs[name]} == {"pixels"}


# --- the folder


async def test_what_is_put_is_got_and_outlives_the_store(tmp_path):
    store = ReplyStore(tmp_path / "cache")
    assert await store.get("a") is None
    await store.put("a", b"1")
    await store.put("b", b"x" * 200_000)  # lies in a file of its own
    assert (await store.get("a"), await store.get("b")) == (b"1", b"x" * 200_000)
    assert await store.first("none", "a", "b") == b"1"
    assert await store.first("none", "nothing") is None
    store.close()
    store.close()
    again = ReplyStore(tmp_path / "cache")
    assert await again.get("a") == b"1"
    again.close()


async def test_a_thousand_reads_and_writes_at_once_all_come_back(tmp_path):
    store = ReplyStore(tmp_path / "cache")
    await asyncio.gather(*(store.put(f"{number}", b"%d" % number) for number in range(1000)))
    assert await asyncio.gather(*(store.get(f"{number}") for number in range(1000))) == [
        b"%d" % number for number in range(1000)
    ]
    store.close()


async def test_a_cancelled_write_is_written_all_the_same(tmp_path):
    """The reply was paid for."""
    store = ReplyStore(tmp_path / "cache")
    writing = asyncio.create_task(store.put("a", b"1"))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await store.get("a") == b"1"
    store.close()


async def test_closing_finishes_what_was_handed_in_a_moment_ago(tmp_path):
    store = ReplyStore(tmp_path / "cache")
    writing = asyncio.create_task(store.put("a", b"1"))
    await asyncio.sleep(0)
    store.close()
    writing.cancel()
    cache = open_cache(tmp_path / "cache")
    assert cache.get("a") == b"1"
    cache.close()


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from unsaf_async.calls.seal import Seal
from unsaf_async.calls.store import ReplyStore

async def main():
    store = ReplyStore(Path("cache"), Path("received.jsonl"))
    await store.put("stored", b'{"n":0}')
    tasks = [asyncio.create_task(store.put(f"{number}", b'{"n":%d}' % number)) for number in range(100)]
    await asyncio.sleep(0)  # now each has begun, and none was handed to the thread
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_received_and_not_stored_at_a_kill_is_stored_by_the_next_session(tmp_path):
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, cwd=tmp_path)
    assert await killed.wait() == -signal.SIGKILL
    without = ReplyStore(tmp_path / "cache")
    assert await without.get("stored") == b'{"n":0}'
    assert await without.get("5") is None, "the kill came too late to show anything"
    without.close()

    received = tmp_path / "received.jsonl"
    with received.open("ab") as file:
        file.write(b'half {"n"')  # what a dying process may leave of a line
    store = ReplyStore(tmp_path / "cache", received)
    assert not received.read_bytes()
    assert [await store.get(f"{number}") for number in range(100)] == [b'{"n":%d}' % number for number in range(100)]
    assert await store.get("half") is None
    store.close()
    assert not received.exists()


@pytest.mark.parametrize("key", [b"secret", None])
async def test_a_received_reply_without_the_mark_of_its_run_is_for_that_run_alone(tmp_path, key):
    received = tmp_path / "received.jsonl"
    store = ReplyStore(tmp_path / "cache", received, seal=Seal("mine", key))
    await store.put("a", b"1 of mine")
    (line,) = received.read_bytes().splitlines()
    store.close()
    marked_by_another = Seal("mine", b"guessed").sealed(b"b 2")
    changed = line.replace(b"1 of mine", b"1 of yours")
    received.write_bytes(b"\n".join([line, b"c 3", b"d:theirs 4", marked_by_another, changed, b""]))
    store = ReplyStore(tmp_path / "new", received, seal=Seal("mine", key))
    assert await store.get("a") == (b"1 of mine" if key else None)
    assert [await store.get(name) for name in ("b", "c", "d", "d:theirs")] == [None] * 4
    assert await store.get("c:mine") == b"3"
    assert await store.get("d:mine") == b"4"
    store.close()


async def test_what_another_run_has_stored_meanwhile_is_left_alone(tmp_path):
    (tmp_path / "received.jsonl").write_bytes(b"a mine\nb mine, in words\n")
    other = ReplyStore(tmp_path / "cache")
    await other.put("a", b"theirs")
    other.close()
    store = ReplyStore(tmp_path / "cache", tmp_path / "received.jsonl")
    assert (await store.get("a"), await store.get("b")) == (b"theirs", b"mine, in words")
    store.close()


async def test_the_file_of_received_replies_does_not_grow_for_ever(tmp_path):
    received = tmp_path / "received.jsonl"
    store = ReplyStore(tmp_path / "cache", received)
    sizes = []
    for number in range(30):
        assert await store.get(f"{number}") is None  # reads are no replies that wait
        await store.put(f"{number}", b"x" * 100_000)
        sizes.append(received.stat().st_size)
    assert max(sizes) < 1_300_000
    assert min(sizes) < 200_000
    store.close()
    assert not received.exists()


async def test_received_replies_stay_in_their_file_until_all_that_came_with_and_after_them_are_stored(tmp_path):
    """The first batch is stored, and is larger than the file may grow, while the second one is still under way."""
    received = tmp_path / "received.jsonl"
    store = ReplyStore(tmp_path / "cache", received)

    async def batch(name):
        tasks = {f"{name}{n}".encode(): asyncio.create_task(store.put(f"{name}{n}", b"x" * 5_000)) for n in range(300)}
        await asyncio.sleep(0)
        return tasks

    first, second = await batch("a"), await batch("b")
    await asyncio.gather(*first.values())
    kept = {line.partition(b" ")[0] for line in received.read_bytes().splitlines()}
    assert {name for name, writing in second.items() if not writing.done()} <= kept
    await asyncio.gather(*second.values())
    store.close()


async def test_what_cannot_be_stored_stays_received_and_is_stored_once_the_folder_is_mended(tmp_path):
    folder, received = tmp_path / "cache", tmp_path / "received.jsonl"
    replies = {
        name: b'{"text": "%s"}' % (name.encode() * 700_000) for name in "abc"
    }  # two are more than the file may hold
    store = ReplyStore(folder, received)
    with sqlite3.connect(folder / "cache.db") as database:
        database.execute("ALTER TABLE Cache RENAME TO Hidden")
    for name in "ab":
        with pytest.raises(UserError, match="the cache cannot be used"):
            await store.put(name, replies[name])
    with sqlite3.connect(folder / "cache.db") as database:
        database.execute("ALTER TABLE Hidden RENAME TO Cache")
    database.close()
    await store.put("c", replies["c"])
    store.close()
    again = ReplyStore(folder, received)
    assert {name: await again.get(name) for name in "abc"} == replies
    again.close()
    assert not received.exists()


async def test_a_full_disk_is_said_and_nobody_waits_for_ever(tmp_path):
    store = ReplyStore(tmp_path / "cache")
    await store.put("a", b"1")
    with disk_of(100_000), pytest.raises(UserError, match="the cache cannot be used"):
        await asyncio.wait_for(store.put("b", b"x" * 200_000), 5)
    await asyncio.wait_for(store.put("b", b"x" * 200_000), 5)  # there is room again
    assert await store.get("b") == b"x" * 200_000
    store.close()


@pytest.mark.parametrize("broken", [b"\xff 1", b"lock"])
def test_a_file_of_received_replies_that_cannot_be_stored_is_said_and_stays(tmp_path, broken, monkeypatch):
    received = tmp_path / "received.jsonl"
    received.write_bytes(b"good 1\n" + broken + b"\n")
    if broken == b"lock":  # another process keeps the folder locked; the real one is given up after a minute
        monkeypatch.setattr(Cache, "transact", Mock(side_effect=Timeout))
    with pytest.raises(UserError, match=r"received\.jsonl: the replies in it cannot be stored") as error:
        ReplyStore(tmp_path / "cache", received)
    assert "\n" not in str(error.value)
    assert received.read_bytes() == b"good 1\n" + broken + b"\n"


async def test_a_folder_that_stays_locked_is_said_and_nobody_waits_for_ever(tmp_path, monkeypatch):
    store = ReplyStore(tmp_path / "cache")
    monkeypatch.setattr(Cache, "transact", Mock(side_effect=Timeout))
    with pytest.raises(UserError, match="the cache cannot be used"):
        await asyncio.wait_for(store.put("a", b"1"), 5)
    store.close()


async def test_no_reply_is_ever_evicted_however_many_there_are(tmp_path):
    """diskcache's own default is to drop the oldest ones beyond a size, which is lowered here."""
    cache = open_cache(tmp_path / "cache")
    cache.reset("size_limit", 1_000)  # is stored in the folder
    cache.close()
    store = ReplyStore(tmp_path / "cache")
    for number in range(30):
        await store.put(f"{number}", b"x" * 1_000)
    assert None not in [await store.get(f"{number}") for number in range(30)]
    store.close()


async def test_a_value_of_several_lines_is_refused(tmp_path):
    store = ReplyStore(tmp_path / "cache", tmp_path / "received.jsonl")
    with pytest.raises(ValueError, match="one line"):
        await store.put("a", b"1\n2")
    store.close()


def test_what_was_handed_in_is_stored_even_if_the_loop_is_closed_meanwhile(tmp_path):
    store = ReplyStore(tmp_path / "cache")

    async def main():
        tasks = [asyncio.create_task(store.put(f"{number}", b"x" * 50_000)) for number in range(600)]
        await asyncio.sleep(0.01)
        return tasks

    asyncio.run(main())
    store.close()
    cache = open_cache(tmp_path / "cache")
    assert len(cache) == 600
    cache.close()


FILES = ("cache.db", "cache.db-shm", "cache.db-wal", "claims.lock")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
async def test_the_cache_is_only_for_its_owner_whatever_the_umask(tmp_path, umask):
    folder = tmp_path / "new" / "cache"
    before = os.umask(umask)
    try:
        store = ReplyStore(folder, tmp_path / "received.jsonl")
        await store.put("small", b"1")
        await store.put("large", b"x" * 3_000_000)
        modes = {file.name: file.stat().st_mode & 0o777 for file in (*folder.iterdir(), tmp_path / "received.jsonl")}
        store.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys([".gitignore", *FILES, "received.jsonl"], 0o600)
    assert [each.stat().st_mode & 0o777 for each in (folder, folder.parent)] == [0o700, 0o700]
    assert (folder / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(("mode", "files"), [(0o755, 0o600), (0o750, 0o600), (0o770, 0o660)])
async def test_a_cache_in_a_folder_that_is_there_leaves_its_mode_and_is_the_groups_where_it_may_write(
    tmp_path, mode, files
):
    (tmp_path / "there").mkdir()
    (tmp_path / "there").chmod(mode)
    store = ReplyStore(tmp_path / "there")
    await store.put("key", b"1")
    found = {file.name: file.stat().st_mode & 0o777 for file in (tmp_path / "there").iterdir()}
    store.close()
    assert found == dict.fromkeys(FILES, files)  # no .gitignore: not our folder
    assert (tmp_path / "there").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("name", ["cache.db", "cache.db-wal", "cache.db-shm", "cache.db-journal"])
@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_a_cache_whose_files_are_links_is_refused_and_what_they_lead_to_stays(tmp_path, name, kind):
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    (tmp_path / "cache").mkdir()
    if kind == "link":
        (tmp_path / "cache" / name).symlink_to(victim)
    else:
        (tmp_path / "cache" / name).hardlink_to(victim)
    with pytest.raises(UserError, match=r"cannot be used as a cache .*link"):
        open_cache(tmp_path / "cache")
    assert victim.read_bytes() == b""


def test_a_planted_row_neither_reads_nor_deletes_a_file_outside_the_cache(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    open_cache(tmp_path / "cache").close()
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as database:
        row = ("key", 1, 2, "../victim", 4)
        database.execute("INSERT INTO Cache (key, raw, mode, filename, size) VALUES (?, ?, ?, ?, ?)", row)
    database.close()
    cache = open_cache(tmp_path / "cache")
    with pytest.raises(ValueError, match="outside"):
        cache.get("key")
    cache.set("key", b"new")
    assert cache.get("key") == b"new"
    cache.close()
    assert victim.read_text() == "mine"


def test_a_folder_that_cannot_be_used_is_the_users_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "cache.db").write_text("no database " * 1000)
    for name in ("file", "file/below", "broken", "x" * 300):
        with pytest.raises(UserError) as error:
            ReplyStore(tmp_path / name)
        assert str(error.value).startswith("cache ")
        assert "\n" not in str(error.value)


async def test_a_folder_that_breaks_under_way_is_said_and_nobody_waits_for_ever(tmp_path):
    store = ReplyStore(tmp_path / "cache")
    await store.put("a", b"1")
    with sqlite3.connect(tmp_path / "cache" / "cache.db") as database:
        database.execute("DROP TABLE Cache")
    for work in (store.get("a"), store.put("b", b"2")):
        with pytest.raises(UserError, match="the cache cannot be used"):
            await asyncio.wait_for(work, 5)
    together = asyncio.gather(store.get("a"), store.put("b", b"2"), store.get("c"), return_exceptions=True)
    assert [type(outcome) for outcome in await asyncio.wait_for(together, 5)] == [UserError] * 3
    store.close()


LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
database.execute("COMMIT")
"""


@contextmanager
def locked(folder):
    """The cache in `folder` is locked by another process; yields what unlocks it."""
    command = [sys.executable, "-c", LOCKER, str(folder / "cache.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "locked\n"
        yield lambda: other.communicate("unlock\n", timeout=10)


async def test_while_another_process_locks_the_folder_replies_wait_and_none_is_lost(tmp_path):
    store = ReplyStore(tmp_path / "cache")
    await store.put("known", b"1")
    provider = Function(lambda wanted: reply(wanted.messages[0].text))
    cached = Cached(provider, store, {}, "run")
    with locked(tmp_path / "cache") as unlock:
        assert await asyncio.wait_for(store.get("known"), 5) == b"1"  # reading needs no lock
        calls = [asyncio.create_task(cached.complete(request(str(number)))) for number in range(5)]
        async with asyncio.timeout(10):
            while len(provider.requests) < 5:  # noqa: ASYNC110 - the provider has no event to wait for
                await asyncio.sleep(0.01)
        done, _ = await asyncio.wait(calls, timeout=0.3)
        assert not done, "a reply is handed out before it is stored"
        calls.pop().cancel()  # its reply is paid for, too
        await asyncio.to_thread(unlock)
        assert [made.text for made in await asyncio.wait_for(asyncio.gather(*calls), 10)] == ["0", "1", "2", "3"]
    again = [await asyncio.wait_for(cached.complete(request(str(number))), 5) for number in range(5)]
    assert [(made.text, made.cached) for made in again] == [(str(number), True) for number in range(5)]
    assert len(provider.requests) == 5
    store.close()


async def test_a_folder_that_another_process_locks_is_opened_when_it_is_free(tmp_path):
    open_cache(tmp_path / "cache").close()
    with locked(tmp_path / "cache") as unlock:
        opening = asyncio.create_task(asyncio.to_thread(ReplyStore, tmp_path / "cache"))
        await asyncio.wait([opening], timeout=0.3)
        await asyncio.to_thread(unlock)
        store = await asyncio.wait_for(opening, 10)
    await store.put("a", b"1")
    assert await store.get("a") == b"1"
    store.close()


# --- a tampered folder


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (self.mark,))


def plant(folder, key, raw, mode, filename, value):
    """A row as an attacker, or a broken disk, might write it."""
    with sqlite3.connect(folder / "cache.db") as database:
        database.execute(
            "INSERT OR REPLACE INTO Cache (key, raw, store_time, access_time, access_count, size, mode, filename, value)"
            " VALUES (?, ?, 0, 0, 0, 0, ?, ?, ?)",
            (key, raw, mode, filename, value),
        )
    database.close()


async def test_planted_rows_run_no_code_and_read_as_misses(tmp_path):
    folder = tmp_path / "cache"
    mark = tmp_path / "the-bomb-went-off"
    bomb = pickle.dumps(Bomb(str(mark)))
    open_cache(folder).close()
    (folder / "bomb.val").write_bytes(bomb)
    (folder / "latin.val").write_bytes(b"\xff\xfe\xff")
    planted = {
        "pickled value": (1, 4, None, bomb),
        "pickled file": (1, 4, "bomb.val", None),
        "pickle without a file": (1, 4, None, None),
        "file without a name": (1, 2, None, None),
        "file that is not there": (1, 2, "missing.val", None),
        "a folder": (1, 2, "", None),
        "text that is none": (1, 3, "latin.val", None),
        "text without a name": (1, 3, None, None),
        "a number": (1, 1, None, 7),
        "a text": (1, 1, None, "text"),
        "nothing": (1, 1, None, None),
        "an unknown mode": (1, 99, None, b"x"),
    }
    for name, row in planted.items():
        plant(folder, name, *row)
    plant(folder, bomb, 0, 1, None, b"{}")  # a pickled key
    plant(folder, 7, 1, 1, None, b"{}")
    plant(folder, None, 1, 1, None, b"{}")
    plant(folder, b"bytes", 1, 1, None, b"{}")
    plant(folder, "json", 1, 1, None, b'{"reply": 1}')
    plant(folder, "good", 1, 1, None, packed(key_parts(FULL), reply()))

    store = ReplyStore(folder)
    for name in planted:
        assert await asyncio.wait_for(store.get(name), 5) is None, name
        assert await asyncio.wait_for(store.first(name, "good"), 5) is not None, name
    for name in planted:  # and they can be written over
        await store.put(name, b"new")
        assert await store.get(name) == b"new"
    store.close()
    for name, row in planted.items():
        plant(folder, name, *row)
    assert [name for name, _ in entries(folder)] == ["good"]
    assert not mark.exists()


async def test_a_store_takes_nothing_but_bytes_under_text(tmp_path):
    cache = open_cache(tmp_path / "cache")
    for name, value in [("a", {"x": 1}), ("a", "text"), ("a", None), (7, b"x"), (("a",), b"x")]:
        with pytest.raises(TypeError):
            cache.set(name, value)
    cache.close()


def test_a_request_is_looked_up_under_the_same_key_by_whatever_name_its_profile_has():
    assert key(request(target=Target("mine", "m"))) == key(request(target=Target("yours", "m"), role="judge"))
