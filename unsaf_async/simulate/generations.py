"""What each generation of the vendors' models refuses, and in which words. Data; the wires write the refusals down.

A generation is known by its models' names. A name of no generation here is held to nothing but the format. Each rule says
where its words were seen: a place in a public repository's issues, or a vendor's documentation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unsaf_async.simulate import schemas
from unsaf_async.simulate.wire import Refusal, Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from unsaf_async.simulate.wire import Call


@dataclass(frozen=True, slots=True)
class Rule:
    """A parameter that a generation refuses.

    field: the parameter's dotted name, as `Call.settings` has it. refuses: given its value, which is not None, and all
    settings. message: with {value} and {model}. source: where it was seen.
    """

    field: str
    refuses: Callable[[Any, Mapping[str, Any]], bool]
    message: str
    source: str
    status: int = 400
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """Models that take the same requests.

    names: those that a list of models shows. pattern: a regular expression that matches all of their names, dated ones
    as well. context_tokens, output_tokens: the most that a request and a reply may have.
    """

    vendor: Vendor
    names: tuple[str, ...]
    pattern: str
    context_tokens: int
    output_tokens: int
    rules: tuple[Rule, ...] = ()


def always(value: Any, settings: Mapping[str, Any]) -> bool:  # noqa: ARG001 - one of many
    """Whether a parameter is refused whatever its value: it is.

    Args:
        value: The parameter's.
        settings: All parameters.

    Returns:
        True.
    """
    return True


def _set(value: Any, settings: Mapping[str, Any]) -> bool:  # noqa: ARG001
    return bool(value)


def _not_one(value: Any, settings: Mapping[str, Any]) -> bool:  # noqa: ARG001
    return bool(value != 1)


def _not_one_while_reasoning(default: str) -> Callable[[Any, Mapping[str, Any]], bool]:
    return lambda value, settings: bool(value != 1 and settings.get("reasoning_effort", default) != "none")


def _set_while_reasoning(default: str) -> Callable[[Any, Mapping[str, Any]], bool]:
    return lambda value, settings: bool(value and settings.get("reasoning_effort", default) != "none")


# --- OpenAI -------------------------------------------------------------------------------------------------------

_UNSUPPORTED = "Unsupported parameter: '{field}' is not supported with this model."
_MAX_TOKENS = Rule(
    "max_tokens",
    always,
    f"{_UNSUPPORTED} Use 'max_completion_tokens' instead.",
    "platform.openai.com/docs/api-reference/chat, max_tokens; many issues on o1 and gpt-5",
    code="unsupported_parameter",
)
_NO_LOGPROBS = Rule(
    "logprobs",
    _set,
    "You are not allowed to request logprobs from this model",
    "openai/openai-python issues: 403 on o-series, gpt-5 and gpt-5.1",
    status=403,
)
_ONLY_ONE = (
    "Unsupported value: '{field}' does not support {value} with this model. Only the default (1) value is supported."
)
_SAMPLERS_FIXED = tuple(
    Rule(name, _not_one, _ONLY_ONE, "tmc/langchaingo#1355, QwenLM/qwen-code#921", code="unsupported_value")
    for name in ("temperature", "top_p")
)
_NO_EFFORT = Rule(
    "reasoning_effort",
    always,
    "Unrecognized request argument supplied: reasoning_effort",
    "davidmigloz/langchain_dart#712, umputun/tg-spam#304",
)


def _efforts(*efforts: str) -> Rule:
    """Only these are taken."""
    return Rule(
        "reasoning_effort",
        lambda value, _: value not in efforts,
        "Unsupported value: 'reasoning_effort' does not support '{value}' with this model. Supported values are: "
        f"{', '.join(repr(effort) for effort in efforts[:-1])}, and '{efforts[-1]}'.",
        "livekit/agents#3966, Kilo-Org/cloud#3807; values by model: anomalyco/models.dev#2351, anomalyco/opencode#26268",
        code="unsupported_value",
    )


_NO_CHAT = Rule(
    "model",
    always,
    "This is not a chat model and thus not supported in the v1/chat/completions endpoint. "
    "Did you mean to use v1/completions?",
    "gpt-5-pro and codex models on chat completions",
    status=404,
)


def _reasoning(default: str) -> tuple[Rule, ...]:
    """Rules of models that take samplers and log-probabilities only while they do not reason; `default`: their effort."""
    source = "live matrix of temperature, top_p and logprobs by effort in UKGovernmentBEIS/inspect_ai#5242"
    samplers = tuple(
        Rule(name, _not_one_while_reasoning(default), _UNSUPPORTED, source) for name in ("temperature", "top_p")
    )
    logprobs = Rule("logprobs", _set_while_reasoning(default), _NO_LOGPROBS.message, source, status=403)
    return (_MAX_TOKENS, *samplers, logprobs)


_OPENAI = (
    Generation("openai", ("gpt-4o", "gpt-4o-mini"), r"gpt-4o(-mini)?(-20\d\d-\d\d-\d\d)?", 128_000, 16_384, (_NO_EFFORT,)),
    Generation(
        "openai",
        ("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"),
        r"gpt-4\.1(-mini|-nano)?(-20\d\d-\d\d-\d\d)?",
        1_047_576,
        32_768,
        (_NO_EFFORT,),
    ),
    Generation("openai", (), r"(gpt-[56](\.\d)?|o[134])-(pro|codex)\b.*|codex-.*", 400_000, 128_000, (_NO_CHAT,)),
    Generation(
        "openai",
        ("o3", "o4-mini"),
        r"(o1|o3|o3-mini|o4-mini)(-20\d\d-\d\d-\d\d)?",
        200_000,
        100_000,
        (_MAX_TOKENS, *_SAMPLERS_FIXED, _NO_LOGPROBS, _efforts("low", "medium", "high")),
    ),
    Generation(
        "openai",
        ("gpt-5", "gpt-5-mini", "gpt-5-nano"),
        r"gpt-5(-mini|-nano)?(-20\d\d-\d\d-\d\d)?",
        400_000,
        128_000,
        (_MAX_TOKENS, *_SAMPLERS_FIXED, _NO_LOGPROBS, _efforts("minimal", "low", "medium", "high")),
    ),
    Generation(
        "openai",
        ("gpt-5.1",),
        r"gpt-5\.1(-20\d\d-\d\d-\d\d)?",
        400_000,
        128_000,
        (*_reasoning("none")[:3], _NO_LOGPROBS, _efforts("none", "low", "medium", "high")),
    ),
    Generation(
        "openai",
        ("gpt-5.2", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano"),
        r"gpt-5\.[234](-mini|-nano)?(-20\d\d-\d\d-\d\d)?",
        400_000,
        128_000,
        (*_reasoning("none"), _efforts("none", "low", "medium", "high", "xhigh")),
    ),
    Generation(  # 5.5 and 5.6 as measured; of those after them nothing was found, and they are taken to be alike
        "openai",
        (
            "gpt-5.5",
            "gpt-5.6-sol",
            "gpt-5.6-terra",
            "gpt-5.6-luna",
            "gpt-6-astra",
            "gpt-6-sol",
            "gpt-6-luna",
            "gpt-6.1-sol",
            "gpt-6.1-terra",
        ),
        r"gpt-(5\.[5-9]|6(\.\d)?)(-astra|-sol|-terra|-luna|-mini|-nano)?(-20\d\d-\d\d-\d\d)?",
        400_000,
        128_000,
        (*_reasoning("medium"), _efforts("none", "low", "medium", "high", "xhigh", "max")),
    ),
)  # fmt: skip

# --- Anthropic ----------------------------------------------------------------------------------------------------

_THINKING_PAGE = "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"


def _too_small(value: Any, settings: Mapping[str, Any]) -> bool:  # noqa: ARG001
    return isinstance(value, int) and value < 1024


def _beyond_the_limit(value: Any, settings: Mapping[str, Any]) -> bool:
    limit = settings.get("max_tokens")
    return isinstance(value, int) and isinstance(limit, int) and value >= limit


def _thinks(settings: Mapping[str, Any]) -> bool:
    return settings.get("thinking.type") in ("enabled", "adaptive")


_DEPRECATED = "`{field}` is deprecated for this model."
_SAMPLERS = ("temperature", "top_p", "top_k")
_SAMPLERS_GONE = tuple(
    Rule(name, always, _DEPRECATED, "The-PR-Agent/pr-agent#2456, RooCodeInc/Roo-Code#12162") for name in _SAMPLERS
)
_SAMPLERS_DEFAULT = tuple(
    Rule(name, _not_one, _DEPRECATED, "earendil-works/pi#7961; the vendor's migration guide: non-default values")
    for name in _SAMPLERS
)
_ONE_SAMPLER = Rule(
    "top_p",
    lambda _, settings: settings.get("temperature") is not None,
    "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
    "BerriAI/litellm#15097",
)
_THINKING = (
    Rule(
        "thinking.budget_tokens",
        _too_small,
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
        "themaximalist/llm.js#30",
    ),
    Rule(
        "thinking.budget_tokens",
        _beyond_the_limit,
        "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
        f"{_THINKING_PAGE}#max-tokens-and-context-window-size",
        "the vendor's page on extended thinking",
    ),
    Rule(
        "temperature",
        lambda value, settings: value != 1 and _thinks(settings),
        "`temperature` may only be set to 1 when thinking is enabled or in adaptive mode. Please consult our "
        f"documentation at {_THINKING_PAGE}#important-considerations-when-using-extended-thinking",
        "the vendor's page on extended thinking; quoted in many repositories",
    ),
)
_NO_EFFORT_BEFORE_OPUS_4_5 = Rule(
    "output_config.effort",
    lambda _, settings: "opus-4-5" not in str(settings.get("model")),
    "This model does not support the effort parameter.",
    "Oaklight/llm-rosetta#289, elizaOS/eliza#16175",
)
_NO_ADAPTIVE = Rule(
    "thinking.type",
    lambda value, _: bool(value == "adaptive"),
    "adaptive thinking is not supported on this model",
    "pensarai/apex#890",
)
_ONLY_ADAPTIVE = Rule(
    "thinking.type",
    lambda value, _: bool(value == "enabled"),
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" to '
    "control thinking behavior.",
    "earendil-works/pi#3297, anomalyco/opencode#22863",
)

_ANTHROPIC = (
    Generation(
        "anthropic",
        ("claude-sonnet-4-5", "claude-haiku-4-5", "claude-opus-4-5", "claude-opus-4-1"),
        r"claude-((sonnet|haiku|opus)-4-5|opus-4-1)(-20\d{6})?",
        200_000,
        64_000,
        (_ONE_SAMPLER, _NO_ADAPTIVE, _NO_EFFORT_BEFORE_OPUS_4_5, *_THINKING),
    ),
    Generation(
        "anthropic",
        ("claude-sonnet-4-6", "claude-opus-4-6"),
        r"claude-(sonnet|opus)-4-6(-20\d{6})?",
        1_000_000,
        128_000,
        (_ONE_SAMPLER, *_THINKING),
    ),
    Generation(
        "anthropic",
        ("claude-opus-4-7", "claude-opus-4-8", "claude-fable-5", "claude-fable-5-1"),
        r"claude-(opus-4-[78]|fable-5(-\d)?)(-20\d{6})?",
        1_000_000,
        128_000,
        (*_SAMPLERS_GONE, _ONLY_ADAPTIVE),
    ),
    Generation(
        "anthropic",
        ("claude-sonnet-5", "claude-opus-5", "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"),
        r"claude-(sonnet|haiku|opus)-5(-\d)?(-20\d{6})?",
        1_000_000,
        128_000,
        (*_SAMPLERS_DEFAULT, _ONLY_ADAPTIVE),
    ),
)

# --- Gemini -------------------------------------------------------------------------------------------------------

_BUDGET, _LEVEL = "thinkingConfig.thinkingBudget", "thinkingConfig.thinkingLevel"
_LOGPROBS_OFF = Rule(
    "responseLogprobs", _set, "Logprobs is not enabled for models/{model}", "googleapis/python-genai#1921"
)
_NO_LEVEL = Rule(_LEVEL, always, "Thinking level is not supported for this model.", "RooCodeInc/Roo-Code#10700")
_NO_BUDGET = Rule(
    _BUDGET,
    always,
    "Thinking budget is not supported for this model.",
    "Gemma 4 in many repositories; dhyansraj/mcp-mesh#1346: Gemini 2.5 and 3 take a budget alike",
)
_NOT_OFF = Rule(
    _BUDGET,
    lambda value, _: bool(value == 0),
    "Budget 0 is invalid. This model only works in thinking mode.",
    "vercel/ai#8027; quoted in many repositories for the Pro models",
)
_EITHER = Rule(
    _BUDGET,
    lambda _, settings: settings.get(_LEVEL) is not None,
    "You can only set only one of thinking budget and thinking level.",
    "sterlp/eclipse-peon-ai#115",
)


def _no_levels(*levels: str) -> Rule:
    return Rule(
        _LEVEL,
        lambda value, _: str(value).upper() in levels,
        "Thinking level {VALUE} is not supported for this model. Please retry with other thinking level.",
        "dhyansraj/mcp-mesh#1346 and quotations in many repositories",
    )


_GEMINI = (
    Generation(
        "gemini", ("gemini-2.5-pro",), r"gemini-2\.5-pro(-.*)?", 1_048_576, 65_536, (_LOGPROBS_OFF, _NO_LEVEL, _NOT_OFF)
    ),
    Generation(
        "gemini",
        ("gemini-2.5-flash", "gemini-2.5-flash-lite"),
        r"gemini-2\.5-flash(-lite)?(-preview.*)?",
        1_048_576,
        65_536,
        (_LOGPROBS_OFF, _NO_LEVEL),
    ),
    Generation(
        "gemini",
        ("gemini-3.1-pro-preview",),
        r"gemini-3(\.\d)?-pro(-preview)?",
        1_048_576,
        65_536,
        (_LOGPROBS_OFF, _EITHER, _NOT_OFF, _no_levels("MINIMAL")),
    ),
    Generation(
        "gemini",
        ("gemini-3.7-flash", "gemini-3.8-flash"),
        r"gemini-3\.[78]-flash(-preview)?",
        1_048_576,
        65_536,
        (_LOGPROBS_OFF, _EITHER, _no_levels("MINIMAL")),
    ),
    Generation(  # of Gemini 4 nothing was found, and it is taken to be as 3
        "gemini",
        (
            "gemini-3-flash-preview",
            "gemini-3.1-flash-lite",
            "gemini-3.5-flash-lite",
            "gemini-3.5-flash",
            "gemini-3.6-flash",
            "gemini-4-argon",
        ),
        r"gemini-(3(\.\d)?-flash(-lite)?(-preview)?|4-[a-z]+)",
        1_048_576,
        65_536,
        (_LOGPROBS_OFF, _EITHER),
    ),
    Generation(
        "gemini",
        ("gemma-4-26b-a4b-it",),
        r"gemma-4-.*-it",
        262_144,
        32_768,
        (_LOGPROBS_OFF, _NO_BUDGET, _no_levels("LOW", "MEDIUM")),
    ),
)

GENERATIONS: tuple[Generation, ...] = (*_OPENAI, *_ANTHROPIC, *_GEMINI)
"""All that is known, the first that matches a name first."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FIELDS: Mapping[Vendor, frozenset[str]] = {
    "openai": _words("""
        audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages
        metadata modalities model moderation n parallel_tool_calls prediction presence_penalty prompt_cache_key
        prompt_cache_options prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier
        stop store stream stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options
    """),
    "anthropic": _words("""
        cache_control container context_management diagnostics inference_geo max_tokens mcp_servers messages metadata
        model output_config output_format service_tier speed stop_sequences stream system temperature thinking tool_choice
        tools top_k top_p user_profile_id workspace_id
    """),
    "gemini": _words("""
        cachedContent contents generationConfig labels model safetySettings serviceTier store systemInstruction toolConfig
        tools
    """),
}
"""The fields of a request, by its vendor: what else comes is refused. Sources: the vendors' API references and SDKs."""

