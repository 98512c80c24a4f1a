"""For hypothesis: good files of every format with some of their bytes changed."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from PIL import Image

from support.paths import ROOT

N = range(24)
TEXTS, LABELS = [f"message {i}" for i in N], ["a", "b"] * 12
COLUMNS = {
    "text": pa.array(LABELS),
    "dictionary": pa.array(LABELS).dictionary_encode(),
    "number": pa.array([1, None] * 12),
    "date": pa.array([10**15, 2 * 10**15] * 12, pa.timestamp("us")),
    "day": pa.array([0, 1] * 12, "date32"),
    "list": pa.array([["a"], ["b", "a"]] * 12),
    "struct": pa.array([{"a": 1}, {"a": 2}] * 12),
    "bytes": pa.array([b"a", b"b"] * 12),
}
NOISE = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
ODD = st.sampled_from(
    [b"", b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x80" * 9, b"[" * 2000, b"9" * 5000, b'"', b"\n", b"{"]
)


def parquet(kind: str, compression: str) -> bytes:
    """A table with targets of this kind."""
    file = io.BytesIO()
    pq.write_table(pa.table({"text": TEXTS, "intent": COLUMNS[kind]}), file, compression=compression)
    return file.getvalue()


def picture(form: str, **options: object) -> bytes:
    """An image file."""
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, form, **options)
    return file.getvalue()


ROWS = list(zip(TEXTS, LABELS, strict=True))
TABLES = [
    *(("parquet", parquet(kind, "none")) for kind in COLUMNS),
    *(("parquet", parquet("text", compression)) for compression in ("snappy", "gzip", "zstd")),
    ("csv", b"text,intent\n" + "".join(f"{a},{b}\n" for a, b in ROWS).encode()),
    ("tsv", b"text\tintent\n" + "".join(f"{a}\t{b}\n" for a, b in ROWS).encode()),
    ("jsonl", "".join(json.dumps({"text": a, "intent": b}) + "\n" for a, b in ROWS).encode()),
]
"""Endings and contents."""
IMAGES = [
    *(picture(form) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")),
    *(picture("TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate")),
    picture("JPEG", progressive=True),
    picture("WEBP", lossless=True),
]
DOCUMENTS = [(ROOT / "params.yaml").read_bytes(), (ROOT / "conf/data/reuters.yaml").read_bytes()]
JSON = json.dumps({"labels": ["a", "b"], "splits": {"train": {"rows": 3, "sha256": "00"}}, "size": None}).encode()


@st.composite
def mutated(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with one to four changes: bytes replaced, inserted, removed, repeated, or cut off."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        end = min(start + draw(st.sampled_from([1, 1, 2, 4, 8, 64])), len(content))
        new = draw(st.binary(min_size=end - start, max_size=end - start) | ODD)
        tail = draw(st.sampled_from([content[end:], content[end:], content[start:], content[start:end] * 3, b""]))
        content = content[:start] + new + tail
    return content
