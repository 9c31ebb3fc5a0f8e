"""Whether the groups differed before anybody was assigned, and whether pooled numbers mislead."""

from collections.abc import Iterator, Sequence

from services.abtest.domain.contrasts import Sample, amounts_of
from services.abtest.domain.metrics import MetricKind
from services.abtest.domain.model import TestDesign
from services.abtest.domain.outcomes import MetricOutcome, Outcomes
from services.abtest.domain.pre_exposure import PastSample, PreExposureCheck, check_pre_exposure
from services.abtest.domain.samples import CovariateSample, MeanSample, Stratum
from services.abtest.domain.segments import gather_segment, is_in_segment, segment_names
from services.abtest.domain.simpson import compare_pooled_with_strata


def check_past(design: TestDesign, outcomes: Outcomes) -> tuple[PreExposureCheck, ...]:
    """Return the checks of each metric with a covariate; of the primary one by segments too, if known."""
    samples = [
        PastSample(metric=outcome.metric.name, segment=None, epochs=_covariates(outcome))
        for outcome in outcomes.metrics
    ]
    primary = design.metrics[0]
    cells = outcomes.cells or ()
    samples += [
        PastSample(
            metric=primary.name,
            segment=name,
            epochs=_covariates(
                gather_segment(primary, [cell for cell in cells if is_in_segment(cell, name)])
            ),
        )
        for name in segment_names(cells)
    ]
    known = [sample for sample in samples if sample.epochs]
    return check_pre_exposure(
        known, variants=len(design.groups) - 1, confidence_level=design.confidence_level
    )


def warn_of_past(design: TestDesign, checks: Sequence[PreExposureCheck]) -> Iterator[str]:
    """Yield what the reader should know of groups that were not alike."""
    for check in checks:
        if check.warns:
            where = "" if check.segment is None else f" in segment {check.segment or '(none)'}"
            yield (
                f"the users of {design.groups[check.variant].name}{where} differed from control's by "
                f"{check.metric} before they were assigned (adjusted p = {check.adjusted_p_value:.3g}): find "
                "out why before believing any difference since"
            )


def warn_of_reversals(design: TestDesign, outcomes: Outcomes) -> Iterator[str]:
    """Yield where the pooled difference turns around within weight epochs or segments (Simpson's paradox)."""
    primary = outcomes.metrics[0]
    if primary.metric.kind is MetricKind.RATIO:  # whose pooled value is no mean over users
        return
    subjects: list[tuple[str, Sequence[Stratum[Sample]]]] = [("weight epochs", primary.strata)]
    for name in segment_names(outcomes.cells or ()):
        sides = [
            gather_segment(
                primary.metric, [cell for cell in outcomes.cells or () if is_in_segment(cell, name) is inside]
            )
            for inside in (True, False)
        ]
        strata = [Stratum(label=name, groups=side.totals()) for side in sides if side.strata]
        subjects.append((f"segment {name or '(none)'} and outside it", strata))
    # Each is tried, so that a reversal by chance in any of them is as rare as one alone would be.
    level = design.significance_level / (len(subjects) * (len(design.groups) - 1))
    for title, parts in subjects:
        amounts = [
            Stratum(label=stratum.label, groups=tuple(amounts_of(sample) for sample in stratum.groups))
            for stratum in parts
        ]
        for index in range(1, len(design.groups)):
            compared = compare_pooled_with_strata(amounts, index, significance_level=level)
            if compared is not None and compared.reverses:
                pooled = _direction(compared.pooled_difference)
                within = _direction(compared.stratified_difference)
                yield (
                    f"{design.groups[index].name} is {pooled} control over all users, but {within} it within "
                    f"{title} (Simpson's paradox): the groups were mixed differently, and the pooled numbers "
                    "mislead"
                )


def _direction(difference: float) -> str:
    return "above" if difference > 0.0 else "below"


def _covariates(outcome: MetricOutcome) -> list[Stratum[MeanSample]]:
    return [
        Stratum(label=stratum.label, groups=groups)
        for stratum in outcome.strata
        if (
            groups := tuple(
                sample.covariate for sample in stratum.groups if isinstance(sample, CovariateSample)
            )
        )
    ]
