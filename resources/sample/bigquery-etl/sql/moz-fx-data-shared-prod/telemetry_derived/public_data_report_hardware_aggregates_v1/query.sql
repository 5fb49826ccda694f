SELECT
  @submission_date AS submission_date,
  normalized_os AS os,
  COUNT(DISTINCT client_id) AS clients
FROM
  `moz-fx-data-shared-prod.telemetry_stable.main_v5`
WHERE
  DATE(submission_timestamp) >= @submission_date
  AND DATE(submission_timestamp) < DATE_ADD(@submission_date, INTERVAL 7 DAY)
GROUP BY
  os
