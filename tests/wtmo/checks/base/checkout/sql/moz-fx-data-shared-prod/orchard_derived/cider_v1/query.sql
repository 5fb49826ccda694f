SELECT
  submission_date,
  kind,
  bottles
FROM
  `moz-fx-data-shared-prod.orchard_raw.apples_v1`
WHERE
  submission_date = @submission_date
