import pytest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings


@pytest.fixture(scope="module")
def chat(target):
    return ChatOpenAI(
        base_url=target.chat.base_url,
        api_key=target.api_key,
        model=target.chat.model,
        temperature=0,
        max_tokens=24,
        max_retries=0,
        stream_usage=True,
    )


@tool
def get_weather(city: str, days: int) -> str:
    """The weather of a place."""
    return f"{city}: clear for {days} days"


def test_invoke(chat):
    answer = chat.invoke([SystemMessage("Be brief."), HumanMessage("Tell of the coast.")])
    assert answer.content
    assert answer.usage_metadata["total_tokens"] > 0
    assert answer.response_metadata["finish_reason"] in ("stop", "length")


def test_a_stream_adds_up(chat):
    whole = chat.invoke("Tell of the coast.")
    chunks = list(chat.stream("Tell of the coast."))
    total = chunks[0]
    for chunk in chunks[1:]:
        total += chunk
    assert total.content == whole.content
    assert total.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]


async def test_a_batch(chat):
    answers = await chat.abatch(["coast", "dawn", "fern"])
    assert len(answers) == 3 and all(answer.content for answer in answers)


def test_tools_in_a_loop(target):
    model = ChatOpenAI(
        base_url=target.tool.base_url,
        api_key=target.api_key,
        model=target.tool.model,
        temperature=0,
        max_tokens=400,
        max_retries=0,
    ).bind_tools([get_weather])
    history = [HumanMessage("What will it be like?")]
    first = model.invoke(history)
    assert len(first.tool_calls) == 2
    history.append(first)
    for call in first.tool_calls:
        result = get_weather.invoke(call)
        assert isinstance(result, ToolMessage)
        history.append(result)
    last = model.bind(max_tokens=60).invoke(history)
    assert last.content and not last.tool_calls


def test_embeddings(target):
    embeddings = OpenAIEmbeddings(
        base_url=target.embedding.base_url,
        api_key=target.api_key,
        model=target.embedding.model,
        # It would count tokens with a vocabulary that it downloads.
        check_embedding_ctx_length=False,
    )
    first, second = embeddings.embed_documents(["a calm lake", "a loud mill"])
    assert len(first) == len(second) > 0
    assert first != second
