"""OpenAI's official client before scripted upstreams that speak Anthropic's and Gemini's APIs."""

import json
import os

import openai
import pytest

CLAUDE = os.environ.get("CLAUDE_MODEL")
GEMINI = os.environ.get("GEMINI_MODEL")
HELLO = [{"role": "system", "content": "You are brief."}, {"role": "user", "content": "Say hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}

pytestmark = [
    pytest.mark.gateway_only,
    pytest.mark.skipif(not CLAUDE or not GEMINI, reason="CLAUDE_MODEL or GEMINI_MODEL is not set"),
    pytest.mark.parametrize("model", [CLAUDE, GEMINI]),
]


def ask(client, model, **more):
    return client.chat.completions.create(model=model, **{"messages": HELLO, **more})


def test_a_chat(client, model):
    answer = ask(client, model)
    [only] = answer.choices
    assert only.message.content.endswith("You said: Say hello")
    assert (only.message.role, only.finish_reason) == ("assistant", "stop")
    assert answer.object == "chat.completion"
    assert answer.id and answer.created > 1_700_000_000
    # Three words of the system prompt, two of the user.
    assert answer.usage.prompt_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream(client, model):
    whole = ask(client, model)
    chunks = list(ask(client, model, stream=True, stream_options={"include_usage": True}))
    last = chunks.pop()
    assert (last.choices, last.usage.completion_tokens) == ([], whole.usage.completion_tokens)
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_does_not_leak_when_not_asked(client, model):
    assert all(chunk.choices and not chunk.usage for chunk in ask(client, model, stream=True))


def test_cached_tokens_are_told(client, model):
    usage = ask(client, f"{model}-cached").usage
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (5, 2)


def test_bounds_end_an_answer(client, model):
    short = ask(client, model, max_completion_tokens=2).choices[0]
    assert (short.message.content, short.finish_reason) == ("I am", "length")
    stopped = ask(client, model, stop=[" scripted"]).choices[0]
    assert (stopped.message.content, stopped.finish_reason) == ("I am the", "stop")


def check_calls(calls, count) -> None:
    assert len(calls) == count == len({call.id for call in calls})
    for call in calls:
        arguments = json.loads(call.function.arguments)
        assert isinstance(arguments["city"], str) and isinstance(arguments["days"], int)


def test_tools_and_their_results(client, model):
    other = {"type": "function", "function": {**WEATHER["function"], "name": "get_tides"}}
    answer = ask(client, model, tools=[WEATHER, other])
    [only] = answer.choices
    assert only.finish_reason == "tool_calls"
    check_calls(only.message.tool_calls, 2)
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} is fine"}
        for call in only.message.tool_calls
    ]
    turns = [*HELLO, only.message.model_dump(exclude_none=True), *results]
    final = ask(client, model, tools=[WEATHER, other], messages=turns)
    assert "get_weather is fine" in final.choices[0].message.content
    assert "get_tides is fine" in final.choices[0].message.content


def test_a_tool_can_be_named_or_forbidden(client, model):
    named = {"type": "function", "function": {"name": "get_weather"}}
    check_calls(ask(client, model, tools=[WEATHER], tool_choice=named).choices[0].message.tool_calls, 1)
    check_calls(ask(client, model, tools=[WEATHER], tool_choice="required").choices[0].message.tool_calls, 1)
    assert ask(client, model, tools=[WEATHER], tool_choice="none").choices[0].message.tool_calls is None


def test_streamed_tools(client, model):
    calls = {}
    for chunk in ask(client, model, tools=[WEATHER], stream=True):
        for piece in chunk.choices[0].delta.tool_calls or []:
            if piece.id:
                assert piece.index not in calls
                calls[piece.index] = [piece.function.name, ""]
            calls[piece.index][1] += piece.function.arguments or ""
    [(name, arguments)] = calls.values()
    assert name == "get_weather" and set(json.loads(arguments)) == {"city", "days"}


def test_the_helper_for_streams(client, model):
    with client.chat.completions.stream(model=model, messages=HELLO, tools=[]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content.endswith("You said: Say hello")


def test_reasoning(client, model):
    message = ask(client, f"{model}-reasoning").choices[0].message
    assert message.reasoning_content == "The words are known beforehand."
    assert "known beforehand." in message.content
    asked = ask(client, model, reasoning_effort="low").choices[0].message
    assert asked.reasoning_content == message.reasoning_content
    chunks = list(ask(client, f"{model}-reasoning", stream=True))
    thoughts = "".join(getattr(c.choices[0].delta, "reasoning_content", None) or "" for c in chunks)
    assert thoughts == "The words are known beforehand."


def test_an_image_reaches_the_model(client, model):
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    parts = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}},
    ]
    answer = ask(client, model, messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content.endswith("What is it?")


def test_what_has_no_counterpart_is_refused_by_name(client, model):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, model, logit_bias={"5": 100})
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "logit_bias")


@pytest.mark.parametrize(("mode", "error"), [("400x99", openai.BadRequestError), ("429x99no", openai.RateLimitError)])
def test_errors_have_the_envelope(client, model, mode, error):
    with pytest.raises(error) as refused:
        ask(client, f"{model}-{mode}")
    assert refused.value.type and "scripted" in refused.value.message


@pytest.mark.parametrize("mode", ["429x1ra", "503x1ra"])
def test_a_passing_failure_is_survived(client, model, mode):
    # The mock counts calls for good: whoever came first has met the failure.
    patient = client.with_options(max_retries=2)
    assert ask(patient, f"{model}-{mode}").choices[0].message.content


@pytest.mark.parametrize("mode", ["clean-cut", "cut", "err-data-no-done"])
def test_a_broken_stream_raises(client, model, mode):
    received = ""
    with pytest.raises(openai.APIError), ask(client, f"{model}-{mode}", stream=True) as stream:
        for chunk in stream:
            received += chunk.choices[0].delta.content or ""
    assert received
