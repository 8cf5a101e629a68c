"""Anthropic's official client on /v1/messages: before real llama.cpp, and before `mulberry mock` where something must fail."""

import os

import anthropic
import httpx
import pytest

PREFIX = os.environ.get("MOCK_MODEL_PREFIX")
MOCK = os.environ.get("MOCK_URL", "").rstrip("/")
MOCK_HEADERS = {"authorization": f"Bearer {os.environ['MOCK_KEY']}"} if os.environ.get("MOCK_KEY") else {}
CLAUDE = os.environ.get("CLAUDE_MODEL")
GEMINI = os.environ.get("GEMINI_MODEL")
HELLO = [{"role": "user", "content": "Tell of the harbor."}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a place.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}

pytestmark = pytest.mark.gateway_only
needs_mock = pytest.mark.skipif(not PREFIX or not MOCK, reason="MOCK_MODEL_PREFIX or MOCK_URL is not set")
needs_dialects = pytest.mark.skipif(not CLAUDE or not GEMINI, reason="CLAUDE_MODEL or GEMINI_MODEL is not set")


def root(target) -> str:
    """Anthropic's clients bring /v1 themselves."""
    return target.chat.base_url.removesuffix("/v1")


@pytest.fixture(scope="module")
def claude(target):
    with anthropic.Anthropic(base_url=root(target), api_key=target.api_key, max_retries=0, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def patient(target):
    """The client as applications have it: two retries."""
    with anthropic.Anthropic(base_url=root(target), api_key=target.api_key, timeout=30) as client:
        yield client


# The newest clients have no argument for it; llama.cpp then draws at random.
STEADY = {"temperature": 0}


def ask(client, model, **more):
    arguments = {"model": model, "max_tokens": 16, "messages": HELLO, "extra_body": STEADY}
    return client.messages.create(**{**arguments, **more})


def text_of(message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def prompt_of(usage) -> int:
    """All of the prompt: what llama.cpp still had of an earlier one is counted apart."""
    return usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)


# Real llama.cpp.


def test_a_message(claude, chat_model):
    message = ask(claude, chat_model)
    assert (message.type, message.role) == ("message", "assistant")
    assert text_of(message)
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert prompt_of(message.usage) > 0
    assert 0 < message.usage.output_tokens <= 16
    assert message.id
    assert message._request_id


def test_a_stream_says_what_a_whole_message_says(claude, chat_model):
    whole = ask(claude, chat_model)
    pieces = []
    with claude.messages.stream(model=chat_model, max_tokens=16, messages=HELLO, extra_body=STEADY) as stream:
        for piece in stream.text_stream:
            pieces.append(piece)
        final = stream.get_final_message()
    assert len(pieces) > 3
    assert "".join(pieces) == text_of(final) == text_of(whole)
    assert final.stop_reason == whole.stop_reason
    assert final.usage.output_tokens == whole.usage.output_tokens
    assert prompt_of(final.usage) == prompt_of(whole.usage)


def test_raw_events_are_in_order(claude, chat_model):
    kinds = [event.type for event in ask(claude, chat_model, stream=True)]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("message_start") == kinds.count("message_stop") == 1
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") >= 1


def test_a_system_prompt_and_turns(claude, chat_model):
    turns = [*HELLO, {"role": "assistant", "content": "It is old."}, {"role": "user", "content": "And then?"}]
    bare = ask(claude, chat_model, messages=turns)
    message = ask(claude, chat_model, messages=turns, system=[{"type": "text", "text": "You are brief."}])
    assert text_of(message)
    assert prompt_of(message.usage) > prompt_of(bare.usage)


def test_a_bound_and_a_stop_sequence_end_it(claude, chat_model):
    message = ask(claude, chat_model, max_tokens=2)
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 2)
    words = text_of(ask(claude, chat_model)).split()
    stopped = ask(claude, chat_model, stop_sequences=[words[1]])
    assert words[1] not in text_of(stopped)


def test_tools_are_called_and_answered(claude, tool_model):
    arguments = {"tools": [WEATHER], "max_tokens": 400, "messages": [{"role": "user", "content": "What will it be like?"}]}
    message = ask(claude, tool_model, **arguments)
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert len(calls) == 2
    assert len({call.id for call in calls}) == 2
    for call in calls:
        assert call.name == "get_weather"
        assert isinstance(call.input["city"], str) and isinstance(call.input["days"], int)
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls]
    arguments["messages"] += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    answer = ask(claude, tool_model, **arguments)
    assert text_of(answer)
    assert answer.stop_reason in ("end_turn", "max_tokens")


def test_streamed_tools_add_up(claude, tool_model):
    arguments = {"tools": [WEATHER], "max_tokens": 400, "messages": [{"role": "user", "content": "What will it be like?"}]}
    whole = ask(claude, tool_model, **arguments)
    with claude.messages.stream(model=tool_model, extra_body=STEADY, **arguments) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert "input_json" in kinds
    inputs = lambda message: [(block.name, block.input) for block in message.content if block.type == "tool_use"]
    assert inputs(final) == inputs(whole)
    assert final.stop_reason == "tool_use"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_tool_can_be_demanded(claude, tool_model, choice):
    message = ask(claude, tool_model, tools=[WEATHER], tool_choice=choice, max_tokens=400)
    assert any(block.type == "tool_use" for block in message.content)


def test_tokens_are_counted_without_an_answer(claude, chat_model):
    counted = claude.messages.count_tokens(model=chat_model, messages=HELLO)
    assert counted.input_tokens == prompt_of(ask(claude, chat_model).usage)


