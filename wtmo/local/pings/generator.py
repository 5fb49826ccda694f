"""Sample pings of any size: the same seed and date give the same bytes.

A day's file holds what *arrived* on that day (``submission_timestamp``). That includes

- duplicates: about one ping in twelve is sent again within hours under the same ``document_id``, half of them with another
  payload, so that it can be seen which one was kept (the first to arrive must be);
- duplicates that arrive after midnight, in the next day's file: copies of pings of the day before;
- late pings: about one in twenty tells of a day one to three days before it arrived.

Each day is made from the seed and its own date (and the date before, for what arrives after midnight), so days can be
made in any order. Nine tenths of the clients of a day come from a population that the seed fixes, the rest are new.
"""

from __future__ import annotations

import datetime as dt
import json
import random
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wtmo.errors import WtmoError
from wtmo.local.pings.schemas import RETIRED, SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Row = dict[str, Any]

DUPLICATE_SHARE = 0.08
CHANGED_SHARE = 0.5  # of the duplicates
LATE_SHARE = 0.05
NEW_CLIENT_SHARE = 0.1
MIDNIGHT_SHARE = 0.15  # of the duplicates: sent again so late that it is the next day
DAY = dt.timedelta(days=1)
EPOCH = dt.date(1970, 1, 1)
POPULATION_CREATED = dt.date(2019, 1, 1)  # when the youngest profile of the population was made

PLACES = [
    ("US", "Portland", "OR", "en-US"),
    ("US", "Chicago", "IL", "en-US"),
    ("DE", "Berlin", "BE", "de"),
    ("FR", "Lyon", "ARA", "fr"),
    ("GB", "Leeds", "ENG", "en-GB"),
    ("BR", "Recife", "PE", "pt-BR"),
    ("IN", "Pune", "MH", "en-US"),
    ("JP", "Osaka", "27", "ja"),
    ("CA", "Halifax", "NS", "en-CA"),
]
SYSTEMS = [
    ("Windows", "10.0", "x86_64"),
    ("Windows", "11.0", "x86_64"),
    ("Mac", "23.5.0", "aarch64"),
    ("Linux", "6.8", "x86_64"),
]
CHANNELS = ["release"] * 7 + ["beta", "nightly", "esr"]
VERSIONS = {"release": "139.0.1", "beta": "140.0", "nightly": "141.0a1", "esr": "128.11.0"}
SITES = ["www.example.com", "example.org", "shop.example.net"]
COMPLAINTS = ["The page stays white", "The video does not play", ""]
ENGINES = ["google-b-d", "bing", "ddg"]
EVENT_KINDS = [
    ("navigation", "search", "urlbar", "enter"),
    ("normandy", "enroll", "preference_study", "sample-study"),
    ("security", "unexpectedload", "systemprincipal", None),
    ("fxa", "connect", "account", None),
]


class Dice(random.Random):
    """Random draws that are the same wherever and whenever they are made from the same words."""

    def __init__(self, *words: object) -> None:
        """Seed from the words; Random hashes a text with SHA-512, independently of the process."""
        super().__init__("/".join(map(str, words)))

    def chance(self, share: float) -> bool:
        """True in ``share`` of the draws."""
        return self.random() < share

    def uuid(self) -> str:
        """A version 4 UUID."""
        return str(uuid.UUID(int=self.getrandbits(128), version=4))


@dataclass(frozen=True)
class Client:
    """One profile: what stays the same from ping to ping."""

    client_id: str
    profile_group_id: str
    country: str
    city: str
    subdivision: str
    locale: str
    os: str
    os_version: str
    architecture: str
    channel: str
    created: dt.date
    is_default: bool
    memory: int
    engine: str
    is_new: bool

    @property
    def sample_id(self) -> int:
        """0 to 99, by the client_id."""
        return int(self.client_id[:8], 16) % 100

    @property
    def version(self) -> str:
        """Version of the browser."""
        return VERSIONS[self.channel]


