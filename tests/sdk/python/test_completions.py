def test_a_completion_has_text_and_usage(client, chat_model):
    answer = client.completions.create(model=chat_model, prompt="The old mill", max_tokens=6, temperature=0)
    assert answer.object == "text_completion"
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_two_prompts_two_answers(client, chat_model):
    answer = client.completions.create(model=chat_model, prompt=["river", "stone"], max_tokens=4, temperature=0)
    assert sorted(choice.index for choice in answer.choices) == [0, 1]


def test_a_stream_says_the_same(client, chat_model):
    whole = client.completions.create(model=chat_model, prompt="The old mill", max_tokens=6, temperature=0)
    with client.completions.create(
        model=chat_model, prompt="The old mill", max_tokens=6, temperature=0, stream=True
    ) as stream:
        received = list(stream)
    text = "".join(choice.text for chunk in received for choice in chunk.choices)
    assert text == whole.choices[0].text
    # llama.cpp puts usage on this endpoint's last chunk unasked, so only the chunks before are checked.
    assert all(chunk.usage is None for chunk in received[:-1])


def test_usage_comes_last_when_asked(client, chat_model):
    with client.completions.create(
        model=chat_model, prompt="moon", max_tokens=3, stream=True, stream_options={"include_usage": True}
    ) as stream:
        received = list(stream)
    # With the finish reason (llama.cpp) or in a chunk of its own (OpenAI), but last and once.
    assert received[-1].usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in received[:-1])
