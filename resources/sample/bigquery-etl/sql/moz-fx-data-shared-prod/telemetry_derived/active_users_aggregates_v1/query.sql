WITH clients AS (
  SELECT
    "glean" AS source,
    normalized_channel,
    country,
    active_ticks > 0
    AND uri_count > 0 AS is_active,
    is_new_profile,
    active_ticks * 5 / 3600 AS active_hours
  FROM
    `moz-fx-data-shared-prod.firefox_desktop_derived.baseline_clients_daily_v1`
  WHERE
    submission_date = @submission_date
  UNION ALL
  SELECT
    "legacy" AS source,
    normalized_channel,
    country,
    active_hours_sum > 0
    AND total_uri_count_sum > 0 AS is_active,
    profile_age_in_days = 0 AS is_new_profile,
    active_hours_sum AS active_hours
  FROM
    `moz-fx-data-shared-prod.telemetry_derived.clients_daily_v6`
  WHERE
    submission_date = @submission_date
)
SELECT
  @submission_date AS submission_date,
  source,
  normalized_channel,
  country,
  COUNT(*) AS dau,
  COUNTIF(is_active) AS active_users,
  COUNTIF(is_new_profile) AS new_profiles,
  SUM(active_hours) AS active_hours
FROM
  clients
GROUP BY
  source,
  normalized_channel,
  country
