import base64
import io
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from support.model_directories import picture
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    CLIPImageProcessorPil,
    ResNetForImageClassification,
)

from decant.backbone.image import Image
from decant.core.errors import UserError
from decant.preparation.decode import decode
from decant.serving.image_preprocessing import ImagePreprocessor, open_rgb
from decant.serving.pixels import center_square
from decant.serving.predictor import OnnxPredictor, Predictor, sigmoid
from decant.serving.preprocessing import BadInput

TEXTS = [
    "wheres my parcel",
    "",
    "   ",
    "a\tb\nc\x00d\u200d\ufeff",
    "Ärger mit İstanbul, naïve café \U0001f600\U0001f469\u200d\U0001f680",
    "日本語 and 한국어",
    "[CLS] [SEP] [MASK] [PAD]",
    "word " * 1000,
    "x" * 5000,
    "e\u0301 \ufb01 \u00bd ǅ",
]


# --- texts


def test_nothing_of_the_training_code_is_imported() -> None:
    script = (
        "import sys, decant.serving.predictor\n"
        "print(*{'torch', 'transformers', 'mlflow', 'pandas', 'sklearn', 'pyarrow', 'hydra'} & set(sys.modules))\n"
        "print(*sorted(m for m in sys.modules if m.startswith('decant')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    libraries, ours = done.stdout.splitlines()[:2]
    assert libraries == ""
    core = ("", ".errors", ".hashing", ".manifest", ".redaction")
    names = ("image_preprocessing", "limits", "model_formats", "pixels", "predictor", "preprocessing", "settings")
    served = (
        "decant.serving",
        *(f"decant.serving.{name}" for name in (*names, "text_preprocessing", "token_template")),
    )
    assert ours.split() == ["decant", *(f"decant.core{module}" for module in core), *served]


def test_tokens_are_those_of_the_tokenizer_in_transformers(texts: Path) -> None:
    given = OnnxPredictor(texts, "onnx").preprocessor
    draw = np.random.default_rng(0)
    random = ["".join(map(chr, draw.integers(1, 0xD7FF, 30))) for _ in range(200)]
    wanted = AutoTokenizer.from_pretrained(texts)([*TEXTS, *random], truncation=True, padding=True, return_tensors="np")
    found = given.collate(given.encode([*TEXTS, *random]))
    assert set(found) == {"input_ids", "attention_mask"}
    assert found["input_ids"].shape[1] == 48
    for name, array in found.items():
        assert array.dtype == np.int64
        assert np.array_equal(array, wanted[name]), name


def test_tokens_of_pairs_are_those_of_the_tokenizer_in_transformers(pairs: Path) -> None:
    given = OnnxPredictor(pairs).preprocessor
    both = [(a, b) for a in TEXTS for b in TEXTS]
    wanted = AutoTokenizer.from_pretrained(pairs)(
        *map(list, zip(*both, strict=True)), truncation=True, padding=True, return_tensors="np"
    )
    for form in (both, list(map(list, both)), [{"text": a, "text_pair": b} for a, b in both]):
        found = given.collate(given.encode(form))
        assert set(found) == {"input_ids", "attention_mask", "token_type_ids"}
        for name, array in found.items():
            assert np.array_equal(array, wanted[name]), name


def test_logits_are_those_of_pytorch_in_the_order_given(texts: Path) -> None:
    network = AutoModelForSequenceClassification.from_pretrained(texts).eval()
    given = [t for n in range(12) for t in (*TEXTS, "word " * n)]  # several batches, lengths mixed
    tokens = AutoTokenizer.from_pretrained(texts)(given, truncation=True, padding=True, return_tensors="pt")
    with torch.inference_mode():
        wanted = network(**tokens).logits.numpy()
    for size in (1, 7, 32, 1000):
        assert np.allclose(OnnxPredictor(texts, "onnx")(given, size), wanted, atol=1e-4)


def test_no_inputs_have_no_answers(texts: Path) -> None:
    served = OnnxPredictor(texts)
    assert served([]).shape == (0, 3)
    assert served.records(served([]), top_k=2) == []


def test_calls_from_several_threads_do_not_mix(texts: Path) -> None:
    served = OnnxPredictor(texts, "onnx", threads=1)
    calls = [[f"{n} parcels of {n}"] * (n % 5 + 1) for n in range(60)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(served, calls))
    for call, logits in zip(calls, found, strict=True):
        assert np.allclose(logits, served(call), atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", None], r"inputs\[1\] is None \(NoneType\), expected a text$"),
        (["a", "b", 3], r"inputs\[2\] is 3 \(int\), expected a text$"),
        ([b"a"], r"inputs\[0\] is bytes, expected a text$"),
        ([float("nan")], r"inputs\[0\] is nan \(float\)"),
        ([["a", "b"]], r"inputs\[0\] is \['a', 'b'\] \(list\), expected a text$"),
        (["a", "\ud83d"], r"inputs\[1\] is a text with half of a surrogate pair"),
        ([["x" * 5000]], r"inputs\[0\] is \['x{53,55}\.\.\. \(list\)"),
    ],
)
def test_what_is_no_text_is_named_by_its_position(texts: Path, given: list[object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        OnnxPredictor(texts)(given)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("a", r"'a' \(str\)"),
        (("a", "b", "c"), r"\('a', 'b', 'c'\) \(tuple\)"),
        ({"text": "a"}, r"a mapping of 'text' \(str\)"),
        ({"text": "a", "text_pair": None}, r"a mapping of 'text' \(str\), 'text_pair' \(NoneType\)"),
        ({}, "a mapping of nothing"),
    ],
)
def test_what_is_no_pair_is_named(pairs: Path, given: object, found: str) -> None:
    with pytest.raises(BadInput, match=rf"inputs\[1\] is {found}, expected a pair of texts"):
        OnnxPredictor(pairs)([("a", "b"), given])


