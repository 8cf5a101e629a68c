"""Writes the tiny GGUF models: the same bytes on every run, no download.

models.py OUT_DIR       writes chat.gguf, tool.gguf, embedding.gguf and prints their SHA-256
"""

import hashlib
import sys
from pathlib import Path

import gguf
import network
import vocabulary

MODELS = {"chat": (7, False), "tool": (11, True), "embedding": (13, False)}  # name: (seed, calls tools)
TEMPLATE = Path(__file__).with_name("chat.jinja")


def write(name: str, path: Path) -> None:
    seed, calls_tools = MODELS[name]
    words = vocabulary.build()
    weights = network.build(words, seed, calls_tools)
    partial = path.with_suffix(".partial")
    writer = gguf.GGUFWriter(partial, "llama")
    writer.add_name(f"mulberry-{name}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(network.CONTEXT)
    writer.add_embedding_length(network.EMBEDDING)
    writer.add_block_count(network.LAYERS)
    writer.add_feed_forward_length(network.FEED_FORWARD)
    writer.add_head_count(network.HEADS)
    writer.add_head_count_kv(network.HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(network.HEAD)
    writer.add_rope_freq_base(network.ROPE_BASE)
    writer.add_vocab_size(len(words.tokens))
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words.tokens)
    writer.add_token_scores(words.scores)
    writer.add_token_types(words.types)
    writer.add_unk_token_id(vocabulary.UNKNOWN)
    writer.add_bos_token_id(vocabulary.BEGIN)
    writer.add_eos_token_id(vocabulary.TURN_END)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    # With a prefix space, grammars that start with `{` have no token to start with.
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE.read_text(encoding="utf-8"))
    for tensor, matrix in weights.tensors.items():
        writer.add_tensor(tensor, matrix)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    partial.replace(path)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        path = folder / f"{name}.gguf"
        write(name, path)
        print(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