CONFIG_FIELDS = _words("""
    audioTimestamp audioTranscriptionConfig candidateCount enableAffectiveDialog enableEnhancedCivicAnswers
    frequencyPenalty imageConfig logprobs maxOutputTokens mediaResolution modelSelectionConfig presencePenalty
    responseFormat responseJsonSchema responseLogprobs responseMimeType responseModalities responseSchema routingConfig
    seed speechConfig stopSequences temperature thinkingConfig topK topP translationConfig
""")
"""The fields of Gemini's generationConfig."""


def generation_of(vendor: Vendor, model: str) -> Generation | None:
    """The generation of a model.

    Args:
        vendor: Whose route was called.
        model: The model's name.

    Returns:
        The generation; None for a name of none.
    """
    for generation in GENERATIONS:
        if generation.vendor == vendor and re.fullmatch(generation.pattern, model):
            return generation
    return None


def names_of(vendor: Vendor) -> tuple[str, ...]:
    """The models that a vendor's list shows.

    Args:
        vendor: Whose route was called.

    Returns:
        Their names.
    """
    return tuple(name for each in GENERATIONS if each.vendor == vendor for name in each.names)


def refusals(generation: Generation, call: Call) -> Iterator[Refusal]:
    """What a model has against a request, the vendor's first objection first.

    Args:
        generation: The model's.
        call: The request.

    Yields:
        Refusals.
    """
    yield from unknown_fields(generation.vendor, call.unknown)
    for rule in generation.rules:
        value = call.settings.get(rule.field)
        if value is not None and rule.refuses(value, call.settings):
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            message = rule.message.format(field=rule.field, value=shown, VALUE=shown.upper(), model=call.model)
            yield Refusal(
                message, None if rule.code is None and rule.status != 404 else rule.field, rule.status, rule.code
            )
    yield from _schema(generation, call)
    yield from _too_much(generation, call)


