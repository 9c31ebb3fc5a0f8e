"""Rows as they are stored, to the arrays of affinity and back."""

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from services.optimizer.domain.affinity.contacts import Contacts, FloatArray, IntArray
from services.optimizer.domain.affinity.documents import AffinityParameters
from services.optimizer.domain.affinity.features import Merchants
from services.optimizer.domain.affinity.model import AffinityModel
from services.optimizer.domain.affinity.response import Exposures
from services.optimizer.domain.affinity.similarity import Similarities

ContactRow = tuple[int, int, int, date]
"""Place of the user in the caller's list, merchant_id, kind, day."""
ExposureRow = tuple[int, str, int, int, date, int, int]
"""Place of the user in the caller's list, campaign_id, merchant_id, offer_micros, day, views, conversions."""
MerchantRow = tuple[int, str, str, float | None, float | None]
"""merchant_id, name and category (empty: unknown), latitude, longitude."""
SimilarityRow = tuple[int, int, float]
"""merchant_id, neighbour_id, similarity."""
SimilarityColumns = tuple[IntArray, IntArray, FloatArray]
"""The same by column."""


def contacts_of(rows: Sequence[ContactRow], places: Mapping[int, int]) -> Contacts:
    """Return the contacts with merchants that have a place."""
    known = [
        (user, places[merchant], kind, day.toordinal())
        for user, merchant, kind, day in rows
        if merchant in places
    ]
    columns = np.array(known, dtype=np.int64).reshape(-1, 4)
    return Contacts(user=columns[:, 0], merchant=columns[:, 1], kind=columns[:, 2], day=columns[:, 3])


def exposures_of(rows: Sequence[ExposureRow], places: Mapping[int, int]) -> Exposures:
    """Return the views of campaigns of merchants that have a place; conversions are at most as many."""
    strata: dict[tuple[str, int], int] = {}
    known = [
        (
            *(user, places[merchant], strata.setdefault((campaign_id, offer), len(strata))),
            *(day.toordinal(), views, min(conversions, views)),
        )
        for user, campaign_id, merchant, offer, day, views, conversions in rows
        if merchant in places
    ]
    columns = np.array(known, dtype=np.int64).reshape(-1, 6).T
    user, merchant, stratum, day, views, conversions = columns
    return Exposures(
        user=user, merchant=merchant, stratum=stratum, day=day, views=views, conversions=conversions
    )


def merchants_of(rows: Sequence[MerchantRow]) -> Merchants:
    """Return merchants; rows by ascending id."""
    categories = tuple(sorted({row[2] for row in rows if row[2]}))
    places = {category: place for place, category in enumerate(categories)}
    return Merchants(
        ids=np.array([row[0] for row in rows], dtype=np.int64),
        names=tuple(row[1] for row in rows),
        categories=categories,
        category=np.array([places.get(row[2], -1) for row in rows], dtype=np.int64),
        latitude=_degrees([row[3] for row in rows]),
        longitude=_degrees([row[4] for row in rows]),
    )


def places_of(merchants: Merchants) -> dict[int, int]:
    """Return where each merchant id stands."""
    return {merchant_id: place for place, merchant_id in enumerate(merchants.ids.tolist())}


def model_of(
    version: int,
    parameters: AffinityParameters,
    merchants: Sequence[MerchantRow],
    shares: Sequence[tuple[float, float]],
    similarities: SimilarityColumns,
) -> AffinityModel:
    """Return a model; `shares` are the visitor share and the weekly share of each of the merchants."""
    known = merchants_of(merchants)
    merchant, neighbour, similarity = similarities
    return AffinityModel(
        version=version,
        merchants=known,
        visitor_share=np.array([visitor for visitor, _ in shares], dtype=np.float64),
        weekly_share=np.array([weekly for _, weekly in shares], dtype=np.float64),
        similarities=Similarities(
            merchant_count=len(known),
            merchant=np.searchsorted(known.ids, merchant),
            neighbour=np.searchsorted(known.ids, neighbour),
            similarity=similarity,
        ),
        returning=parameters.returning,
        first=parameters.first,
        bands=parameters.bands,
        redemptions_are_visits=parameters.redemptions_are_visits,
        response=parameters.response,
    )


def unpack_similarities(merchants: bytes, neighbours: bytes, similarities: bytes) -> SimilarityColumns:
    """Return columns of numbers from their bytes, as the database sends integers and doubles."""
    return (
        np.frombuffer(merchants, dtype=">i4").astype(np.int64),
        np.frombuffer(neighbours, dtype=">i4").astype(np.int64),
        np.frombuffer(similarities, dtype=">f8").astype(np.float64),
    )


def similarity_rows(model: AffinityModel) -> list[SimilarityRow]:
    """Return the similarities of a model by merchant ids."""
    ids, similar = model.merchants.ids, model.similarities
    columns = (ids[similar.merchant], ids[similar.neighbour], similar.similarity)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _degrees(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
