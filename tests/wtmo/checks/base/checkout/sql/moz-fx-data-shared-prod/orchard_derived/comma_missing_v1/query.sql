SELECT submission_date kind SUM(bottles) FROM `moz-fx-data-shared-prod.orchard_derived.juice_v1` GROUP BY 1, 2
