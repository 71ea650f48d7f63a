"""What vendors' answers mean: bodies as the vendors send them, and bodies that nobody should send."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unsaf_async.calls.backends.openai_shape import blocked_reply, error_of, outcome_of, reply_of, text_of, usage_of
from unsaf_async.errors import CallError, Fatal, RateLimited, Rejected, Transient
from unsaf_async.records import Reply, Usage


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


# --- whole replies


def whole(message=None, **fields):
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "A cat."} if message is None else message,
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    return {"id": "x", "model": "gpt-4o-2024", "choices": [choice | fields.pop("choice", {})], "usage": usage} | fields


def test_a_plain_reply_is_read():
    assert reply_of(whole(), {"x": "y"}) == Reply(
        "ok", "A cat.", finish_reason="stop", usage=Usage(input_tokens=12, output_tokens=3), model="gpt-4o-2024"
    )
    assert reply_of(whole(), {"x": "y"}).headers == {"x": "y"}


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (whole(choice={"finish_reason": "length"}), "truncated"),
        (whole({"content": None}, choice={"finish_reason": "length"}), "truncated"),  # the reasoning ate the budget
        (whole({"content": None}, choice={"finish_reason": "content_filter"}), "blocked"),
        (whole(choice={"finish_reason": "content_filter"}), "blocked"),
        (whole({"content": None, "refusal": "I can't help with that."}), "refused"),
        (whole({"content": None}), "unreadable"),
        (whole({"content": " \n"}), "unreadable"),
        (whole({"content": ""}, choice={"finish_reason": "tool_calls"}), "unreadable"),
        (whole(choices=[]), "unreadable"),
        (whole({}), "unreadable"),
        (whole({"content": [{"type": "text", "text": "A "}, {"type": "text", "text": "cat."}]}), "ok"),
        (whole(choice={"finish_reason": None}), "ok"),
    ],
)
def test_how_a_reply_ended_is_its_outcome(body, outcome):
    found = reply_of(body, {})
    assert found.outcome == outcome
    assert bool(found.detail) == (outcome != "ok")
    assert found.usage == Usage(12, 0, 0, 3, 0)  # all of these were billed


def test_a_refusal_goes_before_a_filter_and_a_filter_before_a_cut():
    assert outcome_of("x", "content_filter", "no")[0] == "refused"
    assert outcome_of("x", "length", "no")[0] == "refused"
    assert outcome_of("x", "stop", None) == ("ok", "")


def test_parts_without_text_are_passed_over():
    assert text_of([{"type": "text", "text": "a"}, {"type": "image"}, "b", {"text": None}, {"text": "c"}]) == "ac"
    assert text_of(None) == text_of(7) == text_of({"text": "a"}) == ""


def test_half_an_emoji_does_not_reach_a_file():
    """A token limit cuts where it likes; JSON can say half of a surrogate pair, UTF-8 cannot."""
    half = json.loads('"A cat \\ud83d"')
    for content in (half, [{"text": half}]):
        assert text_of(content) == "A cat ?"
    refused = reply_of(whole({"content": None, "refusal": half}), {})
    orjson.dumps(refused.detail)
    assert text_of("A cat \U0001f600") == "A cat \U0001f600"


def test_thinking_and_cached_tokens_are_counted():
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "prompt_tokens_details": {"cached_tokens": 80},
             "completion_tokens_details": {"reasoning_tokens": 40}}  # fmt: skip
    assert usage_of(usage) == Usage(100, 80, 0, 50, 40)
    assert usage_of({}) == Usage()
    assert usage_of({"prompt_tokens": None, "completion_tokens": 7.0, "prompt_tokens_details": None}) == Usage(
        0, 0, 0, 7, 0
    )


@pytest.mark.parametrize("tokens", [-1, -0.5, 1.5, "12", True, [1], {}, float("1e400"), float("nan")])
@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
def test_a_count_that_is_none_cannot_pass_for_one(tokens, name):
    """A negative count would give money back that was never there."""
    with pytest.raises(ValueError, match="is no number of tokens"):
        usage_of({name: tokens})


def test_a_finish_reason_that_is_no_text_is_none():
    for odd in (7, {"type": "stop"}, ["stop"], True):
        assert reply_of(whole(choice={"finish_reason": odd}), {}).finish_reason is None


def test_log_probabilities_are_read_where_they_are():
    body = whole(
        choice={"logprobs": {"content": [{"token": "A", "logprob": -0.5}, {"token": " cat", "logprob": -9999.0}]}}
    )
    assert reply_of(body, {}).logprobs == (-0.5, -9999.0)
    for none in (None, {}, {"content": None}, {"content": []}):
        assert reply_of(whole(choice={"logprobs": none}), {}).logprobs is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["message", "content", "text", "finish_reason"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(JSON, JSON, JSON)
def test_whatever_a_body_holds_it_is_a_reply_or_one_of_the_errors_that_the_backends_expect(choices, message, usage):
    for body in (
        {"choices": choices, "usage": usage},
        {"choices": [choices], "usage": usage},
        {"choices": [{"message": message, "finish_reason": choices}], "usage": {"prompt_tokens": usage}},
    ):
        try:
            found = reply_of(body, {})
        except (ValueError, TypeError, AttributeError, KeyError):
            continue
        assert isinstance(found.text, str)
        assert found.finish_reason is None or isinstance(found.finish_reason, str)
        assert found.usage.input_tokens >= 0
