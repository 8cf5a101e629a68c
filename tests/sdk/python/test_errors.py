import openai
import pytest

HELLO = [{"role": "user", "content": "Hello"}]
ENVELOPE = {"message", "type", "param", "code"}


def check_envelope(answer) -> dict:
    """The shape that OpenAI's description requires of every error."""
    assert answer.headers["content-type"].startswith("application/json")
    error = answer.json()["error"]
    assert set(error) >= ENVELOPE
    assert isinstance(error["message"], str) and error["message"]
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    assert error["code"] is None or isinstance(error["code"], str)
    return error


def test_a_wrong_key_is_refused(target):
    with openai.OpenAI(base_url=target.chat.base_url, api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            stranger.chat.completions.create(model=target.chat.model, messages=HELLO)
    assert refused.value.status_code == 401
    assert "wrong" not in str(refused.value)


def test_no_key_is_refused(anonymous, chat_model):
    answer = anonymous.post("/chat/completions", json={"model": chat_model, "messages": HELLO})
    assert answer.status_code == 401


@pytest.mark.gateway_only
@pytest.mark.parametrize("value", ["Bearer", "Basic eDp5", "Bearer \x7f", "x" * 5000], ids=repr)
def test_a_strange_authorization_is_refused(anonymous, chat_model, value):
    answer = anonymous.post(
        "/chat/completions", json={"model": chat_model, "messages": HELLO}, headers={b"authorization": value.encode()}
    )
    assert answer.status_code in (400, 401)
    if answer.status_code == 401:
        assert check_envelope(answer)["code"] == "invalid_api_key"


def test_a_request_without_messages_is_bad(client, chat_model):
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/chat/completions", body={"model": chat_model}, cast_to=object)
    assert refused.value.type == "invalid_request_error"


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'"text"', b"\xff\xfe", b"nul"], ids=repr)
def test_a_body_that_is_not_an_object_is_bad(http, body):
    answer = http.post("/chat/completions", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]


def test_a_bad_value_is_bad(client, chat_model):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=chat_model, messages="not a list")


def test_a_prompt_beyond_the_context_is_bad(client, chat_model):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=chat_model, messages=[{"role": "user", "content": "_x" * 3000}], max_tokens=4
        )
    assert "context" in str(refused.value)


@pytest.mark.gateway_only
def test_a_prompt_beyond_the_context_has_openais_code(client, chat_model):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=chat_model, messages=[{"role": "user", "content": "_x" * 3000}], max_tokens=4
        )
    assert refused.value.code == "context_length_exceeded"


def test_a_prompt_beyond_the_context_is_bad_in_a_stream_too(client, chat_model):
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model=chat_model, messages=[{"role": "user", "content": "_x" * 3000}], max_tokens=4, stream=True
        )


def test_an_unknown_path_is_not_found(http):
    assert http.get("/no/such/path").status_code == 404


@pytest.mark.gateway_only
def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    assert refused.value.code == "model_not_found"


@pytest.mark.gateway_only
def test_errors_have_the_envelope(http, anonymous, chat_model):
    body = {"model": chat_model, "messages": HELLO}
    check_envelope(anonymous.post("/chat/completions", json=body))
    check_envelope(http.get("/no/such/path"))
    check_envelope(http.post("/chat/completions", content=b"{"))
    check_envelope(http.post("/chat/completions", json={"model": chat_model}))
    check_envelope(http.post("/chat/completions", json={"messages": HELLO}))
    check_envelope(http.post("/chat/completions", json=body | {"model": "no-such-model"}))
    check_envelope(http.post("/chat/completions", json=body | {"messages": [{"role": "user", "content": "_x" * 3000}]}))


@pytest.mark.gateway_only
def test_a_wrong_method_is_refused(http):
    # Not /chat/completions: GET lists the stored ones there.
    answer = http.get("/embeddings")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    check_envelope(answer)


@pytest.mark.gateway_only
def test_an_error_names_its_request(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="no-such-model", messages=HELLO)
    assert refused.value.request_id


def test_errors_do_not_repeat_the_prompt(http, chat_model):
    secret = "quince-4711"
    answer = http.post(
        "/chat/completions", json={"model": chat_model, "messages": [{"role": "user", "content": secret + "_x" * 3000}]}
    )
    assert answer.status_code == 400
    assert secret not in answer.text
