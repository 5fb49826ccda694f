WITH baseline AS (
  SELECT
    submission_timestamp,
    document_id,
    client_info.client_id,
    sample_id,
    SAFE.PARSE_DATE("%Y-%m-%d", SUBSTR(client_info.first_run_date, 1, 10)) AS first_run_date,
    normalized_channel,
    normalized_country_code AS country,
    client_info.locale,
    normalized_os AS os,
    client_info.app_display_version AS app_version,
    metrics.timespan.glean_baseline_duration.value AS duration,
    metrics.counter.browser_engagement_active_ticks AS active_ticks,
    metrics.counter.browser_engagement_uri_count AS uri_count
  FROM
    `moz-fx-data-shared-prod.firefox_desktop_stable.baseline_v1`
  WHERE
    DATE(submission_timestamp) = @submission_date
    AND client_info.client_id IS NOT NULL
),
-- what a client is comes from its first ping of the day, what it did from all of them
first_ping AS (
  SELECT
    *
  FROM
    baseline
  WHERE
    TRUE
  QUALIFY
    ROW_NUMBER() OVER (PARTITION BY client_id ORDER BY submission_timestamp, document_id) = 1
),
sums AS (
  SELECT
    client_id,
    COUNT(*) AS ping_count,
    SUM(duration) AS durations,
    SUM(active_ticks) AS active_ticks,
    SUM(uri_count) AS uri_count
  FROM
    baseline
  GROUP BY
    client_id
)
SELECT
  @submission_date AS submission_date,
  client_id,
  first_ping.sample_id,
  first_ping.first_run_date,
  IFNULL(first_ping.first_run_date = @submission_date, FALSE) AS is_new_profile,
  first_ping.normalized_channel,
  first_ping.country,
  first_ping.locale,
  first_ping.os,
  first_ping.app_version,
  sums.ping_count,
  sums.durations,
  sums.active_ticks,
  sums.uri_count
FROM
  first_ping
INNER JOIN
  sums
  USING (client_id)
