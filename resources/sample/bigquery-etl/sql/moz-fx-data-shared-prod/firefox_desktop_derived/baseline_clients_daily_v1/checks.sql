#fail
{{ is_unique(["client_id"], where="submission_date = @submission_date") }}

#fail
{{ not_null(["client_id", "sample_id", "country"], where="submission_date = @submission_date") }}

#fail
{{ min_row_count(1, where="submission_date = @submission_date") }}

#fail
-- Every client of the pings has its row.
WITH pings AS (
  SELECT
    COUNT(DISTINCT client_info.client_id) AS clients
  FROM
    `moz-fx-data-shared-prod.firefox_desktop_stable.baseline_v1`
  WHERE
    DATE(submission_timestamp) = @submission_date
),
daily AS (
  SELECT
    COUNT(*) AS clients
  FROM
    `{{ project_id }}.{{ dataset_id }}.{{ table_name }}`
  WHERE
    submission_date = @submission_date
)
SELECT
  IF(
    pings.clients != daily.clients,
    ERROR(
      FORMAT("ETL Data Check Failed: %d clients sent pings, %d have a row", pings.clients, daily.clients)
    ),
    NULL
  )
FROM
  pings
CROSS JOIN
  daily;

#warn
{{ in_range(["durations"], 0, 86400, where="submission_date = @submission_date") }}

#warn
{{ value_length("country", 2, where="submission_date = @submission_date") }}
