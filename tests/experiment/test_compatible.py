import pytest
from support.experiments import experiment_of
from support.paths import ROOT

from decant.config.compose import experiment_overrides
from decant.core.errors import UserError
from decant.experiment.compatible import check_compatible

IMAGES = ["use.data=digits", *(f"use.{role}=resnet_tiny" for role in ("teacher", "student", "scratch"))]
PAIRS = ["use.data=stsb", "use.task=regress"]
CASES = [
    (
        ["use.data=digits", "use.teacher=vit_small", "use.student=resnet_tiny"],
        "scratch lstm is for text data",
    ),
    (["use.student=vit_small"], "student vit_small is for image data, but data support is text"),
    (["use.student=minilm_siamese_4"], "student minilm_siamese_4 compares two texts, but an input of data support is"),
    ([*PAIRS, "use.student=minilm_siamese_4"], None),
    (["use.data=reuters", "use.task=multilabel", "use.student=minilm_siamese_4"], "an input of data reuters is one"),
    (["use.augment=flip"], "augment flip is for image data, but data support is text"),
    ([*IMAGES, "use.augment=r_drop", "use.task=classify"], None),
    ([*IMAGES, "use.augment=word_swap"], "augment word_swap is for text data, but data digits is image"),
    (["use.task=regress", "use.augment=r_drop"], "augment r_drop compares probabilities over classes, but the task is"),
    (["use.task=multilabel", "use.augment=r_drop"], "augment r_drop compares probabilities over classes"),
    (["distill.dropout=0.0", "use.augment=r_drop"], "augment r_drop compares two passes with different dropout"),
    (["distill.dropout=0.0", "use.augment=r_drop", "use.loss=none"], None),
    (["use.adapt=head", "use.augment=r_drop"], "so it would not see augment r_drop"),
    *[
        (["use.teacher=lstm", f"use.adapt={name}"], f"adapt {name} builds on pretrained weights, but use.teacher lstm")
        for name in ("gradual", "head", "layerwise", "lora", "probe_then_full")
    ],
    (["use.teacher=minilm_scratch", "use.adapt=head", "use.pretrain=masked"], None),
    (["use.teacher=lstm"], None),
    (["use.pretrain=supervised", "use.source=digits_source"], "source digits_source is not text, but data support is"),
    (["use.source=digits_source"], None),
    *[
        ([*PAIRS, "use.teacher=minilm_siamese", f"use.adapt={name}"], message)
        for name, message in [
            ("full", None),
            ("layerwise", None),
            *[(n, f"adapt {n} trains a head on cached features") for n in ("head", "probe_then_full")],
        ]
    ],
    (["use.task=regress", "use.adapt=mlp_head"], "one_logit is for one label of two, but the task is regress"),
    (["use.task=multilabel", "use.adapt=mlp_head"], "one_logit is for one label of two, but the task is multilabel"),
    (["use.task=regress", "distill.label_smoothing=0.1"], "distill.label_smoothing is 0.1, but a number cannot"),
    (["use.task=multilabel", "distill.label_smoothing=0.1"], None),
    *[
        ([f"use.task={task}", f"use.loss={name}"], f"loss {name} compares probabilities over classes")
        for task in ("multilabel", "regress")
        for name in ("dkd", "dist")
    ],
    *[
        ([f"use.task={task}", f"use.loss={name}"], None)
        for task in ("multilabel", "regress")
        for name in ("kd", "mse", "hint", "attention", "relation", "sum")
    ],
    (["use.task=regress", "loss.standardise=true"], "loss kd compares probabilities over classes"),
    (["use.task=regress", "fine_tune.top_k_logits=3"], "fine_tune.top_k_logits is for one class of several"),
    (["fine_tune.folds=3", "use.loss=hint"], "loss hint runs the teacher with the student, but fine_tune.folds is 3"),
    (["fine_tune.seeds=3", "distill.online_teacher=true"], "distill.online_teacher runs the teacher with the student"),
    (["distill.teachers={data/raw/other: '00'}", "use.loss=relation"], "distill.teachers names more"),
    (
        ["distill.teachers={data/raw/other: '00'}"],
        "distill.teachers names data/raw/other, which has no predictions.parquet",
    ),
    (["fine_tune.seeds=3"], None),
    (["use.student=lstm", "use.loss=hint"], "loss hint compares hidden, which student lstm does not give"),
    (["use.teacher=lstm", "use.loss=attention"], "loss attention compares attention, which teacher lstm does not give"),
    (["use.student=cnn", "use.loss=kd"], None),
    ([*PAIRS, "use.teacher=minilm_siamese", "use.loss=hint"], "which teacher minilm_siamese does not give"),
    (["use.adapt=mlp_head", "use.loss=hint"], "which teacher minilm under adapt mlp_head does not give"),
    ([*IMAGES, "distill.vocabulary=used"], "images have none"),
    (
        [*IMAGES, "prepare.augmented_copies=2"],
        "prepare.augmented_copies is for texts, one per row, but data digits are not",
    ),
    (
        [*PAIRS, "prepare.augmented_copies=2"],
        "prepare.augmented_copies is for texts, one per row, but data stsb are not",
    ),
    (["distill.init_from=teacher"], None),
    (["distill.init_from=teacher", "fine_tune.seeds=2"], None),
    (["distill.init_from=teacher", "use.student=lstm"], "teacher minilm and student lstm are not of one origin"),
    (["distill.init_from=teacher", "use.teacher=minilm_4"], "teacher minilm_4 has removed layers itself"),
    (["distill.init_from=teacher", "use.teacher=tiny", "use.student=tiny"], "has no weights"),
    (["distill.init_from=teacher", "use.loss=none", "use.student=lstm"], None),
]


@pytest.mark.parametrize(("overrides", "message"), CASES, ids=[" ".join(overrides) for overrides, _ in CASES])
def test_parts_that_do_not_go_together_are_refused_and_others_are_not(
    overrides: list[str], message: str | None
) -> None:
    loaded = experiment_of(*overrides)
    if message is None:
        check_compatible(loaded)
    else:
        with pytest.raises(UserError) as caught:
            check_compatible(loaded)
        assert message in str(caught.value)


def test_all_problems_are_raised_together() -> None:
    overrides = ["use.augment=flip", "use.adapt=mlp_head", "use.task=regress", "fine_tune.label_smoothing=0.1"]
    with pytest.raises(UserError) as caught:
        check_compatible(experiment_of(*overrides))
    assert len(caught.value.problems) == 4


@pytest.mark.parametrize("name", sorted(f.stem for f in (ROOT / "conf/experiment").glob("*.yaml")))
def test_the_components_of_every_experiment_go_together(name: str) -> None:
    check_compatible(experiment_of(*experiment_overrides(name, ROOT)))
