"""A smaller vocabulary: the tokens that texts use, and enough of the others to write any word with.

Half of a small student is otherwise the table of 30,000 tokens, of which one data set uses a tenth.
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

POSITIONS = ("bert", "distilbert", "electra")
"""Architectures that number positions from 0: those past the longest input are never read."""


def trim(folder: Path, texts: Sequence[str], max_length: int) -> int:
    """Cut the tokenizer and the embedding of a model directory, in place; the number of tokens kept.

    All of `texts` keep their tokens; other words are written with those that are left, down to single characters.

    Raises:
        UserError: a tokenizer of a kind that cannot be cut.
    """
    before = Tokenizer.from_file(str(folder / "tokenizer.json"))
    before.no_truncation()
    used = [encoding.tokens for encoding in before.encode_batch(list(texts))]
    whole = json.loads(before.to_str())
    kept = cut(whole, {token for tokens in used for token in tokens})
    renumber(whole, kept)
    whole["truncation"] = None
    after = Tokenizer.from_str(json.dumps(whole, ensure_ascii=False))
    assert [e.tokens for e in after.encode_batch(list(texts))] == used, "a cut vocabulary changed the tokens of a text"
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n", "utf-8")
    embed(folder, sorted(kept.values()), max_length)
    return len(kept)


def cut(whole: dict[str, Any], used: set[str]) -> dict[str, int]:
    """The tokens to keep, with their numbers; takes the others out of the model in `whole`, a tokenizer as JSON."""
    model = whole["model"]
    special = {token["content"]: token["id"] for token in whole["added_tokens"]}
    pieces = pairs(model)
    if pieces is None:
        raise UserError(
            f"the student's tokenizer is of the kind {model['type']}, whose vocabulary cannot be cut; set "
            "distill.vocabulary to all"
        )
    if model["type"] == "BPE":
        merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
        used = with_parts(used, merges)
        model["merges"] = [list(m) for m in merges if {*m, "".join(m)} <= used | singles(model)]
    keep = used | singles(model)
    return {token: number for token, number in pieces if token in keep} | special


def pairs(model: dict[str, Any]) -> list[tuple[str, int]] | None:
    """Tokens and their numbers; none: of a kind that is not known here."""
    if model["type"] in ("WordPiece", "BPE", "WordLevel"):
        return list(model["vocab"].items())
    if model["type"] == "Unigram":
        return [(token, number) for number, (token, _) in enumerate(model["vocab"])]
    return None


def singles(model: dict[str, Any]) -> set[str]:
    """The tokens of one character, with or without the mark of a continued word, and those of single bytes."""
    mark = model.get("continuing_subword_prefix") or ""
    tokens = {token for token, _ in pairs(model) or []}
    bare = {t: t.removeprefix(mark) if mark else t for t in tokens}
    unknown = {model["unk_token"]} if model.get("unk_token") else set()
    return {t for t, text in bare.items() if len(text) == 1 or (len(t) == 6 and t.startswith("<0x"))} | unknown


def with_parts(used: set[str], merges: list[Any]) -> set[str]:
    """`used` and all that its tokens are merged from."""
    made: dict[str, list[Any]] = {}
    for merge in merges:
        made.setdefault("".join(merge), []).append(merge)
    found, left = set(used), list(used)
    while left:
        for merge in made.get(left.pop(), []):
            left += [part for part in merge if part not in found]
            found |= set(merge)
    return found


def renumber(whole: dict[str, Any], kept: dict[str, int]) -> None:
    """Number the tokens that are left from 0, in their old order, wherever a tokenizer as JSON names a number."""
    number = {old: new for new, old in enumerate(sorted(kept.values()))}
    model = whole["model"]
    if model["type"] == "Unigram":
        model["vocab"] = [entry for old, entry in enumerate(model["vocab"]) if old in number]
        model["unk_id"] = number.get(model["unk_id"])
    else:
        order = sorted((n, t) for t, n in kept.items() if t in model["vocab"])
        model["vocab"] = {token: number[old] for old, token in order}
    for token in whole["added_tokens"]:
        token["id"] = number[token["id"]]
    if whole["padding"]:
        whole["padding"]["pad_id"] = number[whole["padding"]["pad_id"]]
    renumber_template(whole["post_processor"] or {}, number)


def renumber_template(part: dict[str, Any], number: dict[int, int]) -> None:
    """The numbers of the tokens that a post-processor adds."""
    for inner in part.get("processors", []):
        renumber_template(inner, number)
    for token in part.get("special_tokens", {}).values() if part.get("type") == "TemplateProcessing" else ():
        token["ids"] = [number[i] for i in token["ids"]]
    for name in ("sep", "cls") if part.get("type") in ("BertProcessing", "RobertaProcessing") else ():
        part[name][1] = number[part[name][1]]


def embed(folder: Path, kept: list[int], max_length: int) -> None:
    """Cut config.json and weights of a model directory to the tokens `kept` and, where it can be, to the positions."""
    config = read_json(folder / "config.json")
    sizes = config.get("body", config)  # of a network of ours, that of its backbone
    size = sizes["vocab_size"]
    positions = sizes.get("max_position_embeddings", 0) if sizes["model_type"] in POSITIONS else 0
    number = {old: new for new, old in enumerate(kept)}
    for part in (config, sizes):
        for key in (k for k, v in part.items() if k.endswith("token_id") and isinstance(v, int)):
            part[key] = number.get(part[key])
    sizes["vocab_size"] = len(kept)
    if positions > max_length:
        sizes["max_position_embeddings"] = max_length
        if config is not sizes:
            config["max_position_embeddings"] = max_length
    write_json(folder / "config.json", config)
    if (file := folder / "model.safetensors").exists():
        rows = torch.tensor(kept)
        weights = load_file(file)
        if sum("embed" in name and len(weight) == size for name, weight in weights.items()) != 1:
            raise UserError(f"{folder} has no single table of word vectors; set distill.vocabulary to all")
        for name, weight in weights.items():
            if "embed" in name and len(weight) == size:
                weights[name] = weight[rows].clone()
            elif "position_embed" in name and len(weight) == positions > max_length:
                weights[name] = weight[:max_length].clone()
        save_file(weights, file, metadata={"format": "pt"})
