"""What a decision comes to, as tests compare it."""

from services.abtest.domain.verdicts import Decision, Verdict


def outcome(decision: Decision) -> tuple[Verdict, str | None]:
    return decision.verdict, decision.winner
