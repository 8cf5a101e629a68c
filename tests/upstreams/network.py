"""Weights of a two-layer Llama: random words, with a few habits scripted by hand.

Random weights alone never end a sentence, never call a tool, and never close a JSON string.
So the first layer's five attention heads look for five facts, and the output matrix turns facts into
habits. The second layer and both feed-forward blocks are random, so that the text depends on the prompt.

Facts (attention heads of layer 0):
    calls      1 / (1 + number of `</tool_call>` so far)
    responses  1 / (1 + number of `</tool_response>` so far)
    tools      1 / (1 + number of `<tools>` so far)
    json       1 if the last `{` is later than the last `<|im_start|>`, else 0
    call       1 if the last `<tool_call>` is not closed in this turn, else 0

Habits (rows of the output matrix):
    - a full stop ends the turn;
    - with tools and no tool response yet, the turn starts with `<tool_call>`, and two calls are made
      where the grammar allows it; with a tool response, the turn is text;
    - inside JSON, a string is closed after one word and brackets close as soon as the grammar lets them.
"""

from dataclasses import dataclass

import numpy as np
import vocabulary as v

EMBEDDING, HEADS, LAYERS, FEED_FORWARD, CONTEXT = 80, 5, 2, 128, 2048
HEAD = EMBEDDING // HEADS
# Rotation of pair i is 10^-i rad per position: pair 7 stands still, pair 3 tells near from far.
ROPE_BASE = 1e8
STILL, SLOW = 14, 6

# Dimensions of the residual stream that carry facts; the rest is random content.
CONTENT = 62
(
    ONE, IS_BEGIN, IS_TURN_START, IS_NEWLINE, IS_CALL_END, IS_RESPONSE_END, IS_TOOLS, IS_BRACE,
    IS_QUOTE, IS_WORD, IS_STOP, IS_CALL, IS_CLOSE, CALLS, RESPONSES, HAS_TOOLS, IN_JSON, IN_CALL,
) = range(CONTENT, EMBEDDING)  # fmt: skip


@dataclass(frozen=True)
class Network:
    tensors: dict[str, np.ndarray]


def build(words: v.Vocabulary, seed: int, calls_tools: bool) -> Network:
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    tensors = {
        "token_embd.weight": _embedding(words, normal),
        "output_norm.weight": np.ones(EMBEDDING, np.float32),
        "output.weight": _output(words, normal, calls_tools),
    }
    for layer in range(LAYERS):
        for name, matrix in _layer(layer, normal).items():
            tensors[f"blk.{layer}.{name}.weight"] = matrix
    return Network(tensors)


def _embedding(words: v.Vocabulary, normal) -> np.ndarray:
    size = len(words.tokens)
    table = np.zeros((size, EMBEDDING), np.float32)
    table[:, ONE] = 1
    for token, flag in [
        (v.BEGIN, IS_BEGIN),
        (v.TURN_START, IS_TURN_START),
        (v.NEWLINE, IS_NEWLINE),
        (v.CALL, IS_CALL),
        (v.CALL_END, IS_CALL_END),
        (v.RESPONSE_END, IS_RESPONSE_END),
        (v.TOOLS, IS_TOOLS),
        (words.characters["{"], IS_BRACE),
        (words.characters["}"], IS_CLOSE),
        (words.characters['"'], IS_QUOTE),
        (words.characters["."], IS_STOP),
    ]:
        table[token, flag] = 1
    table[words.words, IS_WORD] = 1
    for extra in v.TEXT_EXTRAS:
        table[words.characters[extra], IS_WORD] = 1
    content = normal(size, CONTENT)
    # Every row has root mean square 1, so that the first norm changes nothing and facts stay exact.
    room = np.sqrt(EMBEDDING - (table**2).sum(axis=1))
    table[:, :CONTENT] = content * (room / np.linalg.norm(content, axis=1))[:, None]
    return table


def _layer(layer: int, normal) -> dict[str, np.ndarray]:
    scale = 1 / np.sqrt(EMBEDDING)
    tensors = {
        name: normal(EMBEDDING, EMBEDDING, scale=scale) for name in ("attn_q", "attn_k", "attn_v", "attn_output")
    }
    if layer == 0:
        for matrix in tensors.values():
            matrix[:] = 0
        _count(tensors, 0, [IS_CALL_END], CALLS)
        _count(tensors, 1, [IS_RESPONSE_END], RESPONSES)
        _count(tensors, 2, [IS_TOOLS], HAS_TOOLS)
        _latest(tensors, 3, IS_BRACE, [IS_TURN_START], IN_JSON)
        _latest(tensors, 4, IS_CALL, [IS_TURN_START, IS_CALL_END], IN_CALL)
    else:
        # Sharp and loud, so that the prompt decides the text and not only the last word.
        tensors["attn_q"] *= 2
        tensors["attn_output"] *= 4
        tensors["attn_output"][CONTENT:] = 0
    down = normal(EMBEDDING, FEED_FORWARD, scale=1 / np.sqrt(FEED_FORWARD))
    down[CONTENT:] = 0
    return tensors | {
        "attn_norm": np.ones(EMBEDDING, np.float32),
        "ffn_norm": np.ones(EMBEDDING, np.float32),
        "ffn_gate": normal(FEED_FORWARD, EMBEDDING, scale=scale),
        "ffn_up": normal(FEED_FORWARD, EMBEDDING, scale=scale),
        "ffn_down": down,
    }


