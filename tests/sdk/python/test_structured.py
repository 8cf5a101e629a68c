import json
from typing import Literal

import pydantic

ASK = [{"role": "user", "content": "Describe a place."}]


class Place(pydantic.BaseModel):
    name: str
    height: int
    kind: Literal["hill", "lake"]
    tags: list[str]
    open: bool


SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "place",
        "strict": True,
        "schema": {**Place.model_json_schema(), "additionalProperties": False},
    },
}


def test_an_answer_keeps_to_the_schema(client, chat_model):
    answer = client.chat.completions.create(
        model=chat_model, messages=ASK, response_format=SCHEMA, max_tokens=200, temperature=0
    )
    assert answer.choices[0].finish_reason == "stop"
    Place.model_validate_json(answer.choices[0].message.content, strict=True)


def test_a_stream_keeps_to_the_schema(client, chat_model):
    content = ""
    with client.chat.completions.create(
        model=chat_model, messages=ASK, response_format=SCHEMA, max_tokens=200, temperature=0, stream=True
    ) as stream:
        for chunk in stream:
            content += chunk.choices[0].delta.content or ""
    Place.model_validate_json(content, strict=True)


def test_the_parse_helper_returns_the_type(client, chat_model):
    answer = client.chat.completions.parse(
        model=chat_model, messages=ASK, response_format=Place, max_tokens=200, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Place)


def test_json_object_is_an_object(client, chat_model):
    answer = client.chat.completions.create(
        model=chat_model, messages=ASK, response_format={"type": "json_object"}, max_tokens=200, temperature=0
    )
    assert isinstance(json.loads(answer.choices[0].message.content), dict)
