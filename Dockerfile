# The image that production deploys and docker-compose.yml starts. The target `local` is the same with the SQL engine of
# the BigQuery stand-in compiled. What is copied stands in .dockerignore.
FROM apache/airflow:slim-3.3.2-python3.12 AS platform

ENV WTMO_ROOT=/opt/airflow \
    AIRFLOW_CONFIG=/opt/airflow/config/airflow.cfg \
    PYTHONPATH=/opt/airflow:/opt/airflow/config

# The environment becomes the lock: what the base image brings and the lock doesn't name is removed. Wheels only, so that
# no package runs code here or needs a compiler. Without bytecode `airflow version` takes 29 s instead of 8.
COPY requirements.txt /opt/airflow/
RUN uv pip sync --require-hashes --only-binary :all: --compile-bytecode --no-cache /opt/airflow/requirements.txt

# Owned by root: what runs as uid 50000 can't change its own code.
COPY . /opt/airflow/
USER root
# The folder of the DAG bundles: a new volume takes its owner from here.
RUN python -m compileall -q /opt/airflow && install --directory --owner=50000 --group=0 /opt/airflow/bundles
USER 50000:0


FROM platform AS local
# The folder of the stand-ins' state: a new volume takes its owner from here.
RUN mkdir /opt/airflow/.local && python -m wtmo.local.bigquery warm


FROM platform AS production
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="telemetry-airflow" \
      org.opencontainers.image.revision="${COMMIT}"
