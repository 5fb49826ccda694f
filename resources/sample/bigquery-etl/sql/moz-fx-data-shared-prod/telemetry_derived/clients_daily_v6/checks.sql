#fail
{{ is_unique(["client_id"], where="submission_date = @submission_date") }}

#fail
{{ not_null(["client_id", "sample_id"], where="submission_date = @submission_date") }}

#fail
{{ in_range(["sample_id"], 0, 99, where="submission_date = @submission_date") }}

#warn
{{ accepted_values(
  "normalized_channel",
  ["release", "beta", "nightly", "esr"],
  where="submission_date = @submission_date"
) }}

#warn
{{ row_count_within_past_partitions_avg(number_of_days=7, threshold_percentage=50) }}
