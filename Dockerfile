# Two images from one file: `api` serves without TensorFlow, `worker` trains.
FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/kerasd/bin:$PATH
RUN python -m venv /opt/kerasd && useradd --uid 10001 --create-home kerasd && install -d -o 10001 -g 10001 /data
WORKDIR /src
COPY requirements/ requirements/

FROM base AS api
RUN pip install --require-hashes -r requirements/base.lock
COPY . .
# setuptools only builds the package here; it does not stay.
RUN pip wheel --no-deps --wheel-dir /tmp/wheels . && pip install --no-deps /tmp/wheels/*.whl && rm -rf /tmp/wheels /src/*
USER 10001:10001
WORKDIR /data
ENV KERASD_DATA_DIR=/data
EXPOSE 8000
CMD ["kerasd", "api"]

FROM base AS worker
RUN pip install --require-hashes -r requirements/cpu.lock
COPY . .
RUN pip wheel --no-deps --wheel-dir /tmp/wheels . && pip install --no-deps /tmp/wheels/*.whl && rm -rf /tmp/wheels /src/*
USER 10001:10001
WORKDIR /data
ENV KERASD_DATA_DIR=/data
CMD ["kerasd", "worker"]
