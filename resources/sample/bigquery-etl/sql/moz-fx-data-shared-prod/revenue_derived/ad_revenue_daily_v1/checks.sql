#fail
-- A country without a rate means that the sync of NetSuite is missing.
{{ not_null(["exchange_rate", "revenue_usd"], where="submission_date = @submission_date") }}

#fail
{{ is_unique(["country"], where="submission_date = @submission_date") }}

#warn
{{ in_range(["ad_clicks"], 0, none, where="submission_date = @submission_date") }}
