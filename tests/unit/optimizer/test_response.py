"""The curve before an audience: the g-formula by hand."""

import numpy as np
import pytest

from services.optimizer.domain.models.serving_parameters import ServingParameters, from_document, to_document
from services.optimizer.domain.offers.evidence import EvidenceKind, gather_evidence
from services.optimizer.domain.response.doubly_robust import FalseSlope
from services.optimizer.domain.response.metrics import Conformal
from services.optimizer.domain.response.offer_cells import DrawnOffers
from services.optimizer.domain.response.response import (
    Anchor,
    Audience,
    TypeResponse,
    anchored_rates,
    logistic,
    saturating_terms,
)
from tests.unit.optimizer.examples import MODEL

RESPONSE = TypeResponse(coefficients=np.array([1.0, 2.0, 0.5]), covariance=np.eye(3), slope=0.02)
EFFECTS = np.array([-0.6, 0.4])
LEVEL = -2.0


def rate_before(shares: np.ndarray, offer: float, wider: float = 1.0) -> float:
    """The rate of an audience at an offer, from the equation."""
    terms = offer**4 / (offer**4 + np.array([7.0, 12.0, 19.0]) ** 4)
    logits = LEVEL + wider * EFFECTS + terms @ np.array([1.0, 2.0, 0.5]) + 0.02 * offer
    return float(shares @ (1 / (1 + np.exp(-logits))))


@pytest.mark.parametrize("wider", [1.0, 6.0, 12.0])
def test_rates_are_those_of_the_whole_audience_though_each_offer_met_another(wider: float) -> None:
    """Rates seen before audiences that lean with the offer give back the curve that made them."""
    shares = np.array([0.5, 0.5])
    leaning = np.array([[0.3, 0.7], [0.7, 0.3]])
    offers = np.array([8.0, 20.0])
    seen = np.array([rate_before(own, offer, wider) for own, offer in zip(leaning, offers, strict=True)])
    audience = Audience(effects=wider * EFFECTS, shares=shares, anchor_shares=leaning)
    anchor = Anchor(offers=offers, rates=seen, weights=np.array([2.0, 1.0]), audience=audience)
    asked = np.array([5.0, 12.5, 25.0])
    expected = [rate_before(shares, offer, wider) for offer in asked]
    assert anchored_rates(RESPONSE, asked, anchor) == pytest.approx(expected, rel=1e-6)


def test_an_unknown_audience_is_of_people_all_alike() -> None:
    anchor = Anchor(offers=np.array([10.0]), rates=np.array([0.2]), weights=np.array([1.0]))
    expected = logistic(np.log(0.25) + RESPONSE.effect(np.array([15.0])) - RESPONSE.effect(np.array([10.0])))
    assert anchored_rates(RESPONSE, np.array([15.0]), anchor) == pytest.approx(expected)
    assert anchored_rates(RESPONSE, np.array([10.0]), anchor) == pytest.approx([0.2])


def test_contrasts_are_as_uncertain_as_terms_and_slope() -> None:
    response = TypeResponse(coefficients=np.zeros(3), covariance=np.eye(3) * 0.04, slope_error=0.03)
    terms = saturating_terms(np.array([20.0])) - saturating_terms(np.array([10.0]))
    expected = 0.04 * float(np.sum(terms**2)) + (0.03 * 10.0) ** 2
    assert response.effect_variance(terms, np.array([10.0])) == pytest.approx([expected])


def parameters(drawn: int, false_slope: FalseSlope | None, segments: int = 2) -> ServingParameters:
    kept = MODEL.parameters
    return ServingParameters(
        encoding=kept.encoding,
        response=kept.response,
        support=kept.support,
        conformal=kept.conformal,
        segment_effects={index: 0.1 * index for index in range(segments)},
        drawn_offers={1: DrawnOffers(views=1_000, drawn_views=drawn)},
        false_slope=false_slope,
        paused_conformal=Conformal(model_variance=0.01, quantiles={0.9: 2.0}),
        level_drift=-0.1,
    )


MEASURED = FalseSlope(point_estimate=0.01, standard_error=0.004, views=5_000, campaigns=30)


@pytest.mark.parametrize(
    ("drawn", "measured", "segments", "kind", "says"),
    [
        (0, None, 1, EvidenceKind.OBSERVATIONAL, "between campaigns and days is taken out; what else"),
        (0, None, 2, EvidenceKind.OBSERVATIONAL, "days and the users' segments is taken out; what else"),
        (200, MEASURED, 2, EvidenceKind.MIXED, "what 30 campaigns of all types showed, whose offers"),
        (950, MEASURED, 2, EvidenceKind.RANDOMISED, "offers that were drawn at random"),
    ],
)
def test_evidence_is_called_what_it_is(
    drawn: int, measured: FalseSlope | None, segments: int, kind: EvidenceKind, says: str
) -> None:
    evidence = gather_evidence(1, parameters(drawn, measured, segments))
    assert evidence.kind is kind
    assert evidence.of_type.drawn_views == drawn
    assert says in evidence.caveat


def test_a_type_without_views_is_observed() -> None:
    kept = MODEL.parameters
    assert gather_evidence(1, kept).of_type == DrawnOffers(views=0, drawn_views=0)


def test_all_of_it_survives_its_document() -> None:
    kept = parameters(200, MEASURED)
    again = from_document(to_document(kept))
    assert again.false_slope == MEASURED
    assert again.drawn_offers == kept.drawn_offers
    assert again.segment_effects == kept.segment_effects
    assert again.paused_conformal == kept.paused_conformal
    assert again.level_drift == -0.1
    assert again.response[1].slope_error == kept.response[1].slope_error


def test_a_document_of_an_earlier_version_is_read() -> None:
    document = to_document(MODEL.parameters)
    for name in ("segment_effects", "drawn_offers", "false_slope", "paused_conformal", "level_drift"):
        del document[name]
    del document["response"]["1"]["slope"], document["response"]["1"]["slope_error"]
    again = from_document(document)
    assert again.false_slope is None
    assert again.paused_conformal is None
    assert again.response[1].slope_error == 0.03
