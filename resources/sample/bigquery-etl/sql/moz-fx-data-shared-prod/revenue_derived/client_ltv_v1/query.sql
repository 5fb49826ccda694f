SELECT
  @submission_date AS submission_date,
  client_id,
  normalized_country_code AS country,
  "example" AS engine,
  CAST(COUNT(*) AS FLOAT64) AS total_client_ltv
FROM
  `moz-fx-data-shared-prod.telemetry_stable.main_v5`
WHERE
  DATE(submission_timestamp) = @submission_date
  AND client_id IS NOT NULL
GROUP BY
  client_id,
  country
