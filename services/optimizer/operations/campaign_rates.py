"""Active campaigns' conversion rates at their own offers, which are the same for all users: kept a minute."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, takewhile
from typing import Final, TypeAlias

import numpy as np

from services.common.database import Database
from services.common.errors import DomainError, error_from_json, error_to_json
from services.optimizer.domain.features import FloatArray
from services.optimizer.domain.models.version import CONVERSION_MODEL, ModelVersion
from services.optimizer.domain.offers.answer import ExpectedRate
from services.optimizer.domain.recommendations.campaign_choice import (
    MOST_ROWS,
    ActiveCampaign,
    choice_features,
    expect_rates,
    within_batch,
)
from services.optimizer.model_client import ModelClient
from services.optimizer.operations.campaign_cases import load_cases

KEPT_SECONDS: Final = 60.0
MOST_KEPT: Final = 50_000
Key: TypeAlias = tuple[int, date, ActiveCampaign]
"""A version, a day, and a campaign as the catalog has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptRate:
    """A campaign's rate, and the rows of an inference that it took."""

    rate: ExpectedRate
    rows: int


class CampaignRates:
    """Tells campaigns' rates by a version of the model; of a campaign that is asked for again, the kept one.

    Whoever asks, a campaign costs the same half a millisecond of arithmetic; with hundreds of them that is
    most of a request.

    Args:
        database: where campaigns' counts are.
        models: what predicts.
        kept: keeps rates, and forgets them after a while.
    """

    def __init__(
        self, database: Database, models: ModelClient, *, kept: MutableMapping[Key, KeptRate]
    ) -> None:
        self._database = database
        self._models = models
        self._kept = kept
        self._computing = asyncio.Lock()
        self._failure: DomainError | None = None

    async def fetch(
        self, campaigns: Sequence[ActiveCampaign], model: ModelVersion, today: date
    ) -> list[ExpectedRate]:
        """Return the rates of the first of `campaigns`: of as many as the model server takes at once.

        Raises:
            UnavailableError: the database or the model server does not answer.
        """
        keys = [(model.version, today, campaign) for campaign in campaigns]
        found = self._find(keys)
        if len(found) < len(keys):
            async with self._turn():  # who comes meanwhile finds what is computed now
                found = self._find(keys)
                found |= await self._compute([key for key in keys if key not in found], model)
        known = [found[key] for key in takewhile(found.__contains__, keys)]
        rows = accumulate(kept.rows for kept in known)  # the same campaigns as if none had been kept
        return [kept.rate for kept, together in zip(known, rows, strict=True) if together <= MOST_ROWS]

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Compute one after the other; who waited while that failed fails with it.

        Each would otherwise wait for all before it: for a server that does not answer, longer and longer.
        """
        before = self._failure
        async with self._computing:
            if self._failure is not None and self._failure is not before:
                raise error_from_json(error_to_json(self._failure))
            try:
                yield
            except DomainError as error:
                self._failure = error
                raise

    def _find(self, keys: Sequence[Key]) -> dict[Key, KeptRate]:
        found = {key: self._kept.get(key) for key in keys}
        return {key: kept for key, kept in found.items() if kept is not None}

    async def _compute(self, keys: Sequence[Key], model: ModelVersion) -> dict[Key, KeptRate]:
        """Compute and keep the rates of the first of `keys`, in one inference."""
        if not keys:
            return {}
        campaigns = [campaign for _, _, campaign in keys]
        async with self._database.transaction(readonly=True) as connection:
            known = [campaign.in_catalog for campaign in campaigns]
            cases = await load_cases(connection, known, model, keys[0][1])
        most = within_batch(cases)
        cases = cases[:most]
        features = choice_features(cases, model.parameters)
        predicted: FloatArray = np.empty(0)
        if len(features):
            predicted = await self._models.infer(CONVERSION_MODEL, model.version, features)
        rates = expect_rates(campaigns[:most], cases, predicted, model.parameters)
        computed = {
            key: KeptRate(rate=rate, rows=case.forest_rows)
            for key, rate, case in zip(keys, rates, cases, strict=False)
        }
        self._kept.update(computed)
        return computed
