"""Where the suite looks and which clients it uses; all of it comes from the environment (../README.md)."""

import os
from dataclasses import dataclass

import httpx
import openai
import pytest

LIMIT_S = 30.0


@dataclass(frozen=True)
class Place:
    """One model at one address."""

    base_url: str
    model: str


@dataclass(frozen=True)
class Target:
    api_key: str
    chat: Place
    tool: Place
    embedding: Place
    is_gateway: bool


def pytest_configure(config: pytest.Config) -> None:
    wanted = ("BASE_URL", "API_KEY", "CHAT_MODEL", "TOOL_MODEL", "EMBEDDING_MODEL")
    missing = [name for name in wanted if not os.environ.get(name)]
    if missing:
        raise pytest.UsageError(f"not set: {', '.join(missing)} (see tests/sdk/README.md)")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if _target().is_gateway:
        return
    skip = pytest.mark.skip(reason="TARGET=upstream: only a gateway does this")
    for item in items:
        if item.get_closest_marker("gateway_only"):
            item.add_marker(skip)


def _target() -> Target:
    env = os.environ
    base = env["BASE_URL"].rstrip("/")
    return Target(
        api_key=env["API_KEY"],
        chat=Place(base, env["CHAT_MODEL"]),
        # Apart only when the suite talks to bare servers, each of which has one model.
        tool=Place(env.get("TOOL_BASE_URL", base).rstrip("/"), env["TOOL_MODEL"]),
        embedding=Place(env.get("EMBEDDING_BASE_URL", base).rstrip("/"), env["EMBEDDING_MODEL"]),
        is_gateway=env.get("TARGET", "gateway") == "gateway",
    )


@pytest.fixture(scope="session")
def target() -> Target:
    return _target()


@pytest.fixture(scope="session")
def chat_model(target: Target) -> str:
    return target.chat.model


@pytest.fixture(scope="session")
def tool_model(target: Target) -> str:
    return target.tool.model


@pytest.fixture(scope="session")
def embedding_model(target: Target) -> str:
    return target.embedding.model


def _client(target: Target, place: Place) -> openai.OpenAI:
    # No retries: a test must see the first answer.
    return openai.OpenAI(base_url=place.base_url, api_key=target.api_key, max_retries=0, timeout=LIMIT_S)


@pytest.fixture(scope="session")
def client(target: Target):
    with _client(target, target.chat) as client:
        yield client


@pytest.fixture(scope="session")
def tool_client(target: Target):
    with _client(target, target.tool) as client:
        yield client


@pytest.fixture(scope="session")
def embedding_client(target: Target):
    with _client(target, target.embedding) as client:
        yield client


@pytest.fixture
async def async_client(target: Target):
    async with openai.AsyncOpenAI(
        base_url=target.chat.base_url, api_key=target.api_key, max_retries=0, timeout=LIMIT_S
    ) as client:
        yield client


@pytest.fixture(scope="session")
def http(target: Target):
    """Plain HTTP, for what an SDK hides."""
    headers = {"authorization": f"Bearer {target.api_key}"}
    with httpx.Client(base_url=target.chat.base_url, headers=headers, timeout=LIMIT_S) as http:
        yield http


@pytest.fixture(scope="session")
def anonymous(target: Target):
    with httpx.Client(base_url=target.chat.base_url, timeout=LIMIT_S) as http:
        yield http
