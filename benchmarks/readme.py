"""Writes the result of the default experiment into README.md, between its two marks.

make experiment && python benchmarks/readme.py
"""

import re

import sections
import workspaces

from decant.core.environment import processor, versions
from decant.core.errors import UserError
from decant.evaluation import report, summary

MARKS = re.compile("(<!-- default -->\n).*(<!-- /default -->)", re.DOTALL)


def main(arguments: list[str]) -> None:
    """Replace the text between the marks."""
    if arguments:
        raise UserError(f"found {' '.join(arguments)}, expected no arguments")
    file = sections.ROOT / "README.md"
    text = "\n".join(result()) + "\n"
    file.write_text(MARKS.sub(lambda match: match[1] + text + match[2], file.read_text("utf-8")), "utf-8")


def result() -> list[str]:
    """The lines of the result in data/."""
    metrics, timings = report.read(sections.ROOT / report.OUT)
    packages = versions("torch", "transformers", "pytorch-lightning")
    rows = workspaces.row_counts(sections.ROOT)["test"]
    return [
        f"The end of `make experiment` (seed 0, one run, {rows} test messages; {processor()}; {packages}):",
        "",
        report.markdown_table(report.columns(metrics), report.rows(metrics, timings)),
        "",
        *(f"- {sentence}" for sentence in summary.sentences(metrics)),
        "",
        "Intervals: paired bootstrap over test messages; they do not include the spread over seeds.",
    ]


if __name__ == "__main__":
    sections.run(main, __doc__)
