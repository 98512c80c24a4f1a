"""The result of the default experiment, written into README.md between its two marks.

make experiment && python benchmarks/readme.py
"""

import re
from pathlib import Path

from decant.core.environment import processor, versions
from decant.core.files import read_json
from decant.evaluation import report
from decant.evaluation.summary import sentences

ROOT = Path(__file__).parents[1]
MARKS = re.compile("(<!-- default -->\n).*(<!-- /default -->)", re.DOTALL)


def main() -> None:
    """Replace what stands between the marks."""
    metrics, timings = report.read(ROOT / report.OUT)
    packages = versions("torch", "transformers", "pytorch-lightning")
    rows = read_json(ROOT / "data/prepare/card.json")["splits"]["test"]["rows"]
    lines = [
        f"The end of `make experiment` (seed 0, one run, {rows} test messages; {processor()}; {packages}):",
        "",
        report.markdown_table(report.columns(metrics), report.rows(metrics, timings)),
        "",
        *(f"- {line}" for line in sentences(metrics)),
        "",
        "Intervals: paired bootstrap over test messages; the spread over seeds is not in them.",
    ]
    text = (ROOT / "README.md").read_text("utf-8")
    (ROOT / "README.md").write_text(MARKS.sub(lambda m: m[1] + "\n".join(lines) + "\n" + m[2], text), "utf-8")


if __name__ == "__main__":
    main()
