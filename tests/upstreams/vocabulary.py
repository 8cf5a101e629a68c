"""The tokens of the tiny models, and the classes that `network.py` scripts by.

A SentencePiece-like vocabulary: specials, all 256 bytes (so that any text can be read), words, and
single characters (so that a grammar can write any JSON).
"""

from dataclasses import dataclass

UNKNOWN, BEGIN, END, TURN_START, TURN_END, CALL, CALL_END, TOOLS, RESPONSE_END = range(9)
SPECIALS = [
    ("<unk>", 2),  # token types of llama.cpp: 2 unknown, 3 control, 4 user-defined
    ("<s>", 3),
    ("</s>", 3),
    ("<|im_start|>", 3),
    ("<|im_end|>", 3),
    ("<tool_call>", 4),
    ("</tool_call>", 4),
    ("<tools>", 4),
    ("</tool_response>", 4),
]
NORMAL, BYTE = 1, 6
FIRST_BYTE = len(SPECIALS)
NEWLINE = FIRST_BYTE + ord("\n")

WORDS = """
able above accept across again air almost along answer apple around ask autumn bank basket bear begin below
berry bird bloom boat branch bread bridge bright bring brook build butter calm candle carry change chase cherry
city clear climb cloud coast cold corn count cover cross dance dark dawn deep door dream drift drop dusk early
earth east echo edge even ever fall farm fast feather fern field find fire fish flame float flower fog follow
forest found fresh frost garden gate gentle give glass glow gold grain grass green grove harbor harvest hazel
heart heavy hedge hill hold honey house island ivory jam join journey juice keep kind lake lamp land lantern
late leaf learn light linden listen little lone loud low lunar maple march meadow mellow mild mill mint mirror
mist moon moss mountain mulberry near nest never night north oak ocean old olive open orchard over paint path
pear pebble pine plain plant plum pond quiet rain reach red rest ripe river road root rose round sail salt sand
sea seed shade shore silk silver slow small snow soft song south spring star stone storm stream summer sun swift
tall tide tree under valley vine violet walk warm water wave west wheat wide wild willow wind winter wood yellow
""".split()
TEXT_EXTRAS = ["é", "漢", "🙂"]  # several bytes each, so that streams meet split characters
SPACE = "\u2581"


@dataclass(frozen=True)
class Vocabulary:
    tokens: list[bytes]
    types: list[int]
    scores: list[float]
    words: list[int]
    characters: dict[str, int]


def build() -> Vocabulary:
    tokens = [name.encode() for name, _ in SPECIALS]
    types = [kind for _, kind in SPECIALS]
    for byte in range(256):
        tokens.append(f"<0x{byte:02X}>".encode())
        types.append(BYTE)
    words = []
    for word in WORDS:
        words.append(len(tokens))
        tokens.append((SPACE + word).encode())
        types.append(NORMAL)
    characters = {}
    for character in [chr(code) for code in range(33, 127)] + [SPACE, "é", "漢", "🙂"]:
        characters[character] = len(tokens)
        tokens.append(character.encode())
        types.append(NORMAL)
    # Words must win over their letters, and anything over raw bytes.
    scores = [0.0] * FIRST_BYTE + [-1000.0] * 256
    scores += [-float(rank) for rank in range(len(tokens) - len(scores))]
    return Vocabulary(tokens, types, scores, words, characters)
