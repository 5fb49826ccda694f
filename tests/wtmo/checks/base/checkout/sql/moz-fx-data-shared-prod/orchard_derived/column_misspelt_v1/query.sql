SELECT submission_date, kinds FROM `moz-fx-data-shared-prod.orchard_derived.juice_v1` WHERE submission_date = @submission_date