async def test_the_asynchronous_client(target, chat_model):
    async with anthropic.AsyncAnthropic(base_url=root(target), api_key=target.api_key, max_retries=0) as client:
        message = await client.messages.create(model=chat_model, max_tokens=8, messages=HELLO)
        assert text_of(message)
        async with client.messages.stream(model=chat_model, max_tokens=8, messages=HELLO) as stream:
            assert [piece async for piece in stream.text_stream]


def test_a_client_that_leaves_does_not_spoil_the_next(claude, chat_model):
    for _ in range(5):
        with claude.messages.stream(model=chat_model, max_tokens=1000, messages=HELLO) as stream:
            next(iter(stream.text_stream))
    assert text_of(ask(claude, chat_model))


def test_a_prompt_that_is_too_long_is_the_clients(claude, chat_model):
    with pytest.raises(anthropic.BadRequestError) as refused:
        ask(claude, chat_model, messages=[{"role": "user", "content": "x" * 6000}])
    assert refused.value.body["error"]["type"] == "invalid_request_error"


# Errors of the gateway.


def check_error(refused, kind) -> None:
    body = refused.value.body
    assert set(body) >= {"type", "error", "request_id"}
    assert (body["type"], body["error"]["type"]) == ("error", kind)
    assert body["error"]["message"]
    assert refused.value.request_id == body["request_id"]


def test_a_wrong_key_is_refused(target):
    with anthropic.Anthropic(base_url=root(target), api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(anthropic.AuthenticationError) as refused:
            ask(stranger, target.chat.model)
    check_error(refused, "authentication_error")


def test_the_key_may_be_a_bearer_token(target, chat_model):
    with anthropic.Anthropic(base_url=root(target), auth_token=target.api_key, api_key=None, max_retries=0) as client:
        assert text_of(ask(client, chat_model))


def test_an_unknown_model_is_not_found(claude):
    with pytest.raises(anthropic.NotFoundError) as refused:
        ask(claude, "no-such-model")
    check_error(refused, "not_found_error")


def test_what_has_no_counterpart_is_refused_by_name(claude, chat_model):
    with pytest.raises(anthropic.BadRequestError) as refused:
        ask(claude, chat_model, tools=[{"type": "web_search_20250305", "name": "web_search"}])
    check_error(refused, "invalid_request_error")


# Failing upstreams.


def calls(mode: str) -> int:
    counts = httpx.get(f"{MOCK}/_counts", headers=MOCK_HEADERS, timeout=5).json()
    return sum(number for key, number in counts.items() if mode in key)


@pytest.fixture
def fresh_mock():
    httpx.post(f"{MOCK}/_reset", headers=MOCK_HEADERS, timeout=5).raise_for_status()


@needs_mock
@pytest.mark.parametrize("mode", ["429x1ra", "503x1ra", "500x1ra"])
def test_a_passing_failure_is_survived(patient, fresh_mock, mode):
    assert text_of(ask(patient, f"{PREFIX}{mode}"))
    assert calls(mode) == 2


@needs_mock
@pytest.mark.parametrize(
    ("mode", "error"),
    [("400x99", anthropic.BadRequestError), ("404x99", anthropic.NotFoundError), ("429x99no", anthropic.RateLimitError)],
)
def test_what_is_final_is_asked_once(patient, fresh_mock, mode, error):
    with pytest.raises(error):
        ask(patient, f"{PREFIX}{mode}")
    assert calls(mode) == 1


@needs_mock
@pytest.mark.parametrize("mode", ["clean-cut", "cut", "err-data", "err-data-no-done", "err-event", "err-choices"])
def test_a_broken_stream_raises(claude, mode):
    received = ""
    with pytest.raises(anthropic.APIError), claude.messages.stream(
        model=f"{PREFIX}{mode}", max_tokens=100, messages=HELLO
    ) as stream:
        for piece in stream.text_stream:
            received += piece
    assert received


@needs_mock
@pytest.mark.parametrize("mode", ["comment", "crlf", "cr", "split", "no-done", "azure-filter", "unknown", "reasoning"])
def test_an_odd_stream_is_read_whole(claude, mode):
    with claude.messages.stream(model=f"{PREFIX}{mode}", max_tokens=100, messages=HELLO) as stream:
        final = stream.get_final_message()
    assert text_of(final).endswith("Tell of the harbor.")
    assert final.stop_reason == "end_turn"


# Upstreams of other dialects.


@needs_dialects
@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_dialects_answer_it_too(claude, model):
    message = ask(claude, model, max_tokens=100)
    assert text_of(message).endswith("Tell of the harbor.")
    assert message.stop_reason == "end_turn"
    with claude.messages.stream(model=model, max_tokens=100, messages=HELLO) as stream:
        final = stream.get_final_message()
    assert text_of(final) == text_of(message)
    assert final.usage.output_tokens == message.usage.output_tokens > 0


@needs_dialects
@pytest.mark.parametrize("model", [CLAUDE, GEMINI])
def test_dialects_think_and_call_tools(claude, model):
    message = ask(
        claude,
        model,
        max_tokens=3000,
        extra_body={},
        thinking={"type": "enabled", "budget_tokens": 1024},
        tools=[WEATHER],
    )
    assert [block.type for block in message.content] == ["thinking", "tool_use"]
    call = message.content[-1]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]
    turns = [*HELLO, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    answer = ask(
        claude,
        model,
        max_tokens=3000,
        extra_body={},
        thinking={"type": "enabled", "budget_tokens": 1024},
        tools=[WEATHER],
        messages=turns,
    )
    assert "sunny" in text_of(answer)
