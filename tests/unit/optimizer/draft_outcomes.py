"""What a draft came to: a recommendation, or the reason why there is none."""

from services.optimizer.domain.recommendations.recommendations import Draft, Withheld


def recommended(outcome: Draft | Withheld) -> Draft:
    assert isinstance(outcome, Draft)
    return outcome


def withheld(outcome: Draft | Withheld) -> Withheld:
    assert isinstance(outcome, Withheld)
    return outcome
