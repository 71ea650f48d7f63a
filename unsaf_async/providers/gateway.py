"""A gateway that the models of all vendors are called through: the `[gateway]` table of a provider file, as a record."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from unsaf_async.providers.addresses import GATEWAY
from unsaf_async.providers.profile import EnvironmentVariable, Flag, Headers, Profile, Text, url_problem
from unsaf_async.records import Record


class Gateway(Record):
    """One address and one key for the models of all vendors."""

    endpoint: Text
    """Base URL."""
    backend: Literal["openai", "anthropic", "gemini", "azure"] | None = None
    """Whose protocol it speaks; None: to each vendor's models that vendor's own."""
    api_key_env: EnvironmentVariable | None = None
    """The environment variable that holds its key; None: it wants none."""
    api_key_required: Flag = True
    """Whether a run may start without the key, where `api_key_env` names one."""
    headers: Headers = Field(default_factory=dict)
    """Further headers of every request. No secrets: the manifest records them."""
    model: Text = "{name}"
    """What it calls a model: "{vendor}" and "{name}" stand for the vendor's name and the model's id at the vendor."""

    @field_validator("endpoint")
    @classmethod
    def _plain(cls, endpoint: str) -> str:
        if problem := url_problem(endpoint):
            raise ValueError(problem)
        return endpoint.rstrip("/")

    @field_validator("model")
    @classmethod
    def _names_the_model(cls, model: str) -> str:
        if "{name}" not in model:
            raise ValueError('lacks {name}; give a text such as "{vendor}/{name}"')
        return model

    def called_through(self, profile: Profile, file: str) -> Profile:
        """A vendor's model as it is called through the gateway.

        Args:
            profile: The model's at its vendor.
            file: Where the gateway is from, as users know it.

        Returns:
            The profile with the gateway's address, key, headers and protocol; its price stays the vendor's.
        """
        name = self.model.replace("{vendor}", profile.vendor).replace("{name}", profile.wire_model)
        changed: dict[str, object] = {
            "endpoint": self.endpoint,
            "replicas": (),
            "origin": "; ".join(filter(None, (profile.origin, f"{GATEWAY}{file}"))),
            "api_key_env": self.api_key_env,
            "api_key_required": self.api_key_required and self.api_key_env is not None,
            "headers": {**profile.headers, **self.headers},
            "outputs_may_train": False if profile.outputs_may_train is False else None,
        }
        if self.backend is not None:
            # The id goes out as it is, so that the vendor is no prefix of it; the price is looked up by the old one.
            changed |= {"backend": self.backend, "packages": {}, "vendor": "", "model": name}
            changed["priced_as"] = profile.priced_as or profile.model
        else:
            changed["model"] = f"{profile.vendor}/{name}"
        return profile.model_copy(update=changed)
