"""Policies of offers between the wire and the domain."""

from collections.abc import Sequence
from math import fsum
from typing import Final

from gen.campaigns.optimizer.v1 import policies_pb2 as pb
from gen.campaigns.type.v1 import range_pb2
from services.common.errors import invalid_field
from services.common.wire import micros_to_money, money_to_micros
from services.optimizer.convert.checks import (
    LONGEST_ID,
    optional_date,
    optional_share,
    optional_text,
    required_id,
)
from services.optimizer.domain.policies.off_policy import CONFIDENCE_METHOD, PolicyEstimate
from services.optimizer.domain.policies.offer_policy import (
    OfferChoice,
    OfferPolicy,
    PolicyObjective,
    PolicyRule,
)
from services.optimizer.operations.policies import PolicyAnswer, PolicyQuestion

MOST_CAMPAIGNS: Final = 50
MOST_RULES: Final = 20
MOST_CHOICES: Final = 20
DEFAULT_OVERLAP: Final = 0.9
_WHOLE: Final = 1e-6


def question_from_proto(request: pb.EvaluateOfferPolicyRequest) -> PolicyQuestion:
    """Return the policy and where to judge it."""
    overlap = request.minimum_overlap if request.HasField("minimum_overlap") else DEFAULT_OVERLAP
    if not 0.0 < overlap <= 1.0:
        raise invalid_field("minimum_overlap", "must be above 0 and at most 1", "VALUE_OUT_OF_RANGE")
    return PolicyQuestion(
        campaign_ids=_campaign_ids(request.campaign_ids),
        policy=OfferPolicy(rules=_rules(request.rules)),
        objective=_objective(request.objective),
        first_day=optional_date(request.start_date, "start_date"),
        last_day=optional_date(request.end_date, "end_date"),
        minimum_overlap=overlap,
        gross_margin_rate=_gross_margin(request),
    )


def _gross_margin(request: pb.EvaluateOfferPolicyRequest) -> float | None:
    rate = request.gross_margin_rate if request.HasField("gross_margin_rate") else None
    return optional_share(rate, "gross_margin_rate")


def _campaign_ids(names: Sequence[str]) -> tuple[str, ...]:
    if not 1 <= len(names) <= MOST_CAMPAIGNS:
        raise invalid_field("campaign_ids", f"must be 1 to {MOST_CAMPAIGNS}", "FIELD_REQUIRED")
    checked = tuple(required_id(name, f"campaign_ids[{place}]") for place, name in enumerate(names))
    if len(set(checked)) < len(checked):
        raise invalid_field("campaign_ids", "must name each campaign once", "FIELDS_CONFLICT")
    return checked


def _objective(text: str) -> PolicyObjective:
    try:
        return PolicyObjective(text or PolicyObjective.PROFIT)
    except ValueError as error:
        words = ", ".join(PolicyObjective)
        raise invalid_field("objective", f"must be one of {words}", "VALUE_UNKNOWN") from error


def _rules(rules: Sequence[pb.OfferPolicyRule]) -> tuple[PolicyRule, ...]:
    if not 1 <= len(rules) <= MOST_RULES:
        raise invalid_field("rules", f"must be 1 to {MOST_RULES}", "FIELD_REQUIRED")
    names = [
        optional_text(rule.segment_name, f"rules[{place}].segment_name", longest=LONGEST_ID)
        for place, rule in enumerate(rules)
    ]
    if names[-1] or "" in names[:-1]:
        raise invalid_field(
            "rules", "the last rule, and no other, must be for everybody (no segment_name)", "FIELDS_CONFLICT"
        )
    if len(set(names)) < len(names):
        raise invalid_field("rules", "must name each segment once", "FIELDS_CONFLICT")
    return tuple(
        PolicyRule(segment_name=name or None, choices=_choices(rule.choices, f"rules[{place}].choices"))
        for place, (name, rule) in enumerate(zip(names, rules, strict=True))
    )


def _choices(choices: Sequence[pb.OfferChoice], field: str) -> tuple[OfferChoice, ...]:
    if not 1 <= len(choices) <= MOST_CHOICES:
        raise invalid_field(field, f"must be 1 to {MOST_CHOICES}", "FIELD_REQUIRED")
    made = tuple(
        OfferChoice(
            offer_micros=_offer(choice, f"{field}[{place}]"),
            probability=_probability(choice, f"{field}[{place}].probability", is_only=len(choices) == 1),
        )
        for place, choice in enumerate(choices)
    )
    if len({choice.offer_micros for choice in made}) < len(made):
        raise invalid_field(field, "must name each offer once", "FIELDS_CONFLICT")
    if abs(fsum(choice.probability for choice in made) - 1.0) > _WHOLE:
        raise invalid_field(field, "must have probabilities that add up to 1", "WEIGHTS_INVALID")
    return made


def _offer(choice: pb.OfferChoice, field: str) -> int:
    if not choice.HasField("offer_amount"):
        raise invalid_field(f"{field}.offer_amount", "is required", "FIELD_REQUIRED")
    micros = money_to_micros(choice.offer_amount, f"{field}.offer_amount")
    if micros < 0:
        raise invalid_field(f"{field}.offer_amount", "must not be negative", "MONEY_OUT_OF_RANGE")
    return micros


def _probability(choice: pb.OfferChoice, field: str, *, is_only: bool) -> float:
    if not choice.HasField("probability"):
        if is_only:
            return 1.0
        raise invalid_field(field, "is required where there are several choices", "FIELD_REQUIRED")
    if not 0.0 < choice.probability <= 1.0:
        raise invalid_field(field, "must be above 0 and at most 1", "VALUE_OUT_OF_RANGE")
    return choice.probability


def answer_to_proto(answer: PolicyAnswer) -> pb.EvaluateOfferPolicyResponse:
    """Return an evaluation."""
    evaluation, value = answer.evaluation, answer.evaluation.value
    return pb.EvaluateOfferPolicyResponse(
        objective=answer.question.objective.value,
        start_date=answer.first_day.isoformat(),
        end_date=answer.last_day.isoformat(),
        logged_deliveries=evaluation.decisions,
        covered_share=evaluation.covered_share,
        deliveries=value.decisions,
        users=value.users,
        effective_sample_size=value.effective_decisions,
        effective_users=value.effective_users,
        mean_weight=value.mean_weight,
        largest_weight=value.largest_weight,
        logged=_estimate_to_proto(value.logged),
        ips=_estimate_to_proto(value.ips),
        snips=_estimate_to_proto(value.snips),
        doubly_robust=_estimate_to_proto(value.doubly_robust),
        improvement=_estimate_to_proto(value.improvement),
        confidence=value.confidence,
        confidence_method="" if value.confidence is None else CONFIDENCE_METHOD,
        logged_offers=[
            pb.LoggedOffer(
                offer_amount=micros_to_money(offer.offer_micros),
                deliveries=offer.decisions,
                mean_propensity=offer.mean_propensity,
            )
            for offer in evaluation.logged_offers
        ],
        warnings=evaluation.warnings,
        margins=[
            pb.PolicyMargin(
                campaign_id=each.campaign_id, gross_margin_rate=each.rate, source=each.source.value
            )
            for each in answer.margins
        ],
    )


def _estimate_to_proto(estimate: PolicyEstimate) -> pb.PolicyEstimate:
    interval = (
        None
        if estimate.lower is None or estimate.upper is None
        else range_pb2.ConfidenceInterval(lower=estimate.lower, upper=estimate.upper)
    )
    return pb.PolicyEstimate(value=estimate.value, standard_error=estimate.standard_error, interval=interval)
