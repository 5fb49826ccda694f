WITH markets AS (
  SELECT
    country,
    currency,
    revenue_per_click
  FROM
    UNNEST(
      [
        STRUCT("US" AS country, "USD" AS currency, NUMERIC "0.25" AS revenue_per_click),
        ("BR", "BRL", NUMERIC "0.4"),
        ("CA", "CAD", NUMERIC "0.3"),
        ("DE", "EUR", NUMERIC "0.2"),
        ("FR", "EUR", NUMERIC "0.18"),
        ("GB", "GBP", NUMERIC "0.2"),
        ("IN", "INR", NUMERIC "4"),
        ("JP", "JPY", NUMERIC "30")
      ]
    )
),
rates AS (
  SELECT
    transaction_currency AS currency,
    exchange_rate
  FROM
    `moz-fx-data-bq-fivetran.netsuite_sample.currency_rates`
  WHERE
    base_currency = "USD"
    AND effective_date <= @submission_date
    AND NOT _fivetran_deleted
  QUALIFY
    ROW_NUMBER() OVER (PARTITION BY transaction_currency ORDER BY effective_date DESC) = 1
),
clicks AS (
  SELECT
    country,
    SUM(ad_clicks) AS ad_clicks
  FROM
    `moz-fx-data-shared-prod.firefox_desktop_derived.metrics_clients_daily_v1`
  WHERE
    submission_date = @submission_date
  GROUP BY
    country
)
SELECT
  @submission_date AS submission_date,
  country,
  currency,
  clicks.ad_clicks,
  clicks.ad_clicks * markets.revenue_per_click AS revenue,
  rates.exchange_rate,
  clicks.ad_clicks * markets.revenue_per_click * rates.exchange_rate AS revenue_usd
FROM
  clicks
INNER JOIN
  markets
  USING (country)
LEFT JOIN
  rates
  USING (currency)
