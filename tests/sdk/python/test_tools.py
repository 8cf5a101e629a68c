"""The tiny tool model calls a function twice when it is offered tools, and speaks once it has results."""

import json

import pytest

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
ASK = [{"role": "user", "content": "What will it be like?"}]


def ask(client, model, **more):
    arguments = {"messages": ASK, "tools": [WEATHER], "max_tokens": 400, "temperature": 0, **more}
    return client.chat.completions.create(model=model, **arguments)


def check_calls(calls) -> None:
    assert len({call.id for call in calls}) == len(calls)
    for call in calls:
        assert call.id
        assert call.type == "function"
        assert call.function.name == "get_weather"
        arguments = json.loads(call.function.arguments)
        assert isinstance(arguments["city"], str) and arguments["city"].strip()
        assert isinstance(arguments["days"], int)


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_parallel_calls(tool_client, tool_model, choice):
    answer = ask(tool_client, tool_model, tool_choice=choice, parallel_tool_calls=True)
    [only] = answer.choices
    assert only.finish_reason == "tool_calls"
    assert len(only.message.tool_calls) == 2
    check_calls(only.message.tool_calls)


def test_a_named_tool_is_called(tool_client, tool_model):
    answer = ask(tool_client, tool_model, tool_choice={"type": "function", "function": {"name": "get_weather"}})
    check_calls(answer.choices[0].message.tool_calls)


def test_no_tools_no_calls(tool_client, tool_model):
    answer = ask(tool_client, tool_model, tools=None, max_tokens=20)
    assert answer.choices[0].message.tool_calls is None
    assert answer.choices[0].message.content


def test_tool_choice_none_is_text(tool_client, tool_model):
    answer = ask(tool_client, tool_model, tool_choice="none", max_tokens=20)
    assert not answer.choices[0].message.tool_calls
    assert answer.choices[0].message.content


def test_parallel_calls_stream_by_index(tool_client, tool_model):
    calls: dict[int, dict[str, str]] = {}
    reasons = []
    pieces = 0
    with ask(tool_client, tool_model, stream=True, parallel_tool_calls=True) as stream:
        for chunk in stream:
            for choice in chunk.choices:
                if choice.finish_reason:
                    reasons.append(choice.finish_reason)
                for delta in choice.delta.tool_calls or []:
                    pieces += 1
                    call = calls.setdefault(delta.index, {"id": "", "name": "", "arguments": ""})
                    # An SDK concatenates what it gets: id and name must come once.
                    call["id"] += delta.id or ""
                    call["name"] += delta.function.name or ""
                    call["arguments"] += delta.function.arguments or ""
    assert reasons == ["tool_calls"]
    assert sorted(calls) == [0, 1]
    assert pieces > len(calls)
    assert calls[0]["id"] != calls[1]["id"]
    for call in calls.values():
        assert call["name"] == "get_weather"
        assert set(json.loads(call["arguments"])) == {"city", "days"}


def test_streamed_calls_equal_the_single_answers(tool_client, tool_model):
    whole = ask(tool_client, tool_model)
    with tool_client.chat.completions.stream(
        model=tool_model, messages=ASK, tools=[WEATHER], max_tokens=400, temperature=0
    ) as stream:
        streamed = stream.get_final_completion()
    assert [call.function.arguments for call in streamed.choices[0].message.tool_calls] == [
        call.function.arguments for call in whole.choices[0].message.tool_calls
    ]


def test_results_lead_to_an_answer(tool_client, tool_model):
    first = ask(tool_client, tool_model).choices[0].message
    history = [*ASK, first.model_dump(exclude_none=True)]
    for call in first.tool_calls:
        history.append({"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'})
    second = ask(tool_client, tool_model, messages=history, max_tokens=60).choices[0]
    assert not second.message.tool_calls
    assert second.message.content
