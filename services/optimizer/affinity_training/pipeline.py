"""From contacts to a model of visits: the weeks, the fit, its calibration, its report."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from services.common.errors import FailedPreconditionError
from services.optimizer.affinity_training.fit import (
    FIT_WEEKS,
    calibrate,
    fit_terms,
    is_purchase_known,
    look_at_week,
    weekly_shares,
)
from services.optimizer.affinity_training.report import Report, assess
from services.optimizer.affinity_training.response_fit import fit_response
from services.optimizer.affinity_training.similarity_fit import fit_similarities
from services.optimizer.domain.affinity.contacts import Contact, Contacts, gather
from services.optimizer.domain.affinity.features import Merchants, visitor_shares
from services.optimizer.domain.affinity.model import HORIZON_DAYS, AffinityModel
from services.optimizer.domain.affinity.response import UNKNOWN_RESPONSE, Exposures

LEAST_DAYS: Final = 4 * HORIZON_DAYS
"""Two weeks of history, a week to fit on and a week to measure with."""
LEAST_VISITS: Final = 500
LEAST_HELD_OUT_VISITS: Final = 50
"""Of the week that a fit is measured with: fewer could not tell it from its baselines."""
_SEED: Final = 20_261


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A model and what it is worth."""

    model: AffinityModel
    report: Report


def fit_affinity(
    contacts: Contacts,
    merchants: Merchants,
    *,
    version: int,
    today: int,
    user_count: int,
    exposures: Exposures | None = None,
) -> Fitted:
    """Return the model fitted on the whole weeks before `today` (a proleptic ordinal).

    The last week is held out. Similarities and shares are those of all contacts, today's included. Views of
    campaigns (`exposures`), the last week's too, tell how affinity moves conversions; where they do not, the
    prior counts, and the report says so.

    Raises:
        FailedPreconditionError: DATA_INSUFFICIENT.
    """
    redemptions_are_visits = not is_purchase_known(contacts)
    if redemptions_are_visits:
        contacts = contacts.count_redemptions_as_visits()
    _require_enough(contacts, today)
    history = today - int(contacts.day.min())
    weeks = min(FIT_WEEKS, history // HORIZON_DAYS - 3)
    seen = [
        look_at_week(contacts, merchants, today - HORIZON_DAYS * (back + 1), user_count)
        for back in range(weeks, 0, -1)
    ]
    rng = np.random.default_rng(_SEED)
    returning, first = (
        calibrate(fit_terms(seen, returning=kind, rng=rng), seen, returning=kind) for kind in (True, False)
    )
    weekly_share = weekly_shares(seen, user_count)
    held_out = look_at_week(contacts, merchants, today - HORIZON_DAYS, user_count)
    _require_measurable(int(held_out.visited.sum()))
    report = assess(held_out, returning, first, weekly_share)
    response = UNKNOWN_RESPONSE
    if exposures is not None:
        told = [*seen, held_out]
        response = fit_response(exposures, told, merchants, returning=returning, first=first)
    evidence = gather(contacts, today + 1, user_count=user_count, merchant_count=len(merchants))
    model = AffinityModel(
        version=version,
        merchants=merchants,
        visitor_share=visitor_shares(evidence),
        weekly_share=weekly_share,
        similarities=fit_similarities(evidence),
        returning=returning,
        first=first,
        bands=report.bands,
        redemptions_are_visits=redemptions_are_visits,
        response=response,
    )
    return Fitted(model=model, report=replace(report, is_response_measured=response.interval is not None))


def _require_enough(contacts: Contacts, today: int) -> None:
    visits = int(np.sum(contacts.kind == Contact.VISIT))
    days = today - int(contacts.day.min()) if len(contacts) else 0
    missing = []
    if days < LEAST_DAYS:
        missing.append(f"{LEAST_DAYS} days of events (there are {days})")
    if visits < LEAST_VISITS:
        missing.append(f"{LEAST_VISITS} days on which a user bought at a merchant (there are {visits})")
    if missing:
        raise FailedPreconditionError(
            f"users' merchants cannot be learned: {' and '.join(missing)} are needed",
            reason="DATA_INSUFFICIENT",
            metadata={"days": str(days), "visits": str(visits)},
        )


def _require_measurable(visits: int) -> None:
    """Refuse a fit that nothing measures, as while events of past weeks are still being sent."""
    if visits < LEAST_HELD_OUT_VISITS:
        raise FailedPreconditionError(
            f"users' merchants cannot be learned: {LEAST_HELD_OUT_VISITS} visits by known users in the last"
            f" {HORIZON_DAYS} whole days, to measure with, are needed (there are {visits})",
            reason="DATA_INSUFFICIENT",
            metadata={"visits": str(visits)},
        )