# --- files


def test_int8_is_preferred_and_another_can_be_chosen(texts: Path) -> None:
    default, int8, full = (OnnxPredictor(texts, name)(TEXTS) for name in (None, "int8", "onnx"))
    assert np.array_equal(default, int8)
    assert not np.array_equal(default, full)


def test_a_folder_without_networks_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds neither of int8/model.onnx, onnx/model.onnx; run dvc repro"):
        OnnxPredictor(tmp_path)


def test_a_format_that_is_not_there_is_named(pairs: Path) -> None:
    with pytest.raises(UserError, match=r"holds no int8/model.onnx; choose among onnx"):
        OnnxPredictor(pairs, "int8")


def test_damaged_files_are_named(texts: Path, tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(b"no network")
    with pytest.raises(UserError, match=r"ONNX Runtime cannot read .*onnx/model.onnx"):
        OnnxPredictor(tmp_path)
    (tmp_path / "onnx/model.onnx").write_bytes((texts / "onnx/model.onnx").read_bytes())
    with pytest.raises(UserError, match=r"config.json cannot be read \(.*; expected a model directory"):
        OnnxPredictor(tmp_path)


# --- answers


def predictor(folder: Path, **config: object) -> Predictor:
    """One that answers by the words of another configuration."""
    made = OnnxPredictor(folder, "onnx")
    made.config = config
    return made


LOGITS = np.array([[0.0, 2.0, 1.0], [3.0, 0.0, -200.0]], np.float32)


def test_one_class_with_its_probability(texts: Path) -> None:
    wanted = torch.from_numpy(LOGITS).softmax(1)
    found = predictor(texts).records(LOGITS)
    assert [r["label"] for r in found] == ["boxes", "bills"]
    assert [r["score"] for r in found] == pytest.approx([float(wanted[0, 1]), float(wanted[1, 0])])
    assert {k for r in found for k in r} == {"label", "score"}


def test_probabilities_of_the_surest_classes_on_request(texts: Path) -> None:
    found = predictor(texts).records(LOGITS, top_k=2)
    assert [list(r["probabilities"]) for r in found] == [["boxes", "beans"], ["bills", "boxes"]]
    assert found[0]["probabilities"]["boxes"] == found[0]["score"]
    whole = predictor(texts).records(LOGITS, top_k=100)[0]["probabilities"]
    assert sum(whole.values()) == pytest.approx(1)


def test_labels_above_the_threshold_the_surest_first(texts: Path) -> None:
    served = predictor(texts, problem_type="multi_label_classification", decision_threshold=0.6)
    found = served.records(LOGITS, top_k=1)
    assert [r["labels"] for r in found] == [["boxes", "beans"], ["bills"]]
    assert found[0]["scores"] == pytest.approx(torch.tensor([2.0, 1.0]).sigmoid().tolist())
    assert list(found[1]["probabilities"]) == ["bills"]
    assert served.records(np.full((1, 3), -9.0, np.float32)) == [{"labels": [], "scores": []}]
    json.dumps(found)


def test_numbers_are_scores_without_classes(texts: Path) -> None:
    served = predictor(texts, problem_type="regression")
    assert served.records(LOGITS[:, :1]) == [{"score": 0.0}, {"score": 3.0}]
    with pytest.raises(UserError, match="top_k is 1, expected 0: a number has no classes"):
        served.records(LOGITS, top_k=1)


def test_a_negative_top_k_is_refused(texts: Path) -> None:
    with pytest.raises(UserError, match="top_k is -1, expected 0 or more"):
        predictor(texts).records(LOGITS, top_k=-1)


def test_far_logits_are_probabilities_of_0_and_1() -> None:
    assert sigmoid(np.array([-1000.0, 0.0, 1000.0], np.float32)).tolist() == [0.0, 0.5, 1.0]


# --- images


@pytest.mark.parametrize(("stored", "seen"), [(20, 32), (32, 32), (48, 32)])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_pixels_are_those_of_prepare_and_of_the_processor_in_transformers(
    form: str, stored: int, seen: int, tmp_path: Path
) -> None:
    processor = Image(architecture="resnet", pretrained=False, resolution=seen, mean=0.4, std=0.2).processor(None)
    processor.stored_size = stored
    processor.save_pretrained(tmp_path)
    given = ImagePreprocessor(tmp_path)
    for height, width in ((90, 60), (stored, stored), (61, 300), (700, 500)):
        content = picture(height, width, form)
        prepared = decode(content, stored)
        assert np.array_equal(np.asarray(center_square(open_rgb(content, stored), stored)), prepared)
        wanted = CLIPImageProcessorPil.from_pretrained(tmp_path)([PIL.Image.fromarray(prepared)], return_tensors="np")
        found = given.collate(given.encode([content]))["pixel_values"]
        assert found.dtype == np.float32
        assert np.abs(found - wanted["pixel_values"]).max() * 0.2 < 0.1 / 255


def modes() -> dict[str, bytes]:
    """Files whose pixels are not plain RGB."""
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (40, 60, 4), dtype=np.uint8)
    turned = PIL.Image.Exif()
    turned[0x112] = 6
    made = {
        "transparent": (PIL.Image.fromarray(noise), {}),
        "grey": (PIL.Image.fromarray(noise[:, :, 0]), {}),
        "16 bits": (PIL.Image.fromarray(draw.integers(0, 65536, (40, 60), dtype=np.uint16)), {}),
        "palette": (PIL.Image.fromarray(noise[:, :, :3]).quantize(16), {}),
        "turned": (PIL.Image.fromarray(noise[:, :, :3]), {"exif": turned}),
    }
    files = {name: io.BytesIO() for name in made}
    for name, (image, how) in made.items():
        image.save(files[name], "PNG", **how)
    return {name: file.getvalue() for name, file in files.items()}


