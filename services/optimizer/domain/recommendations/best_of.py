"""How sure the best looking of several choices is.

The likeliest of n choices is no likelier for having been picked. Bonferroni's inequality allows for that:
with a probability p by itself, the best of n is better with at least 1 - n (1 - p). Where p is small that
bound says nothing, not even that the choice is worse: so it is told only where it passes, and p itself with
what it would need to be (1 - (1 - asked) / n) where it does not.
"""

from services.optimizer.domain.segments.segments import claimable


def at_least(probability: float, compared: int) -> float:
    """Return what a probability by itself is at least, allowing for having picked the best of several."""
    return claimable(1.0 - compared * (1.0 - probability))


def needed_alone(asked: float, compared: int) -> float:
    """Return the probability by itself at which `at_least` reaches what is asked."""
    return 1.0 - (1.0 - asked) / compared


def say_allowance(compared: int, what: str, figure: str = "The confidence") -> str:
    """Return what a confidence allows for, in words."""
    if compared == 1:
        return ""
    return f" {figure} allows for {compared} {what} compared (Bonferroni): the probability is at least that."