def client_of(seed: int, day: dt.date, number: int) -> Client:
    """The client in place ``number`` of a day: of the population, or one that is new that day."""
    is_new = Dice(seed, day, "place", number).chance(NEW_CLIENT_SHARE)
    dice = Dice(seed, day if is_new else "population", "client", number)
    country, city, subdivision, locale = dice.choice(PLACES)
    system, os_version, architecture = dice.choice(SYSTEMS)
    return Client(
        client_id=dice.uuid(),
        profile_group_id=dice.uuid(),
        country=country,
        city=city,
        subdivision=subdivision,
        locale=locale,
        os=system,
        os_version=os_version,
        architecture=architecture,
        channel=dice.choice(CHANNELS),
        created=day if is_new else POPULATION_CREATED - dice.randrange(2000) * DAY,
        is_default=dice.chance(0.6),
        memory=dice.choice([4096, 8192, 16384, 32768]),
        engine=dice.choice(ENGINES),
        is_new=is_new,
    )


def envelope(client: Client, document_id: str, arrived: dt.datetime, app: str) -> Row:
    """What ingestion adds."""
    name = {"fenix": "Fenix", "core": "Fennec"}.get(app, "Firefox")
    os_name, os_version = (client.os, client.os_version) if name == "Firefox" else ("Android", "14")
    return {
        "submission_timestamp": timestamp(arrived),
        "document_id": document_id,
        "sample_id": client.sample_id,
        "normalized_channel": client.channel,
        "normalized_country_code": client.country,
        "normalized_app_name": name,
        "normalized_os": os_name,
        "normalized_os_version": os_version,
        "metadata": {
            "geo": {"city": client.city, "country": client.country, "subdivision1": client.subdivision},
            "header": {
                "date": arrived.strftime("%a, %d %b %Y %H:%M:%S GMT"),
                "dnt": None,
                "x_debug_id": None,
                "x_lb_tags": "TLSv1.3, 1301",
                "x_source_tags": None,
            },
            "isp": {"name": "Example Net", "organization": "Example Net"},
            "uri": {
                "app_name": name,
                "app_version": client.version,
                "app_build_id": "20260525090000",
                "app_update_channel": client.channel,
            },
            "user_agent": {"browser": "Firefox", "os": os_name, "version": client.version.partition(".")[0]},
        },
    }


