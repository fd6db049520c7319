# Three images from one file: `api` serves without TensorFlow, `worker-cpu` and `worker-gpu` train.
FROM python:3.13-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/kerasd/bin:$PATH
RUN python -m venv /opt/kerasd && useradd --uid 10001 --create-home kerasd && install -d -o 10001 -g 10001 /data
COPY requirements/ /requirements/

# setuptools only builds the package here; it does not stay.
FROM base AS package
WORKDIR /src
COPY . .
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM base AS api
RUN pip install --require-hashes -r /requirements/base.lock
RUN --mount=from=package,source=/wheels,target=/wheels pip install --no-deps /wheels/*.whl
USER 10001:10001
WORKDIR /data
ENV KERASD_DATA_DIR=/data
EXPOSE 8000
CMD ["kerasd", "api"]

FROM base AS worker-cpu
RUN pip install --require-hashes -r /requirements/cpu.lock
RUN --mount=from=package,source=/wheels,target=/wheels pip install --no-deps /wheels/*.whl
USER 10001:10001
WORKDIR /data
ENV KERASD_DATA_DIR=/data
CMD ["kerasd", "worker"]

FROM base AS worker-gpu
RUN pip install --require-hashes -r /requirements/gpu.lock
RUN --mount=from=package,source=/wheels,target=/wheels pip install --no-deps /wheels/*.whl
USER 10001:10001
WORKDIR /data
ENV KERASD_DATA_DIR=/data
CMD ["kerasd", "worker"]