def _schema(generation: Generation, call: Call) -> Iterator[Refusal]:
    """Strict schemas that the vendor does not take.

    Sources: Agent-Field/agentfield#680, agentscope-ai/agentscope-java#2548 (OpenAI); Anthropic's words are quoted in many
    repositories.
    """
    openai = generation.vendor == "openai"
    if not call.strict or (found := schemas.open_object(call.schema, every_property=openai)) is None:
        return
    path, lacks = found
    if openai:
        what = "'additionalProperties' is required to be supplied and to be false."
        if lacks != "additionalProperties":
            what = (
                "'required' is required to be supplied and to be an array including every key in properties. "
                f"Missing '{lacks}'."
            )
        message = f"Invalid schema for response_format '{call.schema_name}': In context={path}, {what}"
        yield Refusal(message, "response_format")
    else:
        yield Refusal(
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )


def unknown_fields(vendor: Vendor, unknown: tuple[tuple[str, str], ...]) -> Iterator[Refusal]:
    """The refusal of fields that a format does not have.

    Args:
        vendor: Whose route was called.
        unknown: (where, name) of each field; where is "" for the request itself.

    Yields:
        One refusal, or none.
    """
    if not unknown:
        return
    where, name = unknown[0]
    if vendor == "openai":
        yield Refusal(f"Unrecognized request argument supplied: {name}")
    elif vendor == "anthropic":
        yield Refusal(f"{where + '.' if where else ''}{name}: Extra inputs are not permitted")
    else:
        lines = tuple(
            (at, f'Invalid JSON payload received. Unknown name "{each}"' + (f" at '{at}'" if at else "") + ": Cannot find field.")
            for at, each in unknown
        )  # fmt: skip
        yield Refusal("\n".join(line for _, line in lines), violations=lines)


