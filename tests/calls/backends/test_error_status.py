"""What vendors' answers mean: bodies as the vendors send them, and bodies that nobody should send."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.calls.backends.error_status import blocked_reply, error_of, refused_parameter
from unsaf_async.errors import CallError, Fatal, RateLimited, Rejected, Transient


def openai(message, kind="invalid_request_error", code=None):
    return json.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def anthropic(kind, message):
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011"})


def gemini(code, status, message, *details):
    return json.dumps(
        {"error": {"code": code, "message": message, "status": status, "details": list(details)}}, indent=2
    )


def quota(quota_id):
    return {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"quotaMetric": "generativelanguage.googleapis.com/generate_requests", "quotaId": quota_id}],
    }


CHECK_QUOTA = "You exceeded your current quota, please check your plan and billing details."
PER_DAY = quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier")
PER_MINUTE = quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")
RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
NGINX = "<html>\r\n<head><title>{0}</title></head>\r\n<body>\r\n<center><h1>{0}</h1></center>\r\n</body>\r\n</html>"

ERRORS = {
    # the key
    "openai key": (
        401,
        openai("Incorrect API key provided: sk-x. You can find your API key at ...", code="invalid_api_key"),
        Fatal,
        "key",
    ),
    "openai country": (403, openai("Country, region, or territory not supported"), Fatal, "key"),
    "anthropic key": (401, anthropic("authentication_error", "invalid x-api-key"), Fatal, "key"),
    "anthropic permission": (403, anthropic("permission_error", "Your API key does not have permission"), Fatal, "key"),
    "gemini key": (
        400,
        gemini(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", BAD_KEY),
        Fatal,
        "key",
    ),
    "gemini expired": (
        400,
        gemini(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", BAD_KEY),
        Fatal,
        "key",
    ),
    "vllm key": (401, '{"error":"Unauthorized"}', Fatal, "key"),
    # the quota
    "openai quota": (
        429,
        openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        Fatal,
        "quota",
    ),
    "openai spend": (429, openai("Limit", "insufficient_quota", "organization_spend_limit_exceeded"), Fatal, "quota"),
    "openai credit": (429, openai("No credit", "insufficient_quota", "credit_balance_exhausted"), Fatal, "quota"),
    "anthropic credit": (
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the API."),
        Fatal,
        "quota",
    ),
    "anthropic billing": (402, anthropic("billing_error", "There is an issue with your billing"), Fatal, "quota"),
    "gemini day": (429, gemini(429, "RESOURCE_EXHAUSTED", CHECK_QUOTA, PER_DAY, RETRY), Fatal, "quota"),
    # the model
    "openai model": (
        404,
        openai("The model `gpt-9` does not exist or you do not have access", code="model_not_found"),
        Fatal,
        "model",
    ),
    "anthropic model": (404, anthropic("not_found_error", "model: claude-9"), Fatal, "model"),
    "gemini model": (
        404,
        gemini(404, "NOT_FOUND", "models/gemini-9 is not found for API version v1beta"),
        Fatal,
        "model",
    ),
    "vllm model": (
        404,
        '{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}',
        Fatal,
        "model",
    ),
    # too fast
    "openai rate": (
        429,
        openai("Rate limit reached for gpt-4o on tokens per min (TPM)", "tokens", "rate_limit_exceeded"),
        RateLimited,
        None,
    ),
    "openai slow down": (429, openai("Slow down", "requests", "slow_down"), RateLimited, None),
    "anthropic rate": (
        429,
        anthropic("rate_limit_error", "Number of request tokens has exceeded your per-minute limit"),
        RateLimited,
        None,
    ),
    "gemini minute": (429, gemini(429, "RESOURCE_EXHAUSTED", CHECK_QUOTA, PER_MINUTE, RETRY), RateLimited, None),
    "gemini bare": (
        429,
        gemini(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        RateLimited,
        None,
    ),
    # too busy
    "openai engine": (503, openai("The engine is currently overloaded", "server_error"), Transient, "overloaded"),
    "anthropic overloaded": (529, anthropic("overloaded_error", "Overloaded"), Transient, "overloaded"),
    "gemini overloaded": (
        503,
        gemini(503, "UNAVAILABLE", "The model is overloaded. Please try again later."),
        Transient,
        "overloaded",
    ),
    "overloaded as 500": (500, anthropic("overloaded_error", "Overloaded"), Transient, "overloaded"),
    # broken
    "openai server": (
        500,
        openai("The server had an error while processing your request", "server_error"),
        Transient,
        "plain",
    ),
    "anthropic server": (500, anthropic("api_error", "Internal server error"), Transient, "plain"),
    "gemini internal": (500, gemini(500, "INTERNAL", "An internal error has occurred."), Transient, "plain"),
    "timeout of the request": (408, "", Transient, "plain"),
    "conflict": (409, "", Transient, "plain"),
    "web server is down": (521, NGINX.format("521"), Transient, "plain"),
    # lost behind a gateway: it may have been served, and billed
    "nginx 502": (502, NGINX.format("502 Bad Gateway"), Transient, "unknown"),
    "nginx 504": (504, NGINX.format("504 Gateway Time-out"), Transient, "unknown"),
    "gemini deadline": (
        504,
        gemini(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete."),
        Transient,
        "unknown",
    ),
    "cloudflare 524": (524, "error code: 524", Transient, "unknown"),
    # the request's own fault
    "openai context": (
        400,
        openai("This model's maximum context length is 128000 tokens", code="context_length_exceeded"),
        Rejected,
        None,
    ),
    "openai parameter": (
        400,
        openai("Unsupported value: 'temperature' does not support 0", code="unsupported_value"),
        Rejected,
        None,
    ),
    "anthropic size": (413, anthropic("request_too_large", "Request exceeds the maximum size"), Rejected, None),
    "gemini argument": (400, gemini(400, "INVALID_ARGUMENT", "Unable to process input image."), Rejected, None),
    "vllm context": (
        400,
        '{"object":"error","message":"This model\'s maximum context length is 4096","type":"BadRequestError","code":400}',
        Rejected,
        None,
    ),
    "unprocessable": (422, '{"detail":[{"loc":["body","messages"],"msg":"field required"}]}', Rejected, None),
}
"""Status, body, our error, and its kind, or what kind of broken it is."""


@pytest.mark.parametrize("name", ERRORS)
def test_every_vendors_error_means_what_its_guide_says(name):
    status, body, kind, more = ERRORS[name]
    error = error_of(status, body, {})
    assert type(error) is kind
    assert error.status == status
    assert str(status) in str(error)
    assert "\n" not in str(error)
    if isinstance(error, Fatal):
        assert error.kind == more
    if isinstance(error, Transient):
        assert error.overloaded == (more == "overloaded")
    assert error.fate_unknown == (more == "unknown")
    assert blocked_reply(status, body) is None


def test_an_error_carries_the_vendors_own_words_and_its_patience():
    _, body, *_ = ERRORS["gemini minute"]
    error = error_of(429, body, {})
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == pytest.approx(34.07)
    assert "You exceeded your current quota" in str(error)
    overloaded = error_of(529, ERRORS["anthropic overloaded"][1], {"retry-after": "12"})
    assert isinstance(overloaded, Transient)
    assert overloaded.retry_after_s == 12
    assert str(overloaded) == "529 Overloaded"


@pytest.mark.parametrize(
    "body",
    [
        openai("Your request was rejected as a result of our safety system.", code="content_policy_violation"),
        json.dumps(
            {
                "error": {
                    "code": "content_filter",
                    "message": "The response was filtered",
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            }
        ),
    ],
)
def test_a_400_of_a_filter_is_a_blocked_reply_and_no_error(body):
    blocked = blocked_reply(400, body)
    assert blocked is not None
    assert (blocked.outcome, blocked.finish_reason, blocked.text) == ("blocked", "content_filter", "")
    assert blocked.detail
    assert blocked_reply(500, body) is None


@given(
    st.integers(100, 999),
    st.text(max_size=300),
    st.dictionaries(st.sampled_from(["retry-after", "retry-after-ms"]), st.text(max_size=20)),
)
def test_whatever_status_and_body_come_it_is_one_of_our_errors(status, body, headers):
    error = error_of(status, body, headers)
    assert isinstance(error, CallError)
    assert len(str(error).splitlines()) <= 1


# --- parameters ---------------------------------------------------------------------------------------------------


def detail(field, message):
    return json.dumps({"detail": [{"type": "extra_forbidden", "loc": ["body", field], "msg": message}]})


def parameter(message, name):
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": name, "code": None}})


PARAMETERS = {
    "temperature": [
        (400, parameter("Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is "
                        "supported.", "temperature")),
        (400, anthropic("invalid_request_error", "`temperature` is deprecated for this model.")),
        (400, anthropic("invalid_request_error", "temperature: Extra inputs are not permitted")),
        (422, detail("temperature", "Extra inputs are not permitted")),
    ],
    "top_p": [(400, anthropic("invalid_request_error", "`top_p` cannot be specified for this model"))],
    "temperature ": [
        (400, parameter("temperature must be strictly positive", "temperature")),
        (400, openai("This model requires temperature=1.")),
        (400, openai("invalid temperature: only 1 is allowed for this model")),
        (422, json.dumps({"error": "Input validation error: `temperature` must be strictly positive", "error_type": "x"})),
        (422, detail("temperature", "Input should be greater than 0")),
        (400, anthropic("invalid_request_error", "`temperature` and `top_p` cannot both be specified for this model.")),
    ],
    "seed ": [
        (400, openai("seed is not a valid parameter")),
        (400, openai("`seed` must be null for this model")),
        (400, json.dumps({"message": "Malformed input request: #: extraneous key [seed] is not permitted"})),
    ],
    "logprobs ": [
        (400, openai("`logprobs` is not currently supported for this model")),
        (403, openai("Forbidden: logprobs require tier 3")),
    ],
    "reasoning_effort ": [
        (400, gemini(400, "INVALID_ARGUMENT", "Budget 0 is invalid. This model only works in thinking mode.")),
        (400, json.dumps({"code": "invalid argument", "error": "Model grok-x does not support parameter reasoningEffort."})),
    ],
    "seed": [
        (400, parameter("Unrecognized request argument supplied: seed", None)),
        (422, detail("seed", "Extra inputs are not permitted")),
        (400, gemini(400, "INVALID_ARGUMENT", 'Invalid JSON payload received. Unknown name "seed": Cannot find field.')),
    ],
    "logprobs": [
        (403, openai("You are not allowed to request logprobs from this model")),
        (400, parameter("Unsupported parameter: 'logprobs' is not supported with this model.", "logprobs")),
        (400, gemini(400, "INVALID_ARGUMENT", "Logprobs is not enabled for models/gemini-x")),
    ],
    "schema": [
        (400, parameter("Invalid schema for response_format 'unsaf': 'additionalProperties' is required", "response_format")),
        (400, anthropic("invalid_request_error", "output_format: Extra inputs are not permitted")),
        (400, gemini(400, "INVALID_ARGUMENT", 'Unknown name "responseJsonSchema" at generation_config: Cannot find field.')),
        (400, openai("json mode is not supported by this model")),
    ],
    "reasoning_effort": [
        (400, gemini(400, "INVALID_ARGUMENT", "Thinking budget is not supported for this model.")),
        (400, parameter("Unsupported value: 'minimal' is not supported with this model.", "reasoning_effort")),
        (400, anthropic("invalid_request_error", "This model does not support the effort parameter.")),
    ],
    "max_tokens": [
        (400, parameter("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
                        "instead.", "max_tokens")),
        (400, openai("Unrecognized request argument supplied: max_completion_tokens")),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "answer"), [(name, answer) for name, rows in PARAMETERS.items() for answer in rows])
def test_an_error_that_names_an_optional_parameter_is_about_that_parameter(name, answer):
    status, body = answer
    error = error_of(status, body, {})
    assert isinstance(error, Rejected)
    assert error.parameter == name.strip()


@pytest.mark.parametrize(
    "answer",
    [
        (400, openai("max_tokens is too large: 100000. This model supports at most 16384 completion tokens.")),
        (400, anthropic("invalid_request_error", "max_tokens: 9 > 8, which is the maximum allowed number of output tokens")),
        (400, openai("This model's maximum context length is 4096 tokens. However, your max_tokens is 300.")),
        (400, openai("You uploaded an unsupported image. Please make sure it is valid.")),
        (400, gemini(400, "INVALID_ARGUMENT", "Unable to process input image.")),
        (404, openai("The model `temperature` does not exist, and is not supported")),
        (500, openai("temperature is not supported")),
        (400, openai("The model `kimi-k2-thinking` does not support image input")),
        (400, openai("The model `Seed-1.5-VL` does not support images")),
        (400, openai("qwen3-vl-30b-a3b-thinking is not supported by this provider")),
        (400, anthropic("invalid_request_error", "max_tokens must be greater than thinking.budget_tokens")),
        (400, anthropic("invalid_request_error", "messages.0.content: Extra inputs are not permitted at temperature")),
        (403, openai("Your project does not have access to model `gpt-x` with structured outputs; it is not allowed")),
        (400, "the seed"),
        (400, "[[[[["),
    ],
)  # fmt: skip
def test_an_error_about_a_value_or_something_else_is_about_no_parameter(answer):
    assert refused_parameter(*answer) is None


# --- meanings beyond the status -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, anthropic("invalid_request_error", "You have reached your specified API usage limits."), "quota"),
        (400, gemini(400, "FAILED_PRECONDITION", "User location is not supported for the API use."), "key"),
        (429, gemini(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), "quota"),
        (429, gemini(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."), "quota"),
        (
            429,
            gemini(429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric: free_tier_requests, limit: 0, model: x"),
            "quota",
        ),
        (429, openai("Your account is not active, please check your billing details.", "billing_not_active"), "quota"),
        (403, openai("Key limit exceeded (total limit)."), "quota"),
        (403, openai("Your organization must be verified to use the model `gpt-x`.", code="model_not_found"), "model"),
        (307, "", "model"),
        (410, "gone", "model"),
    ],
)
def test_what_concerns_the_account_or_the_address_is_fatal(status, body, kind):
    error = error_of(status, body, {"location": "https://elsewhere.example/v1"})
    assert isinstance(error, Fatal)
    assert error.kind == kind


def test_a_request_that_is_larger_than_a_minutes_limit_fails_alone():
    body = openai("Request too large for gpt-x on tokens per min (TPM): Limit 30000, Requested 30601.", "tokens")
    assert type(error_of(429, body, {"retry-after": "2"})) is Rejected


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (
            403,
            json.dumps(
                {"error": {"code": 403, "message": "Input requires moderation", "metadata": {"flagged_input": "x"}}}
            ),
        ),
        (400, openai("Input data may contain inappropriate content.", code="data_inspection_failed")),
    ],
)
def test_one_image_that_a_gateways_moderation_turns_away_is_blocked_and_no_matter_of_the_key(status, body):
    reply = blocked_reply(status, body)
    assert reply is not None
    assert reply.outcome == "blocked"


@pytest.mark.parametrize(
    ("sentence", "seconds"),
    [
        ("Please try again in 7m12s. Visit", 432.0),
        ("Please retry after 26 seconds.", 26.0),
        ("Please retry in 9.4s.", 9.4),
        ("Please try again in 120ms.", 0.12),
        ("Please try again in a while", None),
    ],
)
def test_a_wait_that_stands_in_a_sentence_is_read(sentence, seconds):
    error = error_of(429, openai(sentence), {})
    assert isinstance(error, RateLimited)
    assert error.retry_after_s == (None if seconds is None else pytest.approx(seconds))
