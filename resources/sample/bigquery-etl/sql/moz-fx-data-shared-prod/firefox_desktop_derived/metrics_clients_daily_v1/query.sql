WITH metrics_pings AS (
  SELECT
    submission_timestamp,
    document_id,
    client_info.client_id,
    sample_id,
    normalized_channel,
    normalized_country_code AS country,
    metrics.string.search_engine_default_engine_id AS default_engine,
    metrics.boolean.browser_is_default AS is_default_browser,
    (
      SELECT
        SUM(engine.value)
      FROM
        UNNEST(metrics.labeled_counter.browser_search_withads_urlbar) AS engine
    ) AS searches_with_ads,
    (
      SELECT
        SUM(engine.value)
      FROM
        UNNEST(metrics.labeled_counter.browser_search_adclicks_urlbar) AS engine
    ) AS ad_clicks
  FROM
    `moz-fx-data-shared-prod.firefox_desktop_stable.metrics_v1`
  WHERE
    DATE(submission_timestamp) = @submission_date
    AND client_info.client_id IS NOT NULL
),
first_ping AS (
  SELECT
    * EXCEPT (searches_with_ads, ad_clicks)
  FROM
    metrics_pings
  WHERE
    TRUE
  QUALIFY
    ROW_NUMBER() OVER (PARTITION BY client_id ORDER BY submission_timestamp, document_id) = 1
),
sums AS (
  SELECT
    client_id,
    IFNULL(SUM(searches_with_ads), 0) AS searches_with_ads,
    IFNULL(SUM(ad_clicks), 0) AS ad_clicks
  FROM
    metrics_pings
  GROUP BY
    client_id
)
SELECT
  @submission_date AS submission_date,
  client_id,
  first_ping.sample_id,
  first_ping.normalized_channel,
  first_ping.country,
  first_ping.default_engine,
  first_ping.is_default_browser,
  sums.searches_with_ads,
  sums.ad_clicks
FROM
  first_ping
INNER JOIN
  sums
  USING (client_id)
