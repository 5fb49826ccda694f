-- A histogram of legacy telemetry is JSON in a string; its sum is NULL when that is broken.
CREATE TEMP FUNCTION histogram_sum(histogram STRING) AS (
  SAFE_CAST(JSON_VALUE(histogram, "$.sum") AS INT64)
);

WITH main_pings AS (
  SELECT
    submission_timestamp,
    document_id,
    client_id,
    sample_id,
    normalized_channel,
    normalized_country_code AS country,
    environment.settings.locale,
    normalized_os AS os,
    metadata.uri.app_version,
    DATE_DIFF(
      @submission_date,
      DATE_FROM_UNIX_DATE(CAST(environment.profile.creation_date AS INT64)),
      DAY
    ) AS profile_age_in_days,
    environment.settings.is_default_browser,
    payload.info.subsession_length,
    payload.processes.parent.scalars.browser_engagement_active_ticks AS active_ticks,
    payload.processes.parent.scalars.browser_engagement_total_uri_count AS total_uri_count,
    (
      SELECT
        SUM(histogram_sum(engine.value))
      FROM
        UNNEST(payload.keyed_histograms.search_counts) AS engine
    ) AS search_count
  FROM
    `moz-fx-data-shared-prod.telemetry_stable.main_v5`
  WHERE
    DATE(submission_timestamp) = @submission_date
    AND client_id IS NOT NULL
),
first_ping AS (
  SELECT
    *
  FROM
    main_pings
  WHERE
    TRUE
  QUALIFY
    ROW_NUMBER() OVER (PARTITION BY client_id ORDER BY submission_timestamp, document_id) = 1
),
sums AS (
  SELECT
    client_id,
    COUNT(*) AS pings_aggregated_by_this_row,
    SUM(subsession_length) / 3600 AS subsession_hours_sum,
    -- a tick is 5 seconds
    SUM(active_ticks) * 5 / 3600 AS active_hours_sum,
    SUM(total_uri_count) AS total_uri_count_sum,
    IFNULL(SUM(search_count), 0) AS search_count_all
  FROM
    main_pings
  GROUP BY
    client_id
)
SELECT
  @submission_date AS submission_date,
  client_id,
  first_ping.sample_id,
  first_ping.normalized_channel,
  first_ping.country,
  first_ping.locale,
  first_ping.os,
  first_ping.app_version,
  first_ping.profile_age_in_days,
  first_ping.is_default_browser,
  sums.pings_aggregated_by_this_row,
  sums.subsession_hours_sum,
  sums.active_hours_sum,
  sums.total_uri_count_sum,
  sums.search_count_all
FROM
  first_ping
INNER JOIN
  sums
  USING (client_id)
