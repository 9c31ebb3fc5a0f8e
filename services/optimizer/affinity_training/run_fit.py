"""Fits a model of users' visits to merchants from the database, keeps it, and scores everybody by it."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final

from services.common.database import Database
from services.common.errors import FailedPreconditionError
from services.optimizer.affinity_training import run
from services.optimizer.affinity_training.pipeline import Fitted, fit_affinity
from services.optimizer.affinity_training.sample import read_sample
from services.optimizer.domain.affinity.tables import places_of
from services.optimizer.store import affinity_models
from services.optimizer.store.affinity_models import AffinityFit

_GO_ON_FOR: Final = timedelta(days=1)
"""How old a fit may be to be gone on with rather than made anew."""


async def run_fit(database: Database, *, now: Callable[[], datetime], on_progress: run.Progress) -> str:
    """Fit, keep, and score everybody if the fit deserves it; return what came out, in one line.

    Requests are answered by the version before until the fit is kept, and live until everybody is scored.
    Where the last fit was cut off while it scored, its scoring is gone on with instead of a new fit.

    Raises:
        FailedPreconditionError: DATA_INSUFFICIENT.
        InternalError: users' contacts met a defect; all others are scored, unless it were too many.
    """
    async with database.transaction() as lock:
        await affinity_models.lock_affinity(lock)
        started = now()
        async with database.transaction(readonly=True) as connection:
            live = await affinity_models.fetch_live(connection)
            zone = await run.reporting_zone(connection)
        if live is not None and live.refreshed_until is None and started - live.fitted_at < _GO_ON_FOR:
            scored = await run.score_by_version(database, live.version, started)
            return f"version {live.version} is live, {scored} after its fit was cut off"
        today = started.astimezone(zone).date()
        on_progress("read_data", 0.0)
        async with database.transaction(isolation="repeatable_read", readonly=True) as reading:
            merchants = await affinity_models.list_merchants(reading)
            if not len(merchants):
                raise FailedPreconditionError("the catalog has no merchants", reason="DATA_INSUFFICIENT")
            places = places_of(merchants)
            sample = await read_sample(
                reading, places, since=run.window_start(started), now=started, zone=zone
            )
            version = await affinity_models.fetch_newest_version(reading) + 1
        on_progress("fit", 0.2)
        fitted = fit_affinity(
            sample.contacts,
            merchants,
            version=version,
            today=today.toordinal(),
            user_count=sample.users,
            exposures=sample.exposures,
        )
        async with database.transaction() as connection:
            await affinity_models.insert_fit(connection, _describe(fitted, started, today))
        if not fitted.report.is_better:
            return f"version {version} is rejected: it {fitted.report.reason}"
        scorer = run.Scorer(database=database, model=fitted.model, zone=zone, now=started)
        scored = await run.score_users(database, scorer, on_progress)
    return f"version {version} is live, {scored}: {fitted.report.reason}"


def _describe(fitted: Fitted, fitted_at: datetime, end_day: date) -> AffinityFit:
    report = fitted.report
    return AffinityFit(
        model=fitted.model,
        is_live=report.is_better,
        reason=report.reason,
        fitted_at=fitted_at,
        end_day=end_day,
        users=report.users,
        visits=report.visits,
        log_loss=report.log_loss,
        frequency_log_loss=report.frequency_log_loss,
        calibration_error=report.calibration_error,
        recall=report.recall,
        frequency_recall=report.frequency_recall,
        popularity_recall=report.popularity_recall,
    )
