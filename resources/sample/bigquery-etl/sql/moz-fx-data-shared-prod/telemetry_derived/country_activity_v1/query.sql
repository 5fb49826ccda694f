WITH days AS (
  SELECT
    submission_date,
    country,
    SUM(dau) AS dau,
    SUM(active_users) AS active_users
  FROM
    `moz-fx-data-shared-prod.telemetry_derived.active_users_aggregates_v1`
  WHERE
    submission_date >= "2010-01-01"
    AND source = "glean"
  GROUP BY
    submission_date,
    country
)
SELECT
  country,
  MIN(submission_date) AS first_day,
  MAX(submission_date) AS last_day,
  COUNT(*) AS days,
  ROUND(AVG(dau), 2) AS average_dau
FROM
  days
WHERE
  active_users > 0
GROUP BY
  country
