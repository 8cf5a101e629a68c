"""How the official client fares when the upstream misbehaves, with `mulberry mock` as that upstream.

Needs MOCK_MODEL_PREFIX, the prefix under which the gateway routes the mock's fault models (`fault/`), and
MOCK_URL, the mock's own address, for `/_reset` and `/_counts`. Skipped without them. MOCK_KEY: the mock's key, if it asks for one.
"""

import os
import time

import httpx
import openai
import pytest

PREFIX = os.environ.get("MOCK_MODEL_PREFIX")
MOCK = os.environ.get("MOCK_URL", "").rstrip("/")
MOCK_HEADERS = {"authorization": f"Bearer {os.environ['MOCK_KEY']}"} if os.environ.get("MOCK_KEY") else {}
HELLO = [{"role": "user", "content": "Hello"}]

pytestmark = pytest.mark.skipif(not PREFIX or not MOCK, reason="MOCK_MODEL_PREFIX or MOCK_URL is not set")


@pytest.fixture(autouse=True)
def fresh_mock():
    httpx.post(f"{MOCK}/_reset", headers=MOCK_HEADERS, timeout=5).raise_for_status()


@pytest.fixture(scope="module")
def patient(target):
    """The client as applications have it: two retries."""
    with openai.OpenAI(base_url=target.chat.base_url, api_key=target.api_key, timeout=20) as client:
        yield client


def ask(client, mode: str, **more):
    return client.chat.completions.create(model=f"{PREFIX}{mode}", messages=HELLO, **more)


def calls(mode: str) -> int:
    counts = httpx.get(f"{MOCK}/_counts", headers=MOCK_HEADERS, timeout=5).json()
    return sum(number for key, number in counts.items() if mode in key)


@pytest.mark.parametrize("mode", ["429x1ra", "503x1ra", "500x1ra"])
def test_a_passing_failure_is_survived(patient, mode):
    assert ask(patient, mode).choices[0].message.content
    assert calls(mode) == 2


@pytest.mark.parametrize("mode", ["429x1ra", "503x1ra"])
def test_a_passing_failure_is_survived_in_a_stream(patient, mode):
    with ask(patient, mode, stream=True) as stream:
        assert any(chunk.choices and chunk.choices[0].delta.content for chunk in stream)


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("400x99", openai.BadRequestError),
        ("404x99", openai.NotFoundError),
        ("422x99", openai.UnprocessableEntityError),
        ("429x99no", openai.RateLimitError),
    ],
)
def test_what_is_final_is_asked_once(patient, mode, error):
    with pytest.raises(error):
        ask(patient, mode)
    assert calls(mode) == 1


def test_retry_after_reaches_the_client(client):
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, "429x99RS")
    assert refused.value.response.headers["retry-after"] == "1"


@pytest.mark.gateway_only
@pytest.mark.parametrize("mode", ["cut-before", "html-502", "err-200"])
def test_a_broken_upstream_is_an_error_with_an_envelope(client, mode):
    with pytest.raises(openai.InternalServerError) as refused:
        ask(client, mode)
    assert refused.value.status_code in (500, 502)
    assert isinstance(refused.value.body, dict) and refused.value.body["message"]


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param("clean-cut", marks=pytest.mark.gateway_only),
        "cut",
        "err-data",
        "err-data-no-done",
        "err-event",
        "err-choices",
    ],
)
def test_a_broken_stream_raises(client, mode):
    """The SDK takes a clean end for success, so a gateway must say that the text is not whole."""
    received = ""
    with pytest.raises(openai.APIError), ask(client, mode, stream=True) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                received += choice.delta.content or ""
    # What had come before the break is not lost.
    assert received


@pytest.mark.parametrize("mode", ["comment", "crlf", "cr", "split", "no-done", "azure-filter", "unknown", "reasoning"])
def test_an_odd_stream_is_read_whole(client, mode):
    reasons = []
    received = ""
    with ask(client, mode, stream=True) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                received += choice.delta.content or ""
                reasons += [choice.finish_reason] if choice.finish_reason else []
    assert received
    assert reasons == ["stop"]


@pytest.mark.gateway_only
def test_a_held_connection_does_not_hold_the_client(target):
    # Old SDKs read to the end of the body, which must come right after [DONE].
    started = time.monotonic()
    answer = httpx.post(
        f"{target.chat.base_url}/chat/completions",
        headers={"authorization": f"Bearer {target.api_key}"},
        json={"model": f"{PREFIX}hold-open", "messages": HELLO, "stream": True},
        timeout=20,
    )
    assert answer.text.endswith("data: [DONE]\n\n")
    assert time.monotonic() - started < 2


def test_client_errors_do_not_take_an_upstream_out(client):
    for _ in range(12):
        with pytest.raises(openai.BadRequestError):
            ask(client, "400x99")
    assert ask(client, "comment").choices[0].message.content
