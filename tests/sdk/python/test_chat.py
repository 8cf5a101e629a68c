import pytest

HELLO = [{"role": "user", "content": "Say something about the orchard."}]


def test_an_answer_has_every_field_a_client_reads(client, chat_model):
    answer = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=16)
    assert answer.object == "chat.completion"
    assert answer.id and answer.created > 1_700_000_000
    [choice] = answer.choices
    assert choice.index == 0
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.prompt_tokens > 0 and 0 < usage.completion_tokens <= 16
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_temperature_zero_repeats_itself(client, chat_model):
    def ask():
        answer = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=12, temperature=0, seed=7)
        return answer.choices[0].message.content

    assert ask() == ask()


def test_different_prompts_get_different_answers(client, chat_model):
    answers = {
        client.chat.completions.create(
            model=chat_model, messages=[{"role": "user", "content": text}], max_tokens=12, temperature=0
        )
        .choices[0]
        .message.content
        for text in ("river", "the stone gate is old", "why does snow drift south?")
    }
    assert len(answers) > 1


def test_max_tokens_ends_with_length(client, chat_model):
    answer = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=1, temperature=0)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 1


def test_max_completion_tokens_ends_with_length(client, chat_model):
    answer = client.chat.completions.create(model=chat_model, messages=HELLO, max_completion_tokens=1, temperature=0)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 1


def test_a_stop_sequence_is_not_in_the_answer(client, chat_model):
    whole = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=8, temperature=0)
    words = whole.choices[0].message.content.split()
    assert len(words) > 3, words
    cut = client.chat.completions.create(
        model=chat_model, messages=HELLO, max_tokens=8, temperature=0, stop=[f" {words[2]}"]
    )
    assert cut.choices[0].finish_reason == "stop"
    assert cut.choices[0].message.content.split() == words[:2]


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_reach_the_model(client, chat_model, role):
    plain = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=1)
    instructed = client.chat.completions.create(
        model=chat_model, messages=[{"role": role, "content": "Speak of winter only."}, *HELLO], max_tokens=1
    )
    assert instructed.usage.prompt_tokens > plain.usage.prompt_tokens


def test_content_parts_count_as_their_text(client, chat_model):
    parts = [{"role": "user", "content": [{"type": "text", "text": HELLO[0]["content"]}]}]
    answers = [
        client.chat.completions.create(model=chat_model, messages=messages, max_tokens=8, temperature=0)
        for messages in (HELLO, parts)
    ]
    assert answers[0].choices[0].message.content == answers[1].choices[0].message.content
    assert answers[0].usage.prompt_tokens == answers[1].usage.prompt_tokens


def test_a_conversation_grows_the_prompt(client, chat_model):
    first = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=8)
    history = [
        *HELLO,
        {"role": "assistant", "content": first.choices[0].message.content},
        {"role": "user", "content": "And then?"},
    ]
    second = client.chat.completions.create(model=chat_model, messages=history, max_tokens=8)
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_n_gives_that_many_choices(client, chat_model):
    answer = client.chat.completions.create(model=chat_model, messages=HELLO, max_tokens=6, n=2, temperature=1)
    assert sorted(choice.index for choice in answer.choices) == [0, 1]
    assert all(choice.message.content for choice in answer.choices)


def test_logprobs_describe_the_answer(client, chat_model):
    answer = client.chat.completions.create(
        model=chat_model, messages=HELLO, max_tokens=5, temperature=0, logprobs=True, top_logprobs=3
    )
    choice = answer.choices[0]
    content = choice.logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert "".join(entry.token for entry in content) == choice.message.content
    for entry in content:
        assert entry.logprob <= 0
        assert len(entry.top_logprobs) == 3
        # At temperature 0 the likeliest token is the one chosen.
        assert entry.top_logprobs[0].token == entry.token


def test_characters_outside_ascii_survive(client, chat_model):
    messages = [{"role": "user", "content": 'Grüße, 漢字 и 🙂 \u0000-free "quotes" \\ / \t'}]
    answer = client.chat.completions.create(model=chat_model, messages=messages, max_tokens=4)
    # Bytes that the vocabulary has no word for are a token each: nothing was dropped or replaced by "?".
    assert answer.usage.prompt_tokens > len(messages[0]["content"])


def test_fields_that_nobody_knows_are_no_error(client, chat_model):
    answer = client.chat.completions.create(
        model=chat_model,
        messages=HELLO,
        max_tokens=2,
        user="someone",
        extra_body={"vendor_field": {"deep": [1, 2.5, None]}, "top_k": 5},
    )
    assert answer.choices[0].message.content


def test_a_vendor_field_reaches_the_upstream(client, chat_model):
    # `ignore_eos` is llama.cpp's: with it the model never ends by itself.
    answer = client.chat.completions.create(
        model=chat_model, messages=HELLO, max_tokens=150, temperature=1, extra_body={"ignore_eos": True}
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 150
