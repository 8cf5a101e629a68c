"""That the official client comes back when it was told to, and not before.

Needs LIMITED_KEY, a key with two requests a minute, and SINGLE_KEY, one with a single request at a time. Skipped
without them.
"""

import os
import threading
import time

import openai
import pytest

LIMITED = os.environ.get("LIMITED_KEY")
SINGLE = os.environ.get("SINGLE_KEY")
PREFIX = os.environ.get("MOCK_MODEL_PREFIX")
HELLO = [{"role": "user", "content": "Hello"}]

pytestmark = [
    pytest.mark.gateway_only,
    pytest.mark.skipif(not (LIMITED and SINGLE and PREFIX), reason="LIMITED_KEY, SINGLE_KEY or MOCK_MODEL_PREFIX is not set"),
]


def client_of(target, key: str, **more) -> openai.OpenAI:
    return openai.OpenAI(base_url=target.chat.base_url, api_key=key, timeout=30, **more)


def ask(client, mode: str = "ok", **more):
    return client.chat.completions.create(model=f"{PREFIX}{mode}", messages=HELLO, **more)


def test_the_third_of_two_a_minute_waits_as_long_as_it_is_told(target):
    with client_of(target, LIMITED, max_retries=0) as hasty, client_of(target, LIMITED) as patient:
        for left in (1, 0):
            headers = hasty.chat.completions.with_raw_response.create(model=f"{PREFIX}ok", messages=HELLO).headers
            assert headers["x-ratelimit-limit-requests"] == "2"
            assert headers["x-ratelimit-remaining-requests"] == str(left)
            assert headers["x-ratelimit-reset-requests"].endswith("s")
        with pytest.raises(openai.RateLimitError) as refused:
            ask(hasty)
        assert (refused.value.type, refused.value.code) == ("requests", "rate_limit_exceeded")
        headers = refused.value.response.headers
        told_s = int(headers["retry-after-ms"]) / 1000
        assert 50 < told_s <= 60
        assert headers["x-should-retry"] == "true"

        started = time.monotonic()
        assert ask(patient).choices[0].message.content
        assert told_s - 1 < time.monotonic() - started < told_s + 5


def test_a_second_request_comes_back_when_the_first_is_done(target):
    # Four tokens, one a second: done long after the first refusal. The client asks again each second, as it is told, and more
    # often than the twice that are its default.
    with client_of(target, SINGLE, max_retries=10) as client, client_of(target, SINGLE, max_retries=0) as hasty:
        began = threading.Event()

        def hold():
            with ask(client, "slow-1000+tokens-4", stream=True) as stream:
                for _ in stream:
                    began.set()

        holder = threading.Thread(target=hold)
        holder.start()
        assert began.wait(20)
        with pytest.raises(openai.RateLimitError) as refused:
            ask(hasty)
        assert refused.value.code == "concurrency_limit_exceeded"
        started = time.monotonic()
        assert ask(client).choices[0].message.content
        assert 1 <= time.monotonic() - started < 15
        holder.join()
