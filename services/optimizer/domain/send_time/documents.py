"""The profile of everybody's hours and days as a JSON document, and back."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from services.optimizer.domain.send_time.activity import Influence
from services.optimizer.domain.send_time.counts import FloatArray
from services.optimizer.domain.send_time.profile import CycleProfile, SendTimeProfile, ViewShift
from services.optimizer.domain.send_time.send_response import Response
from services.optimizer.domain.send_time.timing_gain import gain_from_document

_DIGITS: Final = 7


def profile_to_document(profile: SendTimeProfile) -> dict[str, Any]:
    """A JSON document that `profile_from_document` reads."""
    return {
        "users": profile.users,
        "hours": _cycle_to_document(profile.hours),
        "days": _cycle_to_document(profile.days),
        "type_share": _to_list(profile.type_share),
        "gain": None if profile.gain is None else profile.gain.to_document(),
        "recurrence": list(profile.recurrence),
        "view_shift": _shift_to_document(profile.view_shift),
    }


def profile_from_document(document: Mapping[str, Any]) -> SendTimeProfile:
    """The profile that was kept."""
    return SendTimeProfile(
        users=document["users"],
        hours=_cycle_from_document(document["hours"]),
        days=_cycle_from_document(document["days"]),
        type_share=np.array(document["type_share"]),
        gain=gain_from_document(document.get("gain")),
        recurrence=tuple(document.get("recurrence", ())),
        view_shift=_shift_from_document(document.get("view_shift")),
    )


def _shift_to_document(shift: ViewShift | None) -> dict[str, Any] | None:
    return None if shift is None else {name: _to_list(array) for name, array in vars(shift).items()}


def _shift_from_document(document: Mapping[str, Any] | None) -> ViewShift | None:
    return None if document is None else ViewShift(**{key: np.array(kept) for key, kept in document.items()})


def _cycle_to_document(profile: CycleProfile) -> dict[str, Any]:
    return {
        "mean": _to_list(profile.mean),
        "covariance": _to_list(profile.covariance),
        "segment_means": {str(key): _to_list(mean) for key, mean in profile.segment_means.items()},
        "views": _response_to_document(profile.views),
        "conversions": _response_to_document(profile.conversions),
    }


def _cycle_from_document(document: Mapping[str, Any]) -> CycleProfile:
    return CycleProfile(
        mean=np.array(document["mean"]),
        covariance=np.array(document["covariance"]),
        segment_means={int(key): np.array(mean) for key, mean in document["segment_means"].items()},
        views=_response_from_document(document["views"]),
        conversions=_response_from_document(document["conversions"]),
    )


def _response_to_document(response: Response | None) -> dict[str, Any] | None:
    if response is None:
        return None
    return {
        "offset": _to_list(response.offset),
        "of_log": response.influence.of_log,
        "of_share": response.influence.of_share,
        "level_variance": response.level_variance,
        "uncertainty": None if response.uncertainty is None else _to_list(response.uncertainty),
    }


def _response_from_document(document: Mapping[str, Any] | None) -> Response | None:
    if document is None:
        return None
    uncertainty = document.get("uncertainty")
    return Response(
        offset=np.array(document["offset"]),
        influence=Influence(of_log=document["of_log"], of_share=document["of_share"]),
        level_variance=document["level_variance"],
        uncertainty=None if uncertainty is None else np.array(uncertainty),
    )


def _to_list(array: FloatArray) -> list[Any]:
    values: list[Any] = np.round(array, _DIGITS).tolist()
    return values
