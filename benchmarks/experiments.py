"""Quality and cost of whole experiments, written to benchmarks/experiments.md.

DECANT_DATA=<folder> DECANT_WEIGHTS=<folder> python benchmarks/experiments.py <experiment> ... [key=value ...]

An experiment is a file of conf/experiment/; key=value changes it. The five stages of each run in a workspace under
.state/benchmarks/.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import sections
import workspaces

from decant.core.errors import UserError
from decant.evaluation import report, summary


def main(arguments: list[str]) -> None:
    """Run each experiment and write its section."""
    names, overrides = sections.split_arguments(arguments)
    if not names:
        raise UserError("no experiment is named, expected a file of conf/experiment/, such as default")
    for name in names:
        title = sections.title(name, overrides)
        folder, changes = workspaces.workspace(title), workspaces.all_overrides(name, overrides)
        seconds = {stage: workspaces.run_stage(stage, changes, folder) for stage in workspaces.STAGES}
        sections.write("experiments.md", title, section(name, overrides, folder, seconds))


def section(name: str, overrides: Sequence[str], folder: Path, seconds: Mapping[str, float]) -> list[str]:
    """The lines of one experiment: its table, and how it was measured."""
    metrics, timings = report.read(folder / report.OUT)
    seed = workspaces.load(name, overrides).seed
    return [
        f"{workspaces.describe_rows(folder)} Seed {seed}, one run: conf/experiment/{name}.yaml.",
        sections.machine(overrides),
        f"Seconds: {', '.join(f'{stage} {s:.0f}' for stage, s in seconds.items())}.",
        "",
        report.markdown_table(report.columns(metrics), report.rows(metrics, timings)),
        "",
        "Differences with paired bootstrap intervals over the test rows:",
        "",
        *(f"- {sentence}" for sentence in summary.sentences(metrics)),
    ]


if __name__ == "__main__":
    sections.run(main, __doc__)
