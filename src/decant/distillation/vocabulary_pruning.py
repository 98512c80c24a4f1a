"""Vocabulary pruning: the tokens that texts use, and enough of the others to write any word with.

Half of a small student is otherwise the embedding of 30,000 tokens, of which one data set uses a tenth.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from decant.core.errors import UserError
from decant.core.files import read_json, write_json

ABSOLUTE_POSITIONS = ("bert", "distilbert", "electra")
"""Architectures that number positions from 0: positions after the longest input are never read."""
Json = dict[str, Any]
"""tokenizer.json (`state`), or a part of it: the model, a post-processor."""


def prune(folder: Path, texts: Sequence[str], max_length: int) -> int:
    """Prune the tokenizer and the embedding of a model directory, in place; returns the number of tokens that remain.

    All of `texts` keep their tokens; other words are written with the remaining ones, down to single characters.

    Raises:
        UserError: a tokenizer of a kind that cannot be pruned.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    text_tokens = [encoding.tokens for encoding in tokenizer.encode_batch(list(texts))]
    state = json.loads(tokenizer.to_str())
    remaining = remaining_tokens(state, {token for tokens in text_tokens for token in tokens})
    renumber(state, remaining)
    state["truncation"] = None
    pruned = Tokenizer.from_str(json.dumps(state, ensure_ascii=False))
    same = [e.tokens for e in pruned.encode_batch(list(texts))] == text_tokens
    assert same, "pruning the vocabulary changed the tokens of a text"
    (folder / "tokenizer.json").write_text(json.dumps(state, ensure_ascii=False, indent=1) + "\n", "utf-8")
    prune_embedding(folder, sorted(remaining.values()), max_length)
    return len(remaining)


def remaining_tokens(state: Json, used: set[str]) -> dict[str, int]:
    """The tokens that remain, with their ids; merges of other tokens are removed from `state`, a tokenizer as JSON."""
    model = state["model"]
    special = {token["content"]: token["id"] for token in state["added_tokens"]}
    entries = vocabulary_entries(model)
    if entries is None:
        raise UserError(
            f"the student's tokenizer is of the kind {model['type']}, whose vocabulary cannot be pruned; set "
            "distill.vocabulary to all"
        )
    if model["type"] == "BPE":
        merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
        used = with_merged_parts(used, merges)
        model["merges"] = [list(m) for m in merges if {*m, "".join(m)} <= used | characters(model)]
    tokens = used | characters(model)
    return {token: number for token, number in entries if token in tokens} | special


def vocabulary_entries(model: Json) -> list[tuple[str, int]] | None:
    """Tokens and their ids; None: a kind of tokenizer that is not supported."""
    if model["type"] in ("WordPiece", "BPE", "WordLevel"):
        return list(model["vocab"].items())
    if model["type"] == "Unigram":
        return [(token, number) for number, (token, _) in enumerate(model["vocab"])]
    return None


def characters(model: Json) -> set[str]:
    """The tokens of one character, with or without the prefix of a continued word, and those of single bytes."""
    prefix = model.get("continuing_subword_prefix") or ""
    tokens = {token for token, _ in vocabulary_entries(model) or []}
    bare = {t: t.removeprefix(prefix) if prefix else t for t in tokens}
    unknown = {model["unk_token"]} if model.get("unk_token") else set()
    return {t for t, text in bare.items() if len(text) == 1 or (len(t) == 6 and t.startswith("<0x"))} | unknown


def with_merged_parts(used: set[str], merges: list[tuple[str, ...]]) -> set[str]:
    """`used` and all tokens that they are merged from."""
    parts_of: dict[str, list[tuple[str, ...]]] = {}
    for merge in merges:
        parts_of.setdefault("".join(merge), []).append(merge)
    tokens, queue = set(used), list(used)
    while queue:
        for merge in parts_of.get(queue.pop(), []):
            queue += [part for part in merge if part not in tokens]
            tokens |= set(merge)
    return tokens


def renumber(state: Json, remaining: dict[str, int]) -> None:
    """Number the remaining tokens from 0, in their old order, wherever a tokenizer as JSON holds an id."""
    new_id = {old: new for new, old in enumerate(sorted(remaining.values()))}
    model = state["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in new_id]
        model["unk_id"] = new_id.get(model["unk_id"])
    else:
        order = sorted((n, t) for t, n in remaining.items() if t in model["vocab"])
        model["vocab"] = {token: new_id[old] for old, token in order}
    for token in state["added_tokens"]:
        token["id"] = new_id[token["id"]]
    if state["padding"]:
        state["padding"]["pad_id"] = new_id[state["padding"]["pad_id"]]
    renumber_template(state["post_processor"] or {}, new_id)


def renumber_template(processor: Json, new_id: dict[int, int]) -> None:
    """The ids of the tokens that a post-processor adds."""
    for inner in processor.get("processors", []):
        renumber_template(inner, new_id)
    kind = processor.get("type")
    for token in processor.get("special_tokens", {}).values() if kind == "TemplateProcessing" else ():
        token["ids"] = [new_id[i] for i in token["ids"]]
    for name in ("sep", "cls") if kind in ("BertProcessing", "RobertaProcessing") else ():
        processor[name][1] = new_id[processor[name][1]]


def prune_embedding(folder: Path, token_ids: list[int], max_length: int) -> None:
    """Reduce config.json and weights of a model directory to `token_ids` and, where possible, to `max_length`."""
    config = read_json(folder / "config.json")
    backbone = config.get("body", config)  # of an architecture of decant, the config of its backbone
    size = backbone["vocab_size"]
    has_positions = backbone["model_type"] in ABSOLUTE_POSITIONS
    positions = backbone.get("max_position_embeddings", 0) if has_positions else 0
    new_id = {old: new for new, old in enumerate(token_ids)}
    for part in (config, backbone):
        for key in (k for k, v in part.items() if k.endswith("token_id") and isinstance(v, int)):
            part[key] = new_id.get(part[key])
    backbone["vocab_size"] = len(token_ids)
    if positions > max_length:
        for part in (backbone, config):
            part["max_position_embeddings"] = max_length
    write_json(folder / "config.json", config)
    if (file := folder / "model.safetensors").exists():
        prune_weights(file, token_ids, size, positions, max_length)


def prune_weights(file: Path, token_ids: list[int], size: int, positions: int, max_length: int) -> None:
    """Keep the rows of `token_ids` in the embedding of `size` tokens, and the first `max_length` of all `positions`."""
    weights = load_file(file)
    if sum("embed" in name and len(weight) == size for name, weight in weights.items()) != 1:
        raise UserError(f"{file.parent} has no single embedding of tokens; set distill.vocabulary to all")
    for name, weight in weights.items():
        if "embed" in name and len(weight) == size:
            weights[name] = weight[torch.tensor(token_ids)].clone()
        elif "position_embed" in name and len(weight) == positions > max_length:
            weights[name] = weight[:max_length].clone()
    save_file(weights, file, metadata={"format": "pt"})
