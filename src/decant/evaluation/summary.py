"""The result in sentences: comparisons with their intervals, how much of the gap is closed, exported files, speed."""

from collections.abc import Iterator

from decant.evaluation.roles import COMPARISONS, EXPORTED, TITLES, Metrics, Timings, comparison, titles

NO_GAP = {
    "none": "gap to close: none, the teacher is not better than the student alone",
    "cannot tell": "gap to close: cannot tell whether the teacher is better than the student alone",
}
SLOWER = 1.1
"""Int8 counts as slower when its median time exceeds this multiple of fp32's; less may be noise."""
RETAINED = ("retained", "retained_low", "retained_high")


def sentences(metrics: Metrics) -> list[str]:
    """All that metrics.json says about differences between models."""
    return [*comparisons(metrics), *gaps(metrics), *exported_files(metrics)]


def comparisons(metrics: Metrics) -> Iterator[str]:
    """Each comparison: difference, interval, verdict, share retained, agreement."""
    for pair in COMPARISONS:
        if (c := metrics["compare"].get(comparison(*pair))) is None:
            continue
        first, second = (titles(metrics)[role] for role in pair)
        agreement = metrics["report"]["agreement_sentence"].format(f"{100 * c['agreement']:.1f}")
        yield (
            f"{first} against {second}: {100 * c['difference']:+.1f} points "
            f"[{100 * c['low']:+.1f}, {100 * c['high']:+.1f}], {verdict(c)} at {100 * c['confidence']:g} %; "
            f"retains {retained(c)} %, {agreement}"
        )


def verdict(compared: Metrics) -> str:
    """Whether the first model is better than the second."""
    return "better" if compared["low"] > 0 else "worse" if compared["high"] < 0 else "cannot tell"


def retained(compared: Metrics) -> str:
    """The share retained, with its interval."""
    share, *interval = ("-" if compared[key] is None else f"{100 * compared[key]:.1f}" for key in RETAINED)
    return f"{share} [{', '.join(interval)}]"


def gaps(metrics: Metrics) -> Iterator[str]:
    """How much of the gap between the student alone and the teacher each student closes."""
    for role in (r for r in titles(metrics) if r in metrics.get("gap", {})):
        gap = metrics["gap"][role]
        if gap["closed"] is None:
            yield NO_GAP[gap["gap"]]
            return
        low, high = ("without bound" if gap[k] is None else f"{100 * gap[k]:.0f}" for k in ("low", "high"))
        yield f"{titles(metrics)[role]} closes {100 * gap['closed']:.0f} % [{low}, {high}] of the gap to the teacher"


def exported_files(metrics: Metrics) -> Iterator[str]:
    """How far the exported files are from the network they were made of, and how small they are."""
    for role in (r for r in EXPORTED if r in metrics):
        yield (
            f"{TITLES[role]}: largest difference of a logit on test {metrics[role]['largest_difference']:.2g}, "
            f"{metrics['teacher']['size_mb'] / metrics[role]['size_mb']:.1f}x smaller than the teacher"
        )


def members(metrics: Metrics) -> list[str]:
    """The members of an ensemble of teachers, if there is one."""
    if not (scores := metrics["teacher"].get("members")):
        return []
    title = dict(metrics["report"]["columns"])[metrics["report"]["primary_metric"]]
    line = f"teacher, {len(scores['scores'])} models: each alone {mean_and_std(scores)} on test"
    if held_out := scores.get("held_out"):
        line += f", {mean_and_std(held_out)} on the part of train it did not see; out-of-fold over all of train "
        line += f"{100 * scores['out_of_fold']:.1f}"
    return [f"{line} (mean ± standard deviation of {title})"]


def mean_and_std(scores: Metrics) -> str:
    """Mean and standard deviation, in percent."""
    return f"{100 * scores['mean']:.1f} ± {100 * scores['std']:.1f}"


def speed(metrics: Metrics, timings: Timings) -> list[str]:
    """How fast the exported files are compared with teacher and student, timed in the same run."""
    p50 = {role: timings[role]["latency_ms_p50"] for role in timings}
    lines = [
        f"{TITLES[role]}: {p50['teacher'] / p50[role]:.1f}x as fast as the teacher, "
        f"{p50['student'] / p50[role]:.1f}x as the student in PyTorch (p50, one input)"
        for role in EXPORTED
        if role in p50
    ]
    if "student_int8" in p50 and p50["student_int8"] > SLOWER * p50["student_onnx"]:
        lines.append("int8 is slower than fp32 on this machine: set export.int8 to false, unless size is what counts")
    return lines