def timestamp(moment: dt.datetime) -> str:
    """A TIMESTAMP as BigQuery's JSON load takes it, in UTC, to the microsecond."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def histogram(dice: Dice, top: int) -> str:
    """A histogram as legacy telemetry sends it: JSON in a string."""
    values = {str(2**power): dice.randint(0, 9) for power in range(3)}
    return json.dumps({
        "bucket_count": 5,
        "histogram_type": 0,
        "sum": dice.randint(1, top),
        "range": [1, top],
        "values": values,
    })


def events(dice: Dice, most: int) -> list[Row]:
    """Up to ``most`` events of one process."""
    chosen = [dice.choice(EVENT_KINDS) for _ in range(dice.randint(0, most))]
    return [
        {
            "f0_": dice.randint(100, 5_000_000),
            "f1_": category,
            "f2_": method,
            "f3_": about,
            "f4_": value,
            "f5_": [{"key": "branch", "value": dice.choice(["control", "treatment"])}]
            if category == "normandy"
            else [],
        }
        for category, method, about, value in chosen
    ]


def telemetry(client: Client, document_id: str, arrived: dt.datetime, happened: dt.datetime, kind: str) -> Row:
    """What the pings of legacy telemetry have in common."""
    build = {"architecture": client.architecture, "build_id": "20260525090000", "version": client.version}
    return {
        **envelope(client, document_id, arrived, "firefox"),
        "client_id": client.client_id,
        "profile_group_id": client.profile_group_id,
        "creation_date": timestamp(happened),
        "type": kind,
        "application": {**build, "channel": client.channel, "name": "Firefox"},
        "environment": {
            "build": {**build, "application_name": "Firefox"},
            "experiments": [
                {
                    "key": "sample-experiment",
                    "value": {
                        "branch": "control" if client.sample_id % 2 else "treatment",
                        "enrollment_id": None,
                        "type": "nimbus",
                    },
                }
            ]
            if client.sample_id < 30
            else [],
            "profile": {"creation_date": float((client.created - EPOCH).days)},
            "settings": {
                "attribution": {"source": "www.google.com" if client.is_default else None, "dltoken": None},
                "is_default_browser": client.is_default,
                "locale": client.locale,
            },
            "system": {"is_wow64": False if client.os == "Windows" else None, "memory_mb": float(client.memory)},
        },
    }


def main_ping(client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime) -> Row:
    """``main``, and ``first-shutdown``, which is the same of a new profile."""
    length = dice.randint(30, 14_400)
    started = happened - dt.timedelta(seconds=length)
    begun = started.strftime("%Y-%m-%dT%H:00:00.0+00:00")
    return {
        **telemetry(client, document_id, arrived, happened, "main"),
        "payload": {
            "info": {
                "session_id": dice.uuid(),
                "subsession_id": dice.uuid(),
                "session_start_date": begun,
                "subsession_start_date": begun,
                "reason": dice.choice(["shutdown", "daily", "environment-change"]),
                "profile_subsession_counter": dice.randint(1, 900),
                "session_length": length,
                "subsession_length": length,
            },
            "histograms": {"gc_ms": histogram(dice, 10_000), "memory_total": histogram(dice, 32_000_000)},
            "keyed_histograms": {
                "search_counts": [
                    {"key": f"{client.engine}.urlbar", "value": histogram(dice, 20)} for _ in range(dice.randint(0, 1))
                ]
            },
            "processes": {
                "content": {"events": events(dice, 1)},
                "dynamic": {"events": []},
                "gpu": {"events": []},
                "parent": {
                    "events": events(dice, 3),
                    "scalars": {
                        "browser_engagement_active_ticks": dice.randint(0, length // 5),
                        "browser_engagement_total_uri_count": dice.randint(0, 300),
                    },
                },
            },
        },
    }


def use_counter_ping(client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime) -> Row:
    """``main`` cut down to its use counters."""
    return {
        **telemetry(client, document_id, arrived, happened, "main"),
        "payload": {
            "info": {"session_id": dice.uuid(), "subsession_id": dice.uuid(), "reason": "shutdown"},
            "histograms": {
                "content_documents_destroyed": histogram(dice, 500),
                "use_counter2_css_property_grid_page": histogram(dice, 2),
            },
        },
    }


def event_ping(client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime) -> Row:
    """``event``."""
    started = happened - dt.timedelta(seconds=dice.randint(60, 36_000))
    return {
        **telemetry(client, document_id, arrived, happened, "event"),
        "payload": {
            "session_id": dice.uuid(),
            "subsession_id": dice.uuid(),
            "reason": dice.choice(["periodic", "max", "shutdown"]),
            "process_start_timestamp": int(started.timestamp() * 1000),
            "lost_events_count": 0,
            "events": {
                "content": events(dice, 1),
                "dynamic": events(dice, 1),
                "extension": [],
                "gpu": [],
                "parent": events(dice, 4),
            },
        },
    }


def core_ping(client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime) -> Row:
    """``core``, of the old Firefox for Android."""
    return {
        **envelope(client, document_id, arrived, "core"),
        "client_id": client.client_id,
        "arch": "arm64-v8a",
        "created": str(happened.date()),
        "default_search": client.engine,
        "device": "Google-Pixel 8",
        "locale": client.locale,
        "os": "Android",
        "osversion": "34",
        "durations": dice.randint(1, 4000),
        "profile_date": (client.created - EPOCH).days,
        "seq": dice.randint(1, 900),
        "sessions": dice.randint(1, 9),
        "searches": [
            {"key": f"{client.engine}.actionbar", "value": dice.randint(1, 9)} for _ in range(dice.randint(0, 1))
        ],
    }


def glean(client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime, app: str) -> Row:
    """What Glean's pings have in common."""
    base = envelope(client, document_id, arrived, app)
    started = happened - dt.timedelta(seconds=dice.randint(30, 7200))
    return {
        **base,
        "client_info": {
            "app_build": "20260525090000",
            "app_channel": client.channel,
            "app_display_version": client.version,
            "architecture": client.architecture,
            "client_id": client.client_id,
            "first_run_date": f"{client.created}+00:00",
            "locale": client.locale,
            "os": base["normalized_os"],
            "os_version": base["normalized_os_version"],
            "session_id": dice.uuid(),
            "telemetry_sdk_build": "64.3.1",
        },
        "ping_info": {
            "start_time": started.strftime("%Y-%m-%dT%H:%M+00:00"),
            "end_time": happened.strftime("%Y-%m-%dT%H:%M+00:00"),
            "parsed_start_time": timestamp(started.replace(second=0, microsecond=0)),
            "parsed_end_time": timestamp(happened.replace(second=0, microsecond=0)),
            "reason": dice.choice(["active", "inactive", "dirty_startup"]),
            "seq": dice.randint(0, 5000),
        },
    }


