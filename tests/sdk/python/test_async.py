import asyncio

HELLO = [{"role": "user", "content": "Tell of the wind."}]


async def text(client, model: str, number: int) -> str:
    messages = [{"role": "user", "content": f"Tell of wind {number}."}]
    stream = await client.chat.completions.create(
        model=model, messages=messages, max_tokens=20, temperature=0, stream=True
    )
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    return "".join(parts)


async def test_an_answer(async_client, chat_model):
    answer = await async_client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=4)
    assert answer.choices[0].message.content


async def test_concurrent_streams_do_not_mix(async_client, chat_model):
    """Each of 16 streams at once says what it says alone."""
    alone = [await text(async_client, chat_model, number) for number in range(4)]
    together = await asyncio.gather(*(text(async_client, chat_model, number % 4) for number in range(16)))
    assert len(set(alone)) > 1
    assert list(together) == alone * 4


async def test_a_cancelled_request_does_not_spoil_the_next(async_client, chat_model):
    task = asyncio.create_task(
        async_client.chat.completions.create(
            model=chat_model, messages=HELLO, max_tokens=1500, extra_body={"ignore_eos": True}
        )
    )
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    answer = await async_client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=4)
    assert answer.choices[0].message.content
