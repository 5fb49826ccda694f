SELECT kind FROM `moz-fx-data-shared-prod.orchard_derived.juice_v1` WHERE submission_date = @date
