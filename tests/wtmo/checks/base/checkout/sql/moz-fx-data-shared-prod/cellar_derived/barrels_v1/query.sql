SELECT
  submission_date,
  kind,
  bottles
FROM
  `moz-fx-data-shared-prod.orchard_derived.cider_v1`
WHERE
  submission_date = @submission_date