def baseline_ping(
    client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime, app: str = "firefox"
) -> Row:
    """Glean's ``baseline``."""
    duration = dice.randint(1, 3600)
    return {
        **glean(client, dice, document_id, arrived, happened, app),
        "metrics": {
            "counter": {
                "browser_engagement_active_ticks": dice.randint(0, duration // 5),
                "browser_engagement_uri_count": dice.randint(0, 80),
            },
            "datetime": {"glean_baseline_start": timestamp(happened - dt.timedelta(seconds=duration))},
            "timespan": {"glean_baseline_duration": {"value": duration, "time_unit": "second"}},
        },
    }


def fenix_baseline_ping(
    client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime
) -> Row:
    """Glean's ``baseline``, of Firefox for Android."""
    return baseline_ping(client, dice, document_id, arrived, happened, "fenix")


def metrics_ping(client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime) -> Row:
    """Glean's ``metrics``."""
    with_ads = dice.randint(0, 6)
    page_loads = {1 << power: dice.randint(0, 40) for power in range(20, 24)}
    return {
        **glean(client, dice, document_id, arrived, happened, "firefox"),
        "metrics": {
            "boolean": {"browser_is_default": client.is_default},
            "counter": {"cookies_purged": dice.randint(0, 30), "media_playback_count": dice.randint(0, 5)},
            "labeled_counter": {
                "browser_search_withads_urlbar": [{"key": client.engine, "value": with_ads}] if with_ads else [],
                "browser_search_adclicks_urlbar": [{"key": client.engine, "value": with_ads // 2}]
                if with_ads > 1
                else [],
            },
            "quantity": {"system_memory": client.memory},
            "string": {"search_engine_default_engine_id": client.engine},
            "timing_distribution": {
                "performance_page_load": {
                    "sum": sum(bucket * count for bucket, count in page_loads.items()),
                    "values": [{"key": str(bucket), "value": count} for bucket, count in page_loads.items()],
                }
            },
        },
    }


def broken_site_report_ping(
    client: Client, dice: Dice, document_id: str, arrived: dt.datetime, happened: dt.datetime
) -> Row:
    """Glean's ``broken-site-report``; a part of the people write nothing."""
    site = dice.choice(SITES)
    return {
        **glean(client, dice, document_id, arrived, happened, "firefox"),
        "metrics": {
            "text2": {"broken_site_report_description": dice.choice(COMPLAINTS)},
            "url2": {"broken_site_report_url": f"https://{site}/{dice.randrange(1000)}"},
        },
    }


@dataclass(frozen=True)
class Ping:
    """How one table's pings are made.

    :param make: one row, from a client, draws, the document id, the time of arrival and the time it tells of.
    :param most: pings of a client a day, at most.
    :param share: share of the day's clients that send any.
    :param new_only: only new clients send it.
    """

    make: Callable[[Client, Dice, str, dt.datetime, dt.datetime], Row]
    most: int = 1
    share: float = 1.0
    new_only: bool = False


PINGS = {
    "firefox_desktop_live.baseline_v1": Ping(baseline_ping, most=3),
    "firefox_desktop_live.broken_site_report_v1": Ping(broken_site_report_ping, share=0.3),
    "firefox_desktop_live.metrics_v1": Ping(metrics_ping, share=0.9),
    "org_mozilla_fenix_live.baseline_v1": Ping(fenix_baseline_ping, most=2, share=0.3),
    "telemetry_live.core_v10": Ping(core_ping, most=2, share=0.3),
    "telemetry_live.event_v4": Ping(event_ping, share=0.7),
    "telemetry_live.first_shutdown_use_counter_v4": Ping(use_counter_ping, new_only=True),
    "telemetry_live.first_shutdown_v5": Ping(main_ping, new_only=True),
    "telemetry_live.main_use_counter_v4": Ping(use_counter_ping, share=0.9),
    "telemetry_live.main_v5": Ping(main_ping, most=3),
}


def pings(table: str, *, seed: int, day: dt.date, clients: int) -> Iterator[tuple[dt.date, Row]]:
    """The pings first sent on ``day`` with their duplicates: the day of arrival and the row, in no order of time."""
    ping = PINGS[table]
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    for number in range(clients):
        client = client_of(seed, day, number)
        dice = Dice(seed, day, table, number)
        if not dice.chance(ping.share) or (ping.new_only and not client.is_new):
            continue
        for _ in range(dice.randint(1, ping.most)):
            arrived = midnight + dt.timedelta(microseconds=dice.randrange(DAY // dt.timedelta(microseconds=1)))
            happened = arrived - dt.timedelta(minutes=dice.randint(1, 30))
            if dice.chance(LATE_SHARE):
                happened -= dice.randint(1, 3) * DAY
            document_id, payload = dice.uuid(), dice.getrandbits(64)
            yield day, ping.make(client, Dice(payload), document_id, arrived, happened)
            if dice.chance(DUPLICATE_SHARE):
                again = _sent_again(dice, arrived, midnight + DAY)
                payload += dice.chance(CHANGED_SHARE)
                yield again.date(), ping.make(client, Dice(payload), document_id, again, happened)


def _sent_again(dice: Dice, arrived: dt.datetime, midnight: dt.datetime) -> dt.datetime:
    """When a duplicate arrives: later the same day, or in the first hours of the next."""
    if dice.chance(MIDNIGHT_SHARE):
        return midnight + dt.timedelta(microseconds=dice.randrange(3 * 3600 * 10**6))
    left = (midnight - arrived) // dt.timedelta(microseconds=1)
    return arrived + dt.timedelta(microseconds=dice.randrange(1, left)) if left > 1 else arrived


def generate(folder: Path, *, date: dt.date, clients: int, seed: int) -> dict[str, int]:
    """Write a seeds folder with the pings that arrived on one day.

    Rows are written as they are made, so memory does not grow with ``clients``. A file of another day that is there is
    replaced; use a folder a day to keep several.

    :param folder: made when it does not exist.
    :param date: the day, in UTC.
    :param clients: clients that send anything on a day, 1 or more. Each sends about ten pings.
    :param seed: fixes the population and everything else.
    :returns: rows by table, ``dataset.table``.
    :raises WtmoError: the folder can't be written, or clients is below 1.
    """
    if clients < 1:
        raise WtmoError(f"{clients} clients: at least 1 is needed")
    written = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for table, schema in (SCHEMAS | RETIRED).items():
            (folder / f"{table}.schema.json").write_text(json.dumps(schema, indent=1) + "\n")
        for table in SCHEMAS:
            with (folder / f"{table}.ndjson").open("w") as file:
                written[table] = 0
                for day in (date - DAY, date):
                    for arrival, row in pings(table, seed=seed, day=day, clients=clients):
                        if arrival == date:
                            file.write(json.dumps(row, separators=(",", ":")) + "\n")
                            written[table] += 1
    except OSError as error:
        raise WtmoError(
            f"Can't write pings to {folder}: {error.strerror}", fix="Name a folder that you can write."
        ) from error
    return written
