"""The simulated world as the send times' domain sees it: counts by local hour and weekday, no database."""

from dataclasses import dataclass, fields, replace
from datetime import date
from typing import Self

import numpy as np
from numpy.typing import NDArray

from examples.simulated_world.columns import EventColumns, Kind
from examples.simulated_world.events import generate_days
from examples.simulated_world.world import World
from services.optimizer.domain.send_time.counts import (
    HOURS,
    TYPES,
    WEEKDAYS,
    CycleCounts,
    FloatArray,
    History,
    Sendings,
)
from services.optimizer.domain.send_time.profile import fit_profile
from services.optimizer.domain.send_time.send_time import QuietHours, SendTime, recommend
from services.optimizer.domain.send_time.view_calibration import calibrate_views


@dataclass(frozen=True, kw_only=True)
class CountedWorld:
    """A world's events, counted for every user; `segment_set_ids` are the users' lifecycles."""

    world: World
    history: History
    sendings: Sendings
    segment_set_ids: list[int | None]

    def only(self, users: NDArray[np.intp]) -> Self:
        """The users at the positions, numbered anew."""
        of_them = np.isin(self.sendings.user, users)
        columns = {field.name: getattr(self.sendings, field.name)[of_them] for field in fields(Sendings)}
        return replace(
            self,
            history=self.history.take(users),
            sendings=Sendings(**{**columns, "user": np.searchsorted(users, columns["user"])}),
            segment_set_ids=[self.segment_set_ids[user] for user in users],
        )

    @classmethod
    def build(cls, seed: int, end_date: date) -> Self:
        """Generate the world's 90 days and count them."""
        world = World.build(seed=seed, end_date=end_date)
        users = len(world.users.city)
        acts, day_acts = np.zeros((users, HOURS)), np.zeros((users, WEEKDAYS))
        sent: list[tuple[NDArray[np.int64], ...]] = []
        for columns in generate_days(world):
            hour = world.local_hours(columns)
            bought = columns.kind == Kind.PURCHASED
            once = np.unique(np.stack([columns.user[bought], hour[bought]], axis=1), axis=0)
            np.add.at(acts, (once[:, 0], once[:, 1]), 1.0)
            np.add.at(day_acts[:, world.weekdays[columns.day[0]]], once[:, 0], 1.0)
            sent.append(_deliveries(columns, hour))
        user, campaign, day, hour, viewed, converted = (
            np.concatenate(parts) for parts in zip(*sent, strict=True)
        )
        kind = world.campaigns.campaign_type[campaign] + 1
        weekday = world.weekdays[day]
        ones = np.ones(len(user))
        answers = (ones, viewed.astype(np.float64), converted.astype(np.float64))
        return cls(
            world=world,
            history=History(
                user_ids=tuple(str(index) for index in range(users)),
                hours=_counts(acts, user, kind, hour, answers),
                days=_counts(day_acts, user, kind, weekday, answers),
            ),
            sendings=Sendings(
                user=user.astype(np.intp),
                campaign=campaign.astype(np.intp),
                campaign_type=kind.astype(np.intp),
                weekday=weekday.astype(np.intp),
                hour=hour.astype(np.intp),
                deliveries=ones,
                views=answers[1],
                conversions=answers[2],
            ),
            segment_set_ids=world.users.lifecycle.tolist(),
        )

    def recommend(self, quiet: QuietHours) -> list[SendTime]:
        """Fit the profile to 500 users, and recommend for all."""
        sample = np.linspace(0, len(self.history.user_ids) - 1, 500).astype(np.intp)
        of_sample = self.only(sample)
        told = of_sample.history, of_sample.sendings, of_sample.segment_set_ids
        profile = fit_profile(*told)
        profile = replace(profile, view_shift=calibrate_views(profile, *told))
        return recommend(profile, self.history, self.segment_set_ids, campaign_type=0, quiet=quiet)


def _deliveries(columns: EventColumns, hour: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    """User, campaign, day and hour of a day's deliveries, and whether each was viewed and converted."""
    sent = columns.kind == Kind.DELIVERED
    answered = []
    for kind in (Kind.VIEWED, Kind.CONVERTED):
        rows = columns.row[columns.kind == kind]
        answered.append(np.isin(columns.row[sent], rows).astype(np.int64))
    return (columns.user[sent], columns.campaign[sent], columns.day[sent], hour[sent], *answered)


def _counts(
    acts: FloatArray,
    user: NDArray[np.int64],
    kind: NDArray[np.intp],
    cell: NDArray[np.int64],
    answers: tuple[FloatArray, ...],
) -> CycleCounts:
    sums = np.zeros((3, len(acts), TYPES, acts.shape[1]))
    for total, answer in zip(sums, answers, strict=True):
        np.add.at(total, (user, kind, cell), answer)
    return CycleCounts(acts=acts, deliveries=sums[0], views=sums[1], conversions=sums[2])
