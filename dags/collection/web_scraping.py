"""Read what makers of browsers publish, release notes above all, once a week.

## Where the data comes from and goes

The feed of [browsers.fyi](https://www.browsers.fyi/) names the releases of Chrome, Edge, Firefox and Safari, on phones
too. The notes of each go as one JSON file to the bucket `moz-fx-data-prod-external-data`, under
`MARKET_RESEARCH/STRUCTURED/<browser>/`; blogs and job adverts go beside them. The market reports are made of it. A
release whose file is there is not read again. The program is
[`jobs/release_scraping`](https://github.com/mozilla/docker-etl/tree/main/jobs/release_scraping) of docker-etl.

## When it fails

It can wait for the next working day; tell the team market-data. A page that could not be read fails nothing: the log
has `Failed to scrape` and its name, and the next run tries it again. When a maker changed its pages, the program must
follow.

## How to re-run it

Clear the task, or leave it to the next Tuesday: each run reads all that is missing. To read a release anew, delete its
file first.
"""

from __future__ import annotations

from datetime import datetime

from airflow.sdk import DAG

from operators.gcp_container_operator import GKEPodOperator
from utils.defaults import default_args
from utils.images import image
from utils.tags import Tag

with DAG(
    "web_scraping",
    doc_md=__doc__,
    schedule="0 15 * * 2",
    start_date=datetime(2025, 9, 1),
    default_args=default_args(owner="market-data", retries=1),
    tags=[Tag.ImpactTier.tier_3, Tag.Repo.airflow],
):
    GKEPodOperator(
        task_id="read_release_data",
        image=image("release_scraping"),
        arguments=["python", "release_scraping/main.py", "--date", "{{ ds }}"],
    )
