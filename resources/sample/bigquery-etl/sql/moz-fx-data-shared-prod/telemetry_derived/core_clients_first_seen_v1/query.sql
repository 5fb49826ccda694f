{% if is_init() %}
  SELECT
    client_id,
    DATE(MIN(submission_timestamp)) AS first_seen_date
  FROM
    `moz-fx-data-shared-prod.telemetry_stable.core_v10`
  WHERE
    DATE(submission_timestamp) >= "2010-01-01"
  GROUP BY
    client_id
{% else %}
  WITH today AS (
    SELECT DISTINCT
      client_id
    FROM
      `moz-fx-data-shared-prod.telemetry_stable.core_v10`
    WHERE
      DATE(submission_timestamp) = @submission_date
  ),
  seen_before AS (
    SELECT
      client_id
    FROM
      `moz-fx-data-shared-prod.telemetry_derived.core_clients_first_seen_v1`
    WHERE
      -- only days before: an older day that is run again must not see later ones
      first_seen_date < @submission_date
  )
  SELECT
    client_id,
    @submission_date AS first_seen_date
  FROM
    today
  LEFT JOIN
    seen_before
    USING (client_id)
  WHERE
    seen_before.client_id IS NULL
{% endif %}
