"""Which models there are, and what they have against a request."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from unsaf_async.simulate import generations
from unsaf_async.simulate.wire import Refusal, Trouble

if TYPE_CHECKING:
    from unsaf_async.simulate.settings import Simulation
    from unsaf_async.simulate.wire import Call, Vendor

OWN = "simulated"
"""The model that is no vendor's."""


class Admission:
    """The models of a simulation, and how many requests each has had.

    Args:
        simulation: What is simulated.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._requests: Counter[str] = Counter()

    def names(self, vendor: Vendor) -> tuple[str, ...]:
        """The models that the list of models names.

        Args:
            vendor: Whose route was called.

        Returns:
            Their names, without the retired ones.
        """
        models = self._simulation.models
        listed = (OWN, *generations.names_of(vendor)) if models is None else models
        return tuple(model for model in listed if not self._retired(model))

    def known(self, vendor: Vendor, model: str) -> bool:
        """Whether a model is answered, retired or not.

        Args:
            vendor: Whose route was called.
            model: The model's name.

        Returns:
            Whether it is.
        """
        simulation = self._simulation
        listed = simulation.models
        known = (
            model == OWN or generations.generation_of(vendor, model) is not None if listed is None else model in listed
        )
        return known or simulation.any_model

    def trouble(self, vendor: Vendor, call: Call) -> Trouble | None:
        """What speaks against a request, which is counted.

        Args:
            vendor: Whose route was called.
            call: The request.

        Returns:
            The trouble; None: nothing.
        """
        model, simulation = call.model, self._simulation
        generation = generations.generation_of(vendor, model)
        if not self.known(vendor, model):
            return Trouble("model", model=model)
        if self._retired(model):
            return Trouble("retired", model=model)
        self._requests[model] += 1
        for name in simulation.refuse:
            if name in call.settings:
                return Trouble("refused", model=model, refusal=_refused(vendor, name))
        if generation is not None and (found := next(generations.refusals(generation, call), None)):
            return Trouble("refused", model=model, refusal=found)
        if simulation.stream_only and vendor == "openai" and not call.stream:
            # Source: FoundationAgents/OpenManus#330, infiniflow/ragflow#5912 (DashScope); the blank at the end is theirs.
            message = "This model only support stream mode, please enable the stream parameter to access the model. "
            return Trouble("refused", model=model, refusal=Refusal(message, code="invalid_parameter_error"))
        return None

    def _retired(self, model: str) -> bool:
        end = self._simulation.expire.get(model)
        if isinstance(end, datetime):
            return datetime.now(UTC) >= end
        return end is not None and self._requests[model] >= end


def _refused(vendor: Vendor, name: str) -> Refusal:
    """The refusal of a parameter, in the vendor's words."""
    if vendor == "openai":
        message = f"Unsupported parameter: '{name}' is not supported with this model."
        return Refusal(message, name, code="unsupported_parameter")
    where = "generation_config" if vendor == "gemini" and name in generations.CONFIG_FIELDS else ""
    return next(generations.unknown_fields(vendor, ((where, name),)))
