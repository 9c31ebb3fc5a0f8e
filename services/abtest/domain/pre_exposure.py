"""Were the groups alike before anybody was exposed? If not, they were not drawn at random.

A mismatch in sizes is found by `sample_ratio`; this finds groups of the right size with the wrong users, in
total or in a segment only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from services.abtest.domain.estimates import Effect
from services.abtest.domain.means import WELCH, estimate_mean
from services.abtest.domain.multiplicity import adjust_by_holm
from services.abtest.domain.poststratification import compare_strata
from services.abtest.domain.samples import MeanSample, Stratum

WARNING_BELOW = 0.01
"""An adjusted p-value under this is worth a warning; looked at often, it is wrong more often than 1 %."""


@dataclass(frozen=True, kw_only=True)
class PastSample:
    """What a metric was before assignment, in each weight epoch.

    `segment` is None for all users. Segments may overlap.
    """

    metric: str
    segment: str | None
    epochs: Sequence[Stratum[MeanSample]]


@dataclass(frozen=True, kw_only=True)
class PreExposureCheck:
    """A variant's users compared with control's by what they did before their assignment.

    `adjusted_p_value` is adjusted by Holm over all checks made together; None where nothing varied.
    """

    metric: str
    segment: str | None
    variant: int
    effect: Effect
    adjusted_p_value: float | None

    @property
    def warns(self) -> bool:
        """Whether the groups were not alike."""
        return self.adjusted_p_value is not None and self.adjusted_p_value < WARNING_BELOW


def check_pre_exposure(
    past: Sequence[PastSample], *, variants: int, confidence_level: float
) -> tuple[PreExposureCheck, ...]:
    """Return the check of every variant (groups 1 to `variants`) on every sample, in the samples' order.

    Each is Welch's comparison, post-stratified over weight epochs.

    Source: A. Fabijan et al. (2019), KDD, 2156-2164 (segments searched for where a test went wrong).
    """
    subjects = [(sample, variant) for sample in past for variant in range(1, variants + 1)]
    effects = [_compare(sample, variant, confidence_level) for sample, variant in subjects]
    adjusted = adjust_by_holm([effect.test.p_value if effect.test else None for effect in effects])
    return tuple(
        PreExposureCheck(
            metric=sample.metric,
            segment=sample.segment,
            variant=variant,
            effect=effect,
            adjusted_p_value=p_value,
        )
        for (sample, variant), effect, p_value in zip(subjects, effects, adjusted, strict=True)
    )


def _compare(sample: PastSample, variant: int, confidence_level: float) -> Effect:
    epochs = [
        Stratum(label=epoch.label, groups=tuple(estimate_mean(group) for group in epoch.groups))
        for epoch in sample.epochs
    ]
    return compare_strata(epochs, variant, confidence_level=confidence_level, method=WELCH)
