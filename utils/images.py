"""Every container image that a DAG can run, by name.

A DAG says ``image("bq2sftp")``. Where the image lives, which code it is made of and which tag runs stand here once;
to pin an image, give it a ``tag``.
"""

from __future__ import annotations

from dataclasses import dataclass

from utils.names import did_you_mean

_ARTIFACTS = "us-docker.pkg.dev/moz-fx-data-artifacts-prod"
_EXPERIMENTS = "gcr.io/moz-fx-data-experiments"
_AIRFLOW = "gcr.io/moz-fx-data-airflow-prod-88e0"
_DOCKER_ETL = "https://github.com/mozilla/docker-etl"


@dataclass(frozen=True)
class Image:
    """A container image.

    :param name: what DAGs call it.
    :param repository: registry and path, without tag.
    :param source: URL of the repository of its code. None: not published, or not known.
    :param tag: a tag, or a digest (``sha256:...``). Default: ``latest``.
    """

    name: str
    repository: str
    source: str | None
    tag: str = "latest"

    @property
    def reference(self) -> str:
        """What a pod pulls: ``repository:tag``, or ``repository@sha256:...``."""
        return f"{self.repository}{_separator(self.tag)}{self.tag}"

    @property
    def floats(self) -> bool:
        """Whether the tag names what was pushed last (``latest``, ``prod``), and not a version or a digest."""
        return not any(character.isdigit() for character in self.tag)


def _separator(tag: str) -> str:
    return "@" if tag.startswith("sha256:") else ":"


def _github(name: str) -> str:
    return f"https://github.com/{name}"


def _docker_etl(name: str) -> Image:
    return Image(name, f"{_ARTIFACTS}/docker-etl/{name}", _DOCKER_ETL)


_ALL = (
    # bigquery-etl: queries, checks, copy_deduplicate, backfills
    Image(
        "private-bigquery-etl",
        f"{_ARTIFACTS}/private-bigquery-etl/private-bigquery-etl",
        _github("mozilla/private-bigquery-etl"),
    ),
    Image("bigquery-etl", f"{_ARTIFACTS}/bigquery-etl/bigquery-etl", _github("mozilla/bigquery-etl")),
    # The former home of the public image: imported files of past years name it.
    Image("bigquery-etl-gcr", f"{_AIRFLOW}/bigquery-etl", _github("mozilla/bigquery-etl")),
    # docker-etl: one repository of many jobs
    *map(
        _docker_etl,
        (
            "ads-attribution-dap-collector",
            "ads-incrementality-dap-collector",
            "bq2sftp",
            "broken-site-report-ml",
            "crash-missing-symbols",
            "dap-collector",
            "dap-collector-ppa-dev",
            "dap-collector-ppa-prod",
            "eam-integrations",
            "experiments-monitoring-data-export",
            "extensions",
            "fxci-taskcluster-export",
            "graphics-dashboard",
            "kpi-forecasting",
            "looker-utils",
            "quicksuggest2bq",
            "release_scraping",
            "search-alert",
            "update-orphaning-dashboard",
            "webcompat-kb",
        ),
    ),
    # experimentation
    Image("auto-sizing", f"{_EXPERIMENTS}/auto_sizing", _github("mozilla/auto-sizing")),
    Image("catalyst", f"{_EXPERIMENTS}/catalyst", _github("mozilla/catalyst")),
    Image("jetstream", f"{_EXPERIMENTS}/jetstream", _github("mozilla/jetstream")),
    Image("opmon", f"{_EXPERIMENTS}/opmon", _github("mozilla/opmon")),
    Image("partybal", f"{_EXPERIMENTS}/partybal", _github("mozilla/partybal")),
    # schemas, probes, Looker
    Image(
        "lookml-generator",
        f"{_ARTIFACTS}/lookml-generator/lookml-generator",
        _github("mozilla/lookml-generator"),
    ),
    Image(
        "mozilla-schema-generator",
        f"{_ARTIFACTS}/mozilla-schema-generator/mozilla-schema-generator",
        _github("mozilla/mozilla-schema-generator"),
    ),
    Image("probe-scraper", f"{_ARTIFACTS}/probe-scraper/probe-scraper", _github("mozilla/probe-scraper")),
    # public data
    Image(
        "ensemble-transposer",
        f"{_ARTIFACTS}/ensemble-transposer/ensemble-transposer",
        _github("mozilla/ensemble-transposer"),
    ),
    Image(
        "firefox-public-data-report-etl",
        f"{_ARTIFACTS}/firefox-public-data-report-etl/firefox-public-data-report-etl",
        _github("mozilla/firefox-public-data-report-etl"),
    ),
    # people integrations, kept as they were
    Image("bigquery-queries", f"{_ARTIFACTS}/legacy-images/bigquery-queries", None, tag="prod"),
    Image("data-integrations", f"{_ARTIFACTS}/legacy-images/data-integrations", None, tag="prod"),
    Image(
        "integrations-workday-to-tripactions",
        f"{_ARTIFACTS}/legacy-images/integrations_workday_to_tripactions",
        None,
    ),
    # others
    Image("gke-pod-clean", f"{_AIRFLOW}/gke-pod-clean", None, tag="1.4"),
    Image("google-cloud-sdk", "google/cloud-sdk", _github("GoogleCloudPlatform/cloud-sdk-docker"), tag="552.0.0"),
    Image(
        "google-cloud-sdk-slim",
        "google/cloud-sdk",
        _github("GoogleCloudPlatform/cloud-sdk-docker"),
        tag="552.0.0-slim",
    ),
    Image(
        "mad-server",
        "us-west1-docker.pkg.dev/moz-fx-data-airflow-prod-88e0/data-science-artifacts/mad-server",
        None,
    ),
    Image("merino-py", "mozilla/merino-py", _github("mozilla-services/merino-py")),
    Image("play-store-export", f"{_AIRFLOW}/play-store-export", None),
)

IMAGES: dict[str, Image] = {image.name: image for image in _ALL}
"""Every image, by its name."""


def image(name: str, *, tag: str | None = None) -> str:
    """What a pod pulls for the image of that name: ``repository:tag``.

    :param tag: another tag than the declared one, for a task whose release is set elsewhere:
        ``{{ var.value.some_release }}``. To pin an image, change its declaration.
    :raises ValueError: no image has that name; the message lists the near ones.
    """
    try:
        declared = IMAGES[name]
    except KeyError:
        raise ValueError(
            f"No image is named {name!r}. {did_you_mean(name, IMAGES)} A new one is a line in utils/images.py."
        ) from None
    return declared.reference if tag is None else f"{declared.repository}{_separator(tag)}{tag}"


def image_of(reference: str) -> Image | None:
    """The declared image that a pod's reference is of, whatever its tag; None: it is not declared.

    Of two images of one repository, the one whose tag it is.
    """
    of_repository = [image for image in IMAGES.values() if _repository(reference) == image.repository]
    return next((image for image in of_repository if image.reference == reference), next(iter(of_repository), None))


def _repository(reference: str) -> str:
    head, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def floating() -> dict[str, Image]:
    """The images whose tag floats, by name: what runs in them can change without a change of this repository."""
    return {name: image for name, image in IMAGES.items() if image.floats}


def repositories() -> frozenset[str]:
    """The repositories of all images, without tags. The offline pod server runs these and no other."""
    return frozenset(image.repository for image in IMAGES.values())
