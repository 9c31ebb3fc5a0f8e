"""The method behind every kind of number of an analysis, with its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.abtest.domain.covariates import CUPED
from services.abtest.domain.interactions import WELCH_ANOVA
from services.abtest.domain.means import WELCH
from services.abtest.domain.metrics import MetricKind
from services.abtest.domain.model import DecisionMethod
from services.abtest.domain.multiplicity import BENJAMINI_HOCHBERG, HOLM
from services.abtest.domain.novelty import TREND
from services.abtest.domain.planning import POOLED_Z
from services.abtest.domain.posteriors import BETA_BINOMIAL, NORMAL, NORMAL_STRATIFIED
from services.abtest.domain.poststratification import PREFIX
from services.abtest.domain.ratios import DELTA_METHOD
from services.abtest.domain.stratified_rates import COCHRAN, EXACT_STRATIFIED

WILSON, NEWCOMBE, KATZ = "wilson_score", "newcombe_hybrid_score", "katz_log_ratio"
LOG_RATIO_DELTA, STUDENT, FIELLER = "delta_method_log_ratio", "student_t", "fieller"
STRATIFIED_LOG_RATIO, Z_TEST_POWER = "post_stratified_log_ratio", "z_test_power"
SAMPLE_RATIO, SEQUENTIAL_SAMPLE_RATIO = "pearson_goodness_of_fit", "dirichlet_multinomial_bayes_factor"
NON_INFERIORITY = "one_sided_z_of_margin"
WINSORIZED_SUFFIX = "_winsorized"

CITATIONS: Final[Mapping[str, str]] = {
    "pearson_chi_squared": "K. Pearson (1900), Philosophical Magazine 50, 157-175",
    "pearson_chi_squared_yates": "F. Yates (1934), Supplement to the JRSS 1, 217-235",
    "fisher_exact": "R. A. Fisher (1935), JRSS 98, 39-82",
    COCHRAN: "W. G. Cochran (1954), Biometrics 10, 417-451",
    EXACT_STRATIFIED: "A. Agresti (2013), Categorical Data Analysis, 3rd ed., section 7.3.5",
    WELCH: "B. L. Welch (1947), Biometrika 34, 28-35",
    DELTA_METHOD: "A. Deng, U. Knoblich, J. Lu (2018), KDD, 233-242",
    CUPED: "A. Deng, Y. Xu, R. Kohavi, T. Walker (2013), WSDM, 123-132; W. G. Cochran (1957), "
    "Biometrics 13, 261-281",
    WILSON: "E. B. Wilson (1927), JASA 22, 209-212",
    NEWCOMBE: "R. G. Newcombe (1998), Statistics in Medicine 17, 873-890, method 10",
    KATZ: "D. Katz, J. Baptista, S. P. Azen, M. C. Pike (1978), Biometrics 34, 469-474; half a count at zero "
    "cells, S. D. Walter (1975), Biometrika 62, 371-374",
    STRATIFIED_LOG_RATIO: "W. G. Cochran (1954), Biometrics 10, 417-451; N. Mantel, W. Haenszel (1959), JNCI "
    "22, 719-748",
    LOG_RATIO_DELTA: "A. Deng, U. Knoblich, J. Lu (2018), KDD, 233-242, section 3",
    STUDENT: "Student (1908), Biometrika 6, 1-25",
    FIELLER: "E. C. Fieller (1954), JRSS B 16, 175-185",
    HOLM: "S. Holm (1979), Scandinavian Journal of Statistics 6, 65-70",
    BENJAMINI_HOCHBERG: "Y. Benjamini, Y. Hochberg (1995), JRSS B 57, 289-300",
    POOLED_Z: "J. L. Fleiss, B. Levin, M. C. Paik (2003), Statistical Methods for Rates and Proportions, 3rd "
    "ed., chapter 4",
    Z_TEST_POWER: "J. Cohen (1988), Statistical Power Analysis for the Behavioral Sciences, chapter 2",
    SAMPLE_RATIO: "K. Pearson (1900), Philosophical Magazine 50, 157-175; A. Fabijan et al. (2019), KDD, "
    "2156-2164",
    SEQUENTIAL_SAMPLE_RATIO: "M. Lindon, A. Malek (2022), NeurIPS 35",
    WELCH_ANOVA: "B. L. Welch (1951), Biometrika 38, 330-336; W. G. Cochran (1954), Biometrics 10, 101-129",
    TREND: "S. G. Thompson, J. P. T. Higgins (2002), Statistics in Medicine 21, 1559-1573",
    NON_INFERIORITY: "S. Wellek (2010), Testing Statistical Hypotheses of Equivalence and Noninferiority, "
    "2nd ed., chapter 2",
    BETA_BINOMIAL: "T. Bayes (1763), Philosophical Transactions 53, 370-418; C. Stucchio (2015), Bayesian "
    "A/B Testing at VWO",
    NORMAL: "A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 2.5",
    NORMAL_STRATIFIED: "A. Gelman et al. (2013), Bayesian Data Analysis, 3rd ed., section 2.5",
    DecisionMethod.ANYTIME.label: "I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas (2024), "
    "Annals of Statistics 52, 2613-2640",
    DecisionMethod.GROUP_SEQUENTIAL.label: "P. C. O'Brien, T. R. Fleming (1979), Biometrics 35, 549-556; "
    "K. K. G. Lan, D. L. DeMets (1983), Biometrika 70, 659-663",
    DecisionMethod.FIXED_HORIZON.label: "J. Neyman, E. S. Pearson (1933), Philosophical Transactions A 231, "
    "289-337",
}
_STRATIFICATION = (
    "post-stratified: L. W. Miratrix, J. S. Sekhon, B. Yu (2013), JRSS B 75, 369-396; W. G. Cochran (1954), "
    "Biometrics 10, 417-451"
)
_WINSORIZING = "winsorised: J. W. Tukey, D. H. McLaughlin (1963), Sankhya A 25, 331-352"


@dataclass(frozen=True, kw_only=True)
class NumberMethod:
    """How the numbers in `field`, a name on the wire, are found."""

    field: str
    method: str
    citation: str


def cite(method: str) -> str:
    """Return the source of a method, and of post-stratification and winsorising where its name says them.

    >>> cite("post_stratified_welch_t").split("; ")[0]
    'B. L. Welch (1947), Biometrika 34, 28-35'
    """
    if method in CITATIONS:
        return CITATIONS[method]
    if method.startswith(PREFIX):
        return f"{cite(method.removeprefix(PREFIX))}; {_STRATIFICATION}"
    if method.endswith(WINSORIZED_SUFFIX):
        return f"{cite(method.removesuffix(WINSORIZED_SUFFIX))}; {_WINSORIZING}"
    raise KeyError(method)


def _method_of_lift(*, is_rate: bool, is_stratified: bool) -> str:
    if is_stratified:
        return STRATIFIED_LOG_RATIO
    return KATZ if is_rate else LOG_RATIO_DELTA


def list_number_methods(
    kind: MetricKind,
    *,
    decision_method: DecisionMethod,
    test_method: str | None = None,
    posterior_method: str | None = None,
) -> tuple[NumberMethod, ...]:
    """Return the methods of an analysis whose primary metric is of this kind.

    `test_method` gave the p-value and `posterior_method` the posterior; None where there is none.
    """
    is_rate = kind is MetricKind.PROPORTION
    is_stratified = is_rate and test_method in (COCHRAN, EXACT_STRATIFIED)
    difference_method = PREFIX + WELCH if is_stratified else test_method
    methods = {
        "value_interval": WILSON if is_rate else STUDENT if kind is MetricKind.MEAN else DELTA_METHOD,
        "p_value": test_method,
        "absolute_lift_interval": NEWCOMBE if is_rate and not is_stratified else difference_method,
        "relative_lift_interval": _method_of_lift(is_rate=is_rate, is_stratified=is_stratified),
        "stratified_relative_lift_interval": STRATIFIED_LOG_RATIO if is_stratified else None,
        "adjusted_p_value": HOLM,
        "false_discovery_p_value": BENJAMINI_HOCHBERG,
        "anytime_p_value": DecisionMethod.ANYTIME.label,
        "power": POOLED_Z if is_rate else Z_TEST_POWER,
        "non_inferiority_p_value": NON_INFERIORITY,
        "probability_to_beat_control": posterior_method,
        "sample_ratio_p_value": SAMPLE_RATIO,
        "sequential_sample_ratio_p_value": SEQUENTIAL_SAMPLE_RATIO,
        "interaction_p_value": WELCH_ANOVA,
        "trend_p_value": TREND,
        "pre_exposure_checks": WELCH,
        "verdict": decision_method.label,
    }
    return tuple(
        NumberMethod(field=field, method=method, citation=cite(method))
        for field, method in methods.items()
        if method is not None
    )
