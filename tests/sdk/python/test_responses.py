import openai
import pytest


def test_a_response_has_text_and_usage(client, chat_model):
    answer = client.responses.create(model=chat_model, input="Tell of the moss.", max_output_tokens=12)
    assert answer.object == "response"
    assert answer.id
    assert answer.output_text
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_messages_and_instructions_are_accepted(client, chat_model):
    plain = client.responses.create(model=chat_model, input="Moss?", max_output_tokens=4)
    instructed = client.responses.create(
        model=chat_model,
        instructions="Be brief.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "Moss?"}]}],
        max_output_tokens=4,
    )
    assert instructed.usage.input_tokens > plain.usage.input_tokens


def test_events_come_in_order(client, chat_model):
    with client.responses.create(
        model=chat_model, input="Tell of the moss.", max_output_tokens=12, temperature=0, stream=True
    ) as stream:
        events = list(stream)
    kinds = [event.type for event in events]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert kinds.index("response.output_item.added") < kinds.index("response.output_text.delta")
    streamed = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert streamed == events[-1].response.output_text
    assert events[-1].response.usage.output_tokens > 0


def test_the_event_names_are_on_the_wire(http, chat_model):
    body = {"model": chat_model, "input": "Moss?", "max_output_tokens": 4, "stream": True}
    with http.stream("POST", "/responses", json=body) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        raw = "".join(answer.iter_text())
    for event in filter(None, raw.split("\n\n")):
        if event.startswith(":") or event == "data: [DONE]":
            continue
        name, data = event.split("\n", 1)
        kind = name.removeprefix("event: ")
        assert name != kind
        assert f'"type":"{kind}"' in data.replace('": "', '":"')


@pytest.mark.gateway_only
def test_a_response_without_a_model_needs_every_model(client):
    # What it builds on may name one, and here not every name is offered.
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.create(input="Moss?")
    assert (refused.value.code, refused.value.param) == ("missing_required_parameter", "model")
