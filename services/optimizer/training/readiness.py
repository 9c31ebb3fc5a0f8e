"""Whether a training can begin at all, found out before seconds are spent on importing what it needs."""

from datetime import date

from services.common.database import Database
from services.optimizer.domain.features import daily_table
from services.optimizer.domain.training_window import split_by_time, window_before
from services.optimizer.settings import OptimizerSettings
from services.optimizer.store.outcomes import has_views


async def require_any_data(settings: OptimizerSettings, end_day: date) -> None:
    """Raise FailedPreconditionError (DATA_INSUFFICIENT) where nobody viewed anything in the training's days.

    Whether that is enough, the training itself finds out.
    """
    window = window_before(end_day)
    database = await Database.open(settings.database_url, application_name="optimizer-training", max_size=1)
    try:
        async with database.transaction(readonly=True) as connection:
            found = await has_views(connection, window.first_day, window.end_day)
    finally:
        await database.close()
    if not found:
        split_by_time(daily_table(()), window)
