#fail
{{ is_unique(["source", "normalized_channel", "country"], where="submission_date = @submission_date") }}

#fail
{{ min_row_count(1, where="submission_date = @submission_date") }}

#fail
-- Nobody is active without having sent a ping.
SELECT
  IF(
    COUNTIF(active_users > dau OR new_profiles > dau) > 0,
    ERROR(
      FORMAT(
        "ETL Data Check Failed: %d rows count more active or new users than users",
        COUNTIF(active_users > dau OR new_profiles > dau)
      )
    ),
    NULL
  )
FROM
  `{{ project_id }}.{{ dataset_id }}.{{ table_name }}`
WHERE
  submission_date = @submission_date;

#warn
{{ matches_pattern("country", "^[A-Z]{2}$", where="submission_date = @submission_date") }}
