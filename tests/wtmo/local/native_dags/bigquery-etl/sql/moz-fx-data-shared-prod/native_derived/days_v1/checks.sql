#fail
{{ min_row_count(3, "submission_date = @submission_date") }}

#fail
{{ is_unique(["submission_date", "n"]) }}

#warn
{{ in_range(["n"], 1, 2, "submission_date = @submission_date") }}
