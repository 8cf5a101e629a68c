import pytest

HELLO = [{"role": "user", "content": "Hello"}]

pytestmark = pytest.mark.gateway_only


def test_an_answer_has_a_request_id(client, chat_model):
    raw = client.chat.completions.with_raw_response.create(model=chat_model, messages=HELLO, max_tokens=2)
    assert raw.headers["x-request-id"]
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.parse()._request_id == raw.request_id


def test_a_stream_has_a_request_id(client, chat_model):
    with client.chat.completions.with_streaming_response.create(
        model=chat_model, messages=HELLO, max_tokens=2, stream=True
    ) as answer:
        assert answer.headers["x-request-id"]


def test_request_ids_differ(client, chat_model):
    ids = {
        client.chat.completions.with_raw_response.create(model=chat_model, messages=HELLO, max_tokens=1).request_id
        for _ in range(5)
    }
    assert len(ids) == 5


def test_a_stream_is_not_to_be_cached(client, chat_model):
    with client.chat.completions.with_streaming_response.create(
        model=chat_model, messages=HELLO, max_tokens=2, stream=True
    ) as answer:
        assert "no-cache" in answer.headers["cache-control"]
