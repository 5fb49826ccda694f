#fail
{{ min_row_count(1, "submission_date = @submission_date") }}
