-- Bottles of each kind of juice.
SELECT
  submission_date,
  kind,
  SUM(bottles) AS bottles
FROM
  `moz-fx-data-shared-prod.orchard_derived.juice_v1`
WHERE
  submission_date = @submission_date
GROUP BY
  submission_date,
  kind
