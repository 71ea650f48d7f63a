"""`run --ray` and `run --processes`: which workers examine a run's images."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

from unsaf_async.errors import UserError, setting
from unsaf_async.help import SPEED, Help
from unsaf_async.text import install_extra

if TYPE_CHECKING:
    from unsaf_async.runs.spread import Spread


@dataclass(frozen=True)
class Spreading:
    """Who examines the images, where it is not this process alone."""

    ray: Annotated[
        str | None,
        Help(
            'Have Ray workers examine the images: on this machine ("local"), or on a cluster. Needs the extra ray.',
            metavar="ADDRESS|local",
            panel=SPEED,
        ),
    ] = None
    workers: Annotated[int | None, Help("With --ray: so many. Default: 2.", metavar="N", panel=SPEED)] = None
    processes: Annotated[
        int | None,
        Help("Examine the images in so many processes: --ray local --workers N.", metavar="N", panel=SPEED),
    ] = None

    def checked(self, *, spawns: bool = False) -> Spread | None:
        """The workers that are asked for.

        Args:
            spawns: Whether the run starts a server on this machine.

        Returns:
            None: this process examines the images.

        Raises:
            UserError: The options contradict each other, or Ray is not installed.
        """
        for name in ("workers", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"is {value}; give a whole number above 0", field=name)
        if self.processes is not None and (self.ray is not None or self.workers is not None):
            other = setting("ray" if self.ray is not None else "workers")
            raise UserError(f"{setting('processes')} and {other} contradict each other; give one of them")
        if self.workers is not None and self.ray is None:
            raise UserError(
                f"is about Ray's workers; give {setting('ray')}, too, or {setting('processes')}", field="workers"
            )
        if self.ray is None and self.processes is None:
            return None
        if spawns and self.ray not in (None, "local"):
            there = setting("ray", "local")
            raise UserError(f"starts a server on this machine, which others do not reach; give {there}", field="spawn")
        if self.ray is not None and self.ray.startswith("ray://"):
            raise UserError(
                f'is {self.ray}; start the run on a machine of the cluster and give its host:port, or "auto"',
                field="ray",
            )
        if find_spec("ray") is None:
            what = setting("processes" if self.ray is None else "ray")
            raise UserError(f"{what} needs Ray, which is not installed; {install_extra('ray')}")
        from unsaf_async.cluster.on_ray import LOCAL, RayWorkers

        return RayWorkers(self.ray or LOCAL, self.processes or self.workers or 2)
