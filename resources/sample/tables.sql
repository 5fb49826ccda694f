-- Tables of other systems that hand-written DAGs read: `wtmo day --all` makes them. All rows are made up.
CREATE SCHEMA IF NOT EXISTS `moz-fx-data-bq-people.composer_workday`;
CREATE OR REPLACE TABLE `moz-fx-data-bq-people.composer_workday.worker` AS
SELECT
  CONCAT("worker", n, "@example.com") AS email,
  CONCAT("First", n) AS first_name,
  CONCAT("Last, the ", n) AS last_name,
  n < 4 AS currently_active,
  IF(MOD(n, 2) = 0, "MoFo", "MoCo") AS moco_or_mofo,
  CAST(1000 + n AS STRING) AS employee_id,
  "Regular" AS position_worker_type,
  "Everything" AS cost_center_hierarchy,
  "100 Everything" AS cost_center,
  "Canada" AS location_country,
  "Example Inc." AS company,
  "worker1@example.com" AS manager_email
FROM
  UNNEST([1, 2, 3, 4]) AS n;
