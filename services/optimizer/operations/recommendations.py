"""What to change in a campaign: made when asked for, kept while nothing changes, decided by people."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from uuid import uuid4

from services.common.database import Connection, Database
from services.common.errors import NotFoundError, invalid_field
from services.optimizer.domain.campaigns import Campaign
from services.optimizer.domain.offers.constraints import Scope
from services.optimizer.domain.recommendations.recommendations import (
    EXPIRES_AFTER,
    OPTIMIZER,
    RESULTS,
    Action,
    Decision,
    Draft,
    Recommendation,
    RecommendationType,
    Status,
    Withheld,
    withhold_repeated,
)
from services.optimizer.domain.recommendations.withholding import withhold_ended
from services.optimizer.operations.days import fetch_reporting_zone
from services.optimizer.operations.lookup import require_campaign
from services.optimizer.operations.recommendation_sources import Asked, RecommendationSources
from services.optimizer.store import campaign_context, models, offer_constraints, verdicts
from services.optimizer.store import recommendations as store

Drafts = Mapping[RecommendationType, Draft | Withheld]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What is recommended for a campaign, the surest first, and what is not, with the reason."""

    campaign_id: str
    recommendations: tuple[Recommendation, ...]
    withheld: tuple[Withheld, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a caller decides about a recommendation; `applied_at` (None: now) is for an application alone."""

    action: Action
    actor: str
    comment: str
    applied_at: datetime | None = None


class RecommendationOperations:
    """Recommends, and keeps what people decide."""

    def __init__(
        self, database: Database, *, sources: RecommendationSources, now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._sources = sources
        self._now = now

    async def recommend(self, campaign_id: str) -> Advice:
        """Return what to change in a campaign, made anew where it no longer stands.

        Raises:
            NotFoundError: CAMPAIGN_UNKNOWN.
        """
        now = self._now()
        async with self._database.transaction(readonly=True) as connection:
            campaign = await require_campaign(connection, campaign_id)
            zone = await fetch_reporting_zone(connection)
            asked = Asked(campaign=campaign, today=now.astimezone(zone).date(), zone=zone)
            inputs_key = await _describe_inputs(connection, campaign, asked.today, now)
            current = await store.list_current(connection, campaign_id)
            known = await verdicts.list_verdicts(connection, campaign_id, inputs_key)
        kinds = [
            kind
            for kind in RecommendationType
            if kind not in current or not current[kind].stands(inputs_key, now)
        ]
        asking = [kind for kind in kinds if kind not in known]
        new = await self._make(asking, asked, now)
        drafts = {kind: known[kind] if kind in known else new[kind] for kind in kinds}
        async with self._database.transaction() as connection:
            await store.lock_recommendations(connection, campaign_id)
            for draft in new.values():
                if isinstance(draft, Withheld) and draft.is_verdict:
                    await verdicts.upsert_verdict(connection, campaign_id, inputs_key, draft, now)
            return await _settle(connection, campaign_id, drafts, inputs_key, now)

    async def _make(self, kinds: Sequence[RecommendationType], asked: Asked, now: datetime) -> Drafts:
        end_at = asked.campaign.end_at
        if end_at is not None and end_at <= now:
            return {kind: withhold_ended(kind, end_at.astimezone(asked.zone)) for kind in kinds}
        made = await asyncio.gather(*(self._sources.draft(kind, asked) for kind in kinds))
        return dict(zip(kinds, made, strict=True))

    async def decide(self, recommendation_id: str, verdict: Verdict) -> Recommendation:
        """Keep a decision; the same once more changes nothing.

        Raises:
            NotFoundError: RECOMMENDATION_UNKNOWN.
            FailedPreconditionError: RECOMMENDATION_CLOSED.
            InvalidArgumentError: apply_time lies before the recommendation or in the future.
        """
        now = self._now()
        async with self._database.transaction() as connection:
            kept = await store.lock_recommendation(connection, recommendation_id)
            if kept is None:
                raise NotFoundError(
                    f"no recommendation {recommendation_id!r}",
                    reason="RECOMMENDATION_UNKNOWN",
                    metadata={"recommendation_id": recommendation_id},
                )
            decided = kept.decided(verdict.action, now)
            if decided is not None:
                kept = replace(decided, applied_at=_applied_at(kept, verdict, now))
                await store.update_status(connection, kept)
                await _note(connection, kept, verdict.action, now, verdict.actor, verdict.comment)
            return replace(kept, decisions=await store.list_decisions(connection, recommendation_id))


def _applied_at(kept: Recommendation, verdict: Verdict, now: datetime) -> datetime | None:
    if verdict.action is not Action.APPLY:
        return None
    applied_at = verdict.applied_at or now
    if not kept.created_at <= applied_at <= now:
        raise invalid_field(
            "apply_time", "must lie between the making of the recommendation and now", "TIME_OUT_OF_RANGE"
        )
    return applied_at


async def _describe_inputs(connection: Connection, campaign: Campaign, today: date, now: datetime) -> str:
    """Return a digest of what recommendations are made from: the day, the model, the catalog, limits.

    Within a day the time tells only whether the campaign is over.
    """
    version = await models.fetch_live_version(connection)
    channel = await campaign_context.fetch_campaign_channel(connection, campaign.campaign_id)
    scopes = [Scope.of_campaign(campaign.campaign_id)]
    if campaign.merchant_id is not None:
        scopes.append(Scope.of_merchant(campaign.merchant_id))
    kept = [await offer_constraints.fetch_offer_constraints(connection, scope) for scope in scopes]
    limits = [None if each is None else each.limits for each in kept]
    described = repr((today.isoformat(), version, campaign, channel, limits, campaign.has_ended(now)))
    return hashlib.sha256(described.encode()).hexdigest()


async def _settle(
    connection: Connection, campaign_id: str, drafts: Drafts, inputs_key: str, now: datetime
) -> Advice:
    """Keep drafts beside what is kept by now, and return what then stands; needs lock_recommendations."""
    current = dict(await store.lock_current(connection, campaign_id))
    closed = await store.list_closed(connection, campaign_id, now)
    withheld: list[Withheld] = []
    for kind, draft in drafts.items():
        kept = current.get(kind)
        if kept is not None and kept.stands(inputs_key, now):  # somebody else was faster
            continue
        if kept is not None and kept.expires_at <= now:
            await _close(connection, current.pop(kind), Action.EXPIRE, now)
            kept = None
        outcome = draft if isinstance(draft, Withheld) else withhold_repeated(draft, closed) or draft
        if isinstance(outcome, Withheld):
            if kept is None or outcome.is_verdict:
                withheld.append(outcome)
            if kept is not None and outcome.is_verdict:
                await _close(connection, current.pop(kind), Action.SUPERSEDE, now)
            continue
        current[kind] = await _keep(connection, campaign_id, kept, outcome, inputs_key, now)
    return Advice(
        campaign_id=campaign_id,
        recommendations=tuple(sorted(current.values(), key=_order)),
        withheld=tuple(withheld),
    )


async def _keep(  # noqa: PLR0917 (what a row is made of)
    connection: Connection,
    campaign_id: str,
    kept: Recommendation | None,
    draft: Draft,
    inputs_key: str,
    now: datetime,
) -> Recommendation:
    """Refresh what says the same, else put a new one in its place."""
    expires_at = now + EXPIRES_AFTER
    if kept is not None and kept.draft.choice == draft.choice:
        refreshed = replace(kept, draft=draft, inputs_key=inputs_key, expires_at=expires_at)
        await store.refresh_recommendation(connection, refreshed, now)
        return refreshed
    if kept is not None:
        await _close(connection, kept, Action.SUPERSEDE, now)
    made = Recommendation(
        recommendation_id=str(uuid4()),
        campaign_id=campaign_id,
        status=Status.OPEN,
        draft=draft,
        inputs_key=inputs_key,
        created_at=now,
        expires_at=expires_at,
    )
    await store.insert_recommendation(connection, made)
    await _note(connection, made, Action.CREATE, now, OPTIMIZER, "")
    return made


async def _close(connection: Connection, kept: Recommendation, action: Action, now: datetime) -> None:
    await store.update_status(connection, replace(kept, status=RESULTS[action], decided_at=now))
    await _note(connection, kept, action, now, OPTIMIZER, "")


async def expire(connection: Connection, recommendation_id: str, now: datetime) -> bool:
    """Let a recommendation expire; returns whether it was still to be decided or applied."""
    kept = await store.lock_recommendation(connection, recommendation_id)
    if kept is None or kept.status not in {Status.OPEN, Status.ACCEPTED} or kept.expires_at > now:
        return False
    await _close(connection, kept, Action.EXPIRE, now)
    return True


async def _note(  # noqa: PLR0917 (what an entry of the log is made of)
    connection: Connection, kept: Recommendation, action: Action, now: datetime, actor: str, comment: str
) -> None:
    decision = Decision(action=action, actor=actor, comment=comment, decided_at=now)
    await store.insert_decision(connection, kept.recommendation_id, decision)


def _order(kept: Recommendation) -> tuple[bool, float, str]:
    confidence = kept.draft.confidence
    return confidence is None, -(confidence or 0.0), kept.draft.type.value
