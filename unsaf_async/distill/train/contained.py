"""A training leaves the process as it found it: random numbers, threads, and what libraries say."""

from __future__ import annotations

import os
import random
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
import transformers
from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled
from transformers import set_seed

from unsaf_async.trackers import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unsaf_async.distill.train.recipe import Recipe

_TENSORBOARD = "TENSORBOARD_LOGGING_DIR"
"""Where transformers looks for the folder."""
_PROJECTS = ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME")
"""Where trackers look for the project, which is otherwise the library's: "huggingface", "Default"."""


@contextmanager
def contained(recipe: Recipe) -> Iterator[None]:
    """Seeds all random numbers and sets threads, and puts everything back at the end; libraries report errors alone.

    Args:
        recipe: Seed, threads, and the folder that TensorBoard's files go to. Trackers are given a project of ours.

    Yields:
        Nothing.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    threads, verbosity = torch.get_num_threads(), transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled(), is_progress_bar_enabled()
    # By default TensorBoard's files lie among the checkpoints, which are taken away at the end.
    defaults = {_TENSORBOARD: str(recipe.out / "tensorboard"), **dict.fromkeys(_PROJECTS, PROJECT)}
    if os.environ.get("MLFLOW_EXPERIMENT_ID"):
        del defaults["MLFLOW_EXPERIMENT_NAME"]
    given = {name: os.environ.get(name) for name in defaults}
    os.environ.update({name: given[name] or value for name, value in defaults.items()})
    try:
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        set_seed(recipe.seed)
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        disable_progress_bar()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of libraries about each other; what concerns the user is in the preflight
            yield
    finally:
        for name, value in given.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        torch.set_num_threads(threads)
        transformers.logging.set_verbosity(verbosity)
        if bars[0]:
            transformers.logging.enable_progress_bar()
        if bars[1]:
            enable_progress_bar()
