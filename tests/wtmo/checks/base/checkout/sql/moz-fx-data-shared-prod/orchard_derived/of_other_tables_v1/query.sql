SELECT anything FROM `moz-fx-data-shared-prod.market_live.prices_v1` WHERE DATE(submission_timestamp) = @submission_date
