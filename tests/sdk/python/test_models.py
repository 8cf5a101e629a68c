import openai
import pytest


def test_the_list_names_the_model(client, chat_model):
    models = list(client.models.list())
    assert chat_model in {model.id for model in models}
    for model in models:
        assert model.object == "model"
        assert model.created > 0
        assert model.owned_by


@pytest.mark.gateway_only
def test_the_list_names_every_model_once(client, target):
    names = [model.id for model in client.models.list()]
    assert {target.chat.model, target.tool.model, target.embedding.model} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.gateway_only
def test_one_model_can_be_fetched(client, chat_model):
    model = client.models.retrieve(chat_model)
    assert (model.id, model.object) == (chat_model, "model")


@pytest.mark.gateway_only
@pytest.mark.parametrize("name", ["no-such-model", "a/b", "ü?&#%"])
def test_an_unknown_model_is_not_found(client, name):
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve(name)
    assert refused.value.code == "model_not_found"