@pytest.mark.parametrize("name", modes())
def test_images_of_any_mode_are_those_of_prepare(name: str) -> None:
    content = modes()[name]
    assert np.array_equal(np.asarray(center_square(open_rgb(content, 20), 20)), decode(content, 20))


def test_an_image_its_file_and_its_base64_have_one_answer(images: Path) -> None:
    content = picture()
    coded = base64.encodebytes(content)
    image = PIL.Image.open(io.BytesIO(content))
    logits = OnnxPredictor(images)([content, coded, coded.decode(), base64.b64encode(content).decode(), image])
    assert np.ptp(logits, axis=0).max() < 1e-6


def test_logits_of_images_are_those_of_pytorch_in_the_order_given(images: Path) -> None:
    network = ResNetForImageClassification.from_pretrained(images).eval()
    files = [picture(height) for height in range(30, 100)]
    squares = [PIL.Image.fromarray(decode(f, 20)) for f in files]
    tensors = CLIPImageProcessorPil.from_pretrained(images)(squares, return_tensors="pt")
    with torch.inference_mode():
        wanted = network(**tensors).logits.numpy()
    assert np.allclose(OnnxPredictor(images)(files), wanted, atol=1e-4)


def animated() -> bytes:
    file = io.BytesIO()
    frames = [PIL.Image.new("RGB", (20, 20), c) for c in ("red", "blue")]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("no base64!", r"no image \(10 bytes\), expected one of JPEG, PNG"),
        ("aGVsbG8=", r"no image \(5 bytes\)"),
        ("", r"no image \(0 bytes\)"),
        ("\ud83d", r"no image \(1 bytes\)"),
        (picture()[:200], r"no image \(200 bytes\)"),
        (None, r"None \(NoneType\), expected an image or the bytes of an image file"),
        ({"text": "a"}, r"a mapping of 'text' \(str\), expected an image"),
        (animated(), "an image with several frames or pages"),
    ],
)
def test_what_is_no_image_is_named_by_its_position(images: Path, given: object, message: str) -> None:
    with pytest.raises(BadInput, match=rf"inputs\[1\] is {message}"):
        OnnxPredictor(images)([picture(), given])
