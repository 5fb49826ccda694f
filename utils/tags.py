"""The tags that a DAG can carry. Each member is the tag's string: ``Tag.ImpactTier.tier_1 == "impact/tier_1"``.

Triage and routing read these tags, so a tag of these three families that is not listed here is refused
(:mod:`utils.policy`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class Tag:
    """Families of tags, as one name to import."""

    class ImpactTier(StrEnum):
        """How much a failure hurts. Every DAG has exactly one; tier 1 is triaged first."""

        tier_1 = "impact/tier_1"
        tier_2 = "impact/tier_2"
        tier_3 = "impact/tier_3"

    class Triage(StrEnum):
        """How the triage engineer of the day treats a failure."""

        no_triage = "triage/no_triage"
        """Failures are the owner's business alone."""
        record_only = "triage/record_only"
        """Failures are written down, nobody is asked to act."""
        confidential = "triage/confidential"
        """Bugs about it are filed as confidential."""

    class Repo(StrEnum):
        """The repository that the DAG comes from."""

        airflow = "repo/telemetry-airflow"
        bqetl = "repo/bigquery-etl"
        private_bqetl = "repo/private-bigquery-etl"


KNOWN_TAGS: frozenset[str] = frozenset(tag.value for family in (Tag.ImpactTier, Tag.Triage, Tag.Repo) for tag in family)


def impact_tier(tags: Collection[str]) -> str | None:
    """The tier that a DAG's tags name, as ``tier_1``; None: they name none."""
    return next((tier.name for tier in Tag.ImpactTier if tier in tags), None)
