-- Three rows a day.
SELECT
  @submission_date AS submission_date,
  n,
FROM
  UNNEST(GENERATE_ARRAY(1, {{ 1 + 2 }})) AS n
