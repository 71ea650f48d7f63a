"""`run --ray local` for real: a worker is killed in the middle, and no key is in any file of Ray's."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from chaos.desk import PROFILE, Desk, Options
from cluster.kills import lost_workers

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray: make test-ray")

KEY = "sk-only-in-memory-4711"


def test_a_worker_that_is_killed_costs_what_was_in_flight_and_no_key_is_in_rays_files(tmp_path: Path) -> None:
    desk = Desk(tmp_path, Options(images=16, kills=1))
    named = PROFILE.replace("BACKEND", "openai").replace(
        'model = "simulated"', 'model = "simulated"\napi_key_env = "SIM_WORD"'
    )
    (tmp_path / "providers" / "openai-chaos.toml").write_text(named, "utf-8")
    # Ray's sockets have long names of their own, and a socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as rays:
        said = lost_workers(desk, "openai", workers=2, storm=False, environment={"RAY_TMPDIR": rays, "SIM_WORD": KEY})
        files = [file for file in Path(rays).rglob("*") if file.is_file()]
        assert len(files) > 10
        assert [file for file in files if KEY.encode() in file.read_bytes()] == []
    print(said)
    assert "1 workers killed, 1 told" in said
    assert [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()] == []
