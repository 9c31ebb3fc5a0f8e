"""Statements of what offers must keep."""

from services.optimizer.domain.offers.constraints import KeptLimits, OfferLimits, Scope
from services.optimizer.store.statements import STATEMENTS, Connection


async def fetch_offer_constraints(connection: Connection, scope: Scope) -> KeptLimits | None:
    """Return the limits of a scope, None where none were ever set."""
    row = await connection.fetchrow(STATEMENTS["fetch_offer_constraints"].sql, scope.kind.value, scope.name)
    if row is None:
        return None
    return KeptLimits(
        scope=scope,
        limits=OfferLimits(
            maximum_offer_micros=row["maximum_offer_micros"],
            minimum_profit_margin=row["minimum_profit_margin"],
            daily_budget_micros=row["daily_budget_micros"],
        ),
        actor=row["actor"],
        comment=row["comment"],
        updated_at=row["updated_at"],
    )


async def lock_offer_constraints(connection: Connection, scope: Scope) -> None:
    """Wait until the limits of a scope are this transaction's to change, also where none are set."""
    await connection.execute(STATEMENTS["lock_offer_constraints"].sql, f"{scope.kind.value}/{scope.name}")


async def upsert_offer_constraints(connection: Connection, kept: KeptLimits) -> None:
    """Set the limits of a scope."""
    await connection.execute(
        STATEMENTS["upsert_offer_constraints"].sql,
        kept.scope.kind.value,
        kept.scope.name,
        kept.limits.maximum_offer_micros,
        kept.limits.minimum_profit_margin,
        kept.limits.daily_budget_micros,
        kept.actor,
        kept.comment,
        kept.updated_at,
    )
