"""Schemas of the sample pings: a small part of the true ones, with their names, nesting and types."""

from __future__ import annotations

from typing import Any

Field = dict[str, Any]


def field(name: str, kind: str, description: str = "") -> Field:
    """A nullable column."""
    described = {"description": description} if description else {}
    return {"name": name, "type": kind, "mode": "NULLABLE", **described}


def strings(*names: str) -> list[Field]:
    """Nullable STRING columns."""
    return [field(name, "STRING") for name in names]


def record(name: str, *fields: Field, repeated: bool = False) -> Field:
    """A RECORD of these fields, or an array of it."""
    return {"name": name, "type": "RECORD", "mode": "REPEATED" if repeated else "NULLABLE", "fields": list(fields)}


def keyed(name: str, kind: str = "STRING") -> Field:
    """A map, as BigQuery's tables of pings hold one: an array of key and value."""
    return record(name, field("key", "STRING"), field("value", kind), repeated=True)


# The envelope that ingestion adds to each ping.
ENVELOPE = [
    field("submission_timestamp", "TIMESTAMP", "When the ping arrived at the edge"),
    field("document_id", "STRING", "Identifies the ping; the client sends the same one again when it retries"),
    field("sample_id", "INTEGER", "0 to 99, from the client_id: one percent of clients each"),
    *strings("normalized_channel", "normalized_country_code", "normalized_app_name", "normalized_os"),
    field("normalized_os_version", "STRING"),
    record(
        "metadata",
        record("geo", *strings("city", "country", "subdivision1")),
        record("header", *strings("date", "dnt", "x_debug_id", "x_lb_tags", "x_source_tags")),
        record("isp", *strings("name", "organization")),
        record("uri", *strings("app_name", "app_version", "app_build_id", "app_update_channel")),
        record("user_agent", *strings("browser", "os", "version")),
    ),
]

# An event of legacy telemetry: a tuple whose elements ingestion could only number.
EVENTS = [
    field("f0_", "INTEGER", "Milliseconds since the process started"),
    *strings("f1_", "f2_", "f3_", "f4_"),
    record("f5_", *strings("key", "value"), repeated=True),
]

ENVIRONMENT = record(
    "environment",
    record("build", *strings("application_name", "architecture", "build_id", "version")),
    record(
        "experiments",
        field("key", "STRING"),
        record("value", *strings("branch", "enrollment_id", "type")),
        repeated=True,
    ),
    record("profile", field("creation_date", "FLOAT", "Days since 1970-01-01")),
    record(
        "settings",
        record("attribution", *strings("source", "dltoken")),
        field("is_default_browser", "BOOLEAN"),
        field("locale", "STRING"),
    ),
    record("system", field("is_wow64", "BOOLEAN"), field("memory_mb", "FLOAT")),
)

TELEMETRY = [
    *ENVELOPE,
    *strings("client_id", "profile_group_id", "creation_date", "type"),
    record("application", *strings("architecture", "build_id", "channel", "name", "version")),
    ENVIRONMENT,
]

MAIN_PAYLOAD = record(
    "payload",
    record(
        "info",
        *strings("session_id", "subsession_id", "session_start_date", "subsession_start_date", "reason"),
        field("profile_subsession_counter", "INTEGER"),
        field("session_length", "INTEGER", "Seconds"),
        field("subsession_length", "INTEGER", "Seconds"),
    ),
    record("histograms", *strings("gc_ms", "memory_total")),
    record("keyed_histograms", keyed("search_counts")),
    record(
        "processes",
        *(record(process, record("events", *EVENTS, repeated=True)) for process in ("content", "dynamic", "gpu")),
        record(
            "parent",
            record("events", *EVENTS, repeated=True),
            record(
                "scalars",
                field(
                    "browser_engagement_active_ticks",
                    "INTEGER",
                    "Intervals of 5 seconds in which the user did something",
                ),
                field("browser_engagement_total_uri_count", "INTEGER"),
            ),
        ),
    ),
)

