import base64
import math
import struct

import httpx
import pytest

TEXTS = ["a calm lake", "the loud mill by the river", "漢 and 🙂"]


def test_the_sdks_default_equals_floats(embedding_client, embedding_model):
    # Unless told otherwise the SDK asks for base64 and decodes it.
    decoded = embedding_client.embeddings.create(model=embedding_model, input=TEXTS[0]).data[0].embedding
    plain = (
        embedding_client.embeddings.create(model=embedding_model, input=TEXTS[0], encoding_format="float")
        .data[0]
        .embedding
    )
    assert len(decoded) == len(plain) > 0
    assert all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6) for a, b in zip(decoded, plain))


def test_a_batch_keeps_its_order(embedding_client, embedding_model):
    batch = embedding_client.embeddings.create(model=embedding_model, input=TEXTS)
    assert batch.object == "list"
    assert [item.index for item in batch.data] == [0, 1, 2]
    assert {item.object for item in batch.data} == {"embedding"}
    assert batch.usage.prompt_tokens > 0
    assert batch.usage.total_tokens == batch.usage.prompt_tokens
    for item, text in zip(batch.data, TEXTS):
        alone = embedding_client.embeddings.create(model=embedding_model, input=text).data[0].embedding
        assert all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-4) for a, b in zip(item.embedding, alone))


def test_different_texts_differ(embedding_client, embedding_model):
    first, second, _ = embedding_client.embeddings.create(model=embedding_model, input=TEXTS).data
    assert first.embedding != second.embedding


def test_token_numbers_are_accepted(embedding_client, embedding_model):
    answer = embedding_client.embeddings.create(model=embedding_model, input=[300, 301, 302])
    assert answer.usage.prompt_tokens == 3


@pytest.mark.parametrize("encoding", ["base64", "float"])
def test_the_wire_has_the_encoding_that_was_asked(target, encoding):
    answer = httpx.post(
        f"{target.embedding.base_url}/embeddings",
        headers={"authorization": f"Bearer {target.api_key}"},
        json={"model": target.embedding.model, "input": TEXTS[0], "encoding_format": encoding},
    )
    vector = answer.json()["data"][0]["embedding"]
    if encoding == "float":
        assert all(isinstance(value, float) for value in vector)
        return
    raw = base64.b64decode(vector, validate=True)
    values = struct.unpack(f"<{len(raw) // 4}f", raw)
    assert math.isclose(sum(value * value for value in values), 1.0, rel_tol=1e-3)