def _count(tensors: dict[str, np.ndarray], head: int, flags: list[int], fact: int) -> None:
    """Attends to the beginning and to every flagged token alike; writes the share of the beginning."""
    row = head * HEAD
    tensors["attn_q"][row + STILL, ONE] = 40
    for flag in [IS_BEGIN, *flags]:
        tensors["attn_k"][row + STILL, flag] = 4
    tensors["attn_v"][row, IS_BEGIN] = 1
    tensors["attn_output"][fact, row] = 1


def _latest(tensors: dict[str, np.ndarray], head: int, found: int, resets: list[int], fact: int) -> None:
    """Attends to the nearest flag; writes 1 if it is `found`."""
    row = head * HEAD
    tensors["attn_q"][row + STILL, ONE] = 400
    # A quarter turn ahead of the keys: the score falls by sin(distance / 1000).
    tensors["attn_q"][row + SLOW + 1, ONE] = 200
    for flag in [found, *resets]:
        tensors["attn_k"][row + STILL, flag] = 40
        tensors["attn_k"][row + SLOW, flag] = 40
    tensors["attn_v"][row, found] = 1
    tensors["attn_output"][fact, row] = 1


def _output(words: v.Vocabulary, normal, calls_tools: bool) -> np.ndarray:
    size = len(words.tokens)
    table = np.zeros((size, EMBEDDING), np.float32)
    # A little noise everywhere, so that a grammar's free choices are not ties.
    table[:, :CONTENT] = normal(size, CONTENT, scale=0.02)
    spoken = words.words + [words.characters[extra] for extra in v.TEXT_EXTRAS]
    table[spoken, :CONTENT] = normal(len(spoken), CONTENT, scale=0.6)
    stop = words.characters["."]
    table[stop, :CONTENT] = normal(CONTENT, scale=0.75)
    table[stop, [IN_JSON, IS_NEWLINE]] = -60  # no turn is a lone full stop

    def habit(token: int, weights: dict[int, float]) -> None:
        for fact, weight in weights.items():
            table[token, fact] += weight

    # Words reach about 15; a habit above that always wins, one below -15 always loses.
    # Inside a string: after one word the quote closes it; a fresh quote is followed by a word.
    habit(words.characters['"'], {IN_JSON: 400, IS_WORD: 200, IS_QUOTE: -300, ONE: -450})
    for closer in "}],":
        habit(words.characters[closer], {IN_JSON: 200, IS_QUOTE: -200, ONE: -100})
    # A grammar takes `{` as a byte too, which no fact would see.
    table[v.FIRST_BYTE : v.FIRST_BYTE + 256, ONE] = -400
    # White space is allowed nearly everywhere in JSON and would be written without end.
    for blank in (words.characters[v.SPACE], v.NEWLINE, v.FIRST_BYTE + ord(" "), v.FIRST_BYTE + ord("\t")):
        habit(blank, {IN_JSON: -200})

    if not calls_tools:
        habit(v.TURN_END, {IS_STOP: 100})
        return table

    # One object a call: llama.cpp's grammar would take a comma and the next call in the same block.
    habit(v.CALL_END, {IN_CALL: 200, IS_CLOSE: 300, ONE: -400})
    habit(words.characters[","], {IS_CLOSE: -150})
    # At a newline: +100 with tools and without a response, else -100 or less.
    # Inside a call never: with `tool_choice: none` no grammar would end it.
    # At the end of a call: +300, for templates that put no newline between calls.
    habit(v.CALL, {IS_NEWLINE: 400, IS_CALL_END: 600, HAS_TOOLS: -400, RESPONSES: 400, ONE: -500, IN_CALL: -1000})
    # After `<tool_call>` always: llama.cpp's grammar starts with the newline that follows it.
    # At the end of the first call +600, of the second +100; elsewhere negative.
    table[v.NEWLINE, ONE] = 0
    habit(v.NEWLINE, {IS_CALL: 4000, IS_CALL_END: 2300, CALLS: 3000, ONE: -3200})
    # At the end of the first call +200, of the second +500; after a full stop positive; elsewhere negative.
    habit(v.TURN_END, {IS_CALL_END: 1200, IS_STOP: 2000, CALLS: -1800, ONE: -100})
    return table