USE_COUNTERS = record(
    "payload",
    record("info", *strings("session_id", "subsession_id", "reason")),
    record("histograms", *strings("content_documents_destroyed", "use_counter2_css_property_grid_page")),
)

EVENT_PAYLOAD = record(
    "payload",
    *strings("session_id", "subsession_id", "reason"),
    field("process_start_timestamp", "INTEGER", "Milliseconds since 1970-01-01"),
    field("lost_events_count", "INTEGER"),
    record(
        "events",
        *(record(process, *EVENTS, repeated=True) for process in ("content", "dynamic", "extension", "gpu", "parent")),
    ),
)

CORE = [
    *ENVELOPE,
    *strings("client_id", "arch", "created", "default_search", "device", "locale", "os", "osversion"),
    field("durations", "INTEGER", "Seconds in the foreground"),
    field("profile_date", "INTEGER", "Days since 1970-01-01"),
    field("seq", "INTEGER"),
    field("sessions", "INTEGER"),
    keyed("searches", "INTEGER"),
]

GLEAN = [
    *ENVELOPE,
    record(
        "client_info",
        *strings("app_build", "app_channel", "app_display_version", "architecture", "client_id", "first_run_date"),
        *strings("locale", "os", "os_version", "session_id", "telemetry_sdk_build"),
    ),
    record(
        "ping_info",
        *strings("end_time", "reason", "start_time"),
        field("parsed_end_time", "TIMESTAMP"),
        field("parsed_start_time", "TIMESTAMP"),
        field("seq", "INTEGER"),
    ),
]

BASELINE_METRICS = record(
    "metrics",
    record(
        "counter", field("browser_engagement_active_ticks", "INTEGER"), field("browser_engagement_uri_count", "INTEGER")
    ),
    record("datetime", field("glean_baseline_start", "TIMESTAMP")),
    record("timespan", record("glean_baseline_duration", field("value", "INTEGER"), field("time_unit", "STRING"))),
)

METRICS = record(
    "metrics",
    record("boolean", field("browser_is_default", "BOOLEAN")),
    record("counter", field("cookies_purged", "INTEGER"), field("media_playback_count", "INTEGER")),
    record(
        "labeled_counter",
        keyed("browser_search_adclicks_urlbar", "INTEGER"),
        keyed("browser_search_withads_urlbar", "INTEGER"),
    ),
    record("quantity", field("system_memory", "INTEGER")),
    record("string", *strings("search_engine_default_engine_id")),
    record(
        "timing_distribution",
        record("performance_page_load", field("sum", "INTEGER"), keyed("values", "INTEGER")),
    ),
)

BROKEN_SITE_REPORT_METRICS = record(
    "metrics",
    record("text2", *strings("broken_site_report_description")),
    record("url2", *strings("broken_site_report_url")),
)

SCHEMAS: dict[str, list[Field]] = {
    "firefox_desktop_live.baseline_v1": [*GLEAN, BASELINE_METRICS],
    "firefox_desktop_live.broken_site_report_v1": [*GLEAN, BROKEN_SITE_REPORT_METRICS],
    "firefox_desktop_live.metrics_v1": [*GLEAN, METRICS],
    "org_mozilla_fenix_live.baseline_v1": [*GLEAN, BASELINE_METRICS],
    "telemetry_live.core_v10": CORE,
    "telemetry_live.event_v4": [*TELEMETRY, EVENT_PAYLOAD],
    "telemetry_live.first_shutdown_use_counter_v4": [*TELEMETRY, USE_COUNTERS],
    "telemetry_live.first_shutdown_v5": [*TELEMETRY, MAIN_PAYLOAD],
    "telemetry_live.main_use_counter_v4": [*TELEMETRY, USE_COUNTERS],
    "telemetry_live.main_v5": [*TELEMETRY, MAIN_PAYLOAD],
}
"""Columns by live table."""

RETIRED: dict[str, list[Field]] = {f"telemetry_stable.core_v{version}": CORE for version in range(2, 10)}
"""Columns by stable table of pings that nobody sends any more; views over all versions name them."""