def _too_much(generation: Generation, call: Call) -> Iterator[Refusal]:
    """Requests and replies beyond what a model holds."""
    asked, most = call.max_output_tokens or 0, generation.output_tokens
    fits, holds = call.input_tokens, generation.context_tokens
    if generation.vendor == "openai":
        if asked > most:
            field = "max_completion_tokens" if "max_completion_tokens" in call.settings else "max_tokens"
            yield Refusal(
                f"{field} is too large: {asked}. This model supports at most {most} completion tokens, whereas you "
                f"provided {asked}.",
                field,
                code="invalid_value",
            )
        if fits > holds:
            yield Refusal(
                f"This model's maximum context length is {holds} tokens. However, your messages resulted in {fits} tokens. "
                "Please reduce the length of the messages.",
                "messages",
                code="context_length_exceeded",
            )
    elif generation.vendor == "anthropic":
        if asked > most:
            yield Refusal(
                f"max_tokens: {asked} > {most}, which is the maximum allowed number of output tokens for {call.model}"
            )
        if fits > holds:
            yield Refusal(f"prompt is too long: {fits} tokens > {holds} maximum")
    else:
        if asked > most:
            yield Refusal(
                f"Unable to submit request because it has a maxOutputTokens value of {asked} but the supported range is "
                f"from 1 (inclusive) to {most + 1} (exclusive). Update the value and try again."
            )
        if fits > holds:
            yield Refusal(f"The input token count ({fits}) exceeds the maximum number of tokens allowed ({holds}).")
