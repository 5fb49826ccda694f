-- One row an event. Ingestion could only number the elements of an event's tuple; here they get their names.
CREATE TEMP FUNCTION deanonymize_event(
  tuple STRUCT<
    f0_ INT64,
    f1_ STRING,
    f2_ STRING,
    f3_ STRING,
    f4_ STRING,
    f5_ ARRAY<STRUCT<key STRING, value STRING>>
  >
) AS (
  STRUCT(
    -- some clients report times before the start of their process
    IF(tuple.f0_ < 0, NULL, tuple.f0_) AS event_timestamp,
    tuple.f1_ AS event_category,
    tuple.f2_ AS event_method,
    tuple.f3_ AS event_object,
    tuple.f4_ AS event_string_value,
    tuple.f5_ AS event_map_values
  )
);

SELECT
  DATE(submission_timestamp) AS submission_date,
  document_id,
  client_id,
  normalized_channel,
  normalized_country_code AS country,
  environment.settings.locale,
  normalized_app_name AS app_name,
  metadata.uri.app_version,
  normalized_os AS os,
  normalized_os_version AS os_version,
  environment.experiments,
  sample_id,
  payload.info.session_id,
  SAFE.PARSE_TIMESTAMP("%Y-%m-%dT%H:%M:%E*S%Ez", payload.info.session_start_date) AS session_start_time,
  payload.info.subsession_id,
  submission_timestamp AS `timestamp`,
  deanonymize_event(event).*,
  event_process,
  application.build_id,
  environment.profile.creation_date AS profile_creation_date,
  environment.settings.is_default_browser,
  metadata.geo.city,
  profile_group_id
FROM
  `moz-fx-data-shared-prod.telemetry_stable.main_v5`
CROSS JOIN
  UNNEST(
    [
      STRUCT("content" AS event_process, payload.processes.content.events AS events),
      ("dynamic", payload.processes.dynamic.events),
      ("gpu", payload.processes.gpu.events),
      ("parent", payload.processes.parent.events)
    ]
  )
CROSS JOIN
  UNNEST(events) AS event
WHERE
  DATE(submission_timestamp) = @submission_date
