import json

import pytest

HELLO = [{"role": "user", "content": "Tell of the river."}]


def chunks(client, model, **more):
    arguments = {"max_tokens": 24, "temperature": 0, **more}
    with client.chat.completions.create(model=model, messages=HELLO, stream=True, **arguments) as stream:
        return list(stream)


def text(chunks) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def test_a_stream_says_what_a_single_answer_says(client, chat_model):
    whole = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=24, temperature=0)
    assert text(chunks(client, chat_model)) == whole.choices[0].message.content


def test_a_stream_comes_in_pieces_of_one_answer(client, chat_model):
    received = chunks(client, chat_model)
    assert len(received) > 3
    assert {chunk.object for chunk in received} == {"chat.completion.chunk"}
    assert len({chunk.id for chunk in received}) == 1
    assert received[0].choices[0].delta.role == "assistant"


def test_a_stream_ends_with_one_finish_reason(client, chat_model):
    received = chunks(client, chat_model)
    reasons = [choice.finish_reason for chunk in received for choice in chunk.choices if choice.finish_reason]
    assert len(reasons) == 1
    assert received[-1].choices[0].finish_reason == reasons[0]


def test_usage_comes_last_when_asked(client, chat_model):
    received = chunks(client, chat_model, stream_options={"include_usage": True})
    *before, last = received
    assert last.choices == []
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert all(chunk.usage is None for chunk in before)
    assert all(chunk.choices for chunk in before)


def test_streamed_usage_equals_the_single_answers(client, chat_model):
    whole = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=24, temperature=0)
    streamed = chunks(client, chat_model, stream_options={"include_usage": True})[-1].usage
    assert streamed.prompt_tokens == whole.usage.prompt_tokens
    assert streamed.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}], ids=["absent", "false"])
def test_usage_does_not_leak_when_not_asked(client, chat_model, options):
    for chunk in chunks(client, chat_model, **options):
        assert chunk.usage is None
        assert chunk.choices


def test_two_choices_stream_side_by_side(client, chat_model):
    received = chunks(client, chat_model, n=2, temperature=1, max_tokens=6)
    by_choice = {index: "" for index in (0, 1)}
    for chunk in received:
        for choice in chunk.choices:
            by_choice[choice.index] += choice.delta.content or ""
    assert all(by_choice.values())


def test_logprobs_stream(client, chat_model):
    received = chunks(client, chat_model, logprobs=True, top_logprobs=2, max_tokens=5)
    entries = [
        entry
        for chunk in received
        for choice in chunk.choices
        if choice.logprobs and choice.logprobs.content
        for entry in choice.logprobs.content
    ]
    assert "".join(entry.token for entry in entries) == text(received)
    assert all(len(entry.top_logprobs) == 2 for entry in entries)


def test_the_stream_helper_assembles_the_answer(client, chat_model):
    # The helper refuses an answer that ends by length, so this one ends by a word that is sure to come.
    fourth = text(chunks(client, chat_model, max_tokens=8)).split()[3]
    with client.chat.completions.stream(
        model=chat_model,
        messages=HELLO,
        max_tokens=24,
        temperature=0,
        stop=[f" {fourth}"],
        stream_options={"include_usage": True},
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content
    assert final.usage.completion_tokens > 0


def test_a_client_that_leaves_does_not_spoil_the_next(client, chat_model):
    for _ in range(5):
        with client.chat.completions.create(
            model=chat_model, messages=HELLO, stream=True, max_tokens=400, extra_body={"ignore_eos": True}
        ) as stream:
            next(iter(stream))
    assert text(chunks(client, chat_model))


def test_the_bytes_are_server_sent_events(http, chat_model):
    body = {"model": chat_model, "messages": HELLO, "max_tokens": 8, "stream": True}
    with http.stream("POST", "/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "content-encoding" not in answer.headers
        assert "content-length" not in answer.headers
        raw = b"".join(answer.iter_raw())
    assert raw.endswith(b"data: [DONE]\n\n")
    events = raw.decode().removesuffix("\n\n").split("\n\n")
    for event in events[:-1]:
        lines = [line for line in event.split("\n") if not line.startswith(":")]
        if lines:
            [line] = lines
            assert line.startswith("data: ")
            assert json.loads(line.removeprefix("data: "))["object"] == "chat.completion.chunk"
    assert events.count("data: [DONE]") == 1


def test_accept_json_does_not_change_a_stream(http, chat_model):
    # The official SDKs send `accept: application/json` and expect events.
    body = {"model": chat_model, "messages": HELLO, "max_tokens": 2, "stream": True}
    answer = http.post("/chat/completions", json=body, headers={"accept": "application/json"})
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_the_first_event_comes_before_the_last_is_made(http, chat_model):
    body = {"model": chat_model, "messages": HELLO, "max_tokens": 1200, "stream": True, "ignore_eos": True}
    with http.stream("POST", "/chat/completions", json=body) as answer:
        pieces = sum(1 for _ in answer.iter_raw())
    # Buffered as one, it would be one piece; coalescing of neighbours is fine.
    assert pieces > 10
