# The control plane: console, gateway, webhooks and event services. No torch, no compiler, no root.
#   docker build -f infra/docker/control.Dockerfile -t kuznia-control:0.1.0 .
# A release names its base by digest: --build-arg PYTHON_IMAGE=python@sha256:…
ARG PYTHON_IMAGE=python:3.11.7-slim-bookworm
# helm makes releases of engines in a cluster; one static program, at the same place in every image that carries it.
ARG HELM_IMAGE=alpine/helm:4.1.4

FROM ${HELM_IMAGE} AS helm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_INPUT=1
WORKDIR /opt/kuznia
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY infra/pins/control.txt infra/pins/google.txt infra/pins/
# Packages first: they change seldom, the code often. The empty packages are what the build backend asks for.
RUN mkdir events services shared \
    && touch events/__init__.py services/__init__.py shared/__init__.py \
    && python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-cache-dir -c infra/pins/control.txt -c infra/pins/google.txt hatchling editables \
    && /opt/venv/bin/pip install --no-cache-dir -c infra/pins/control.txt -c infra/pins/google.txt \
        --no-build-isolation -e '.[google,kubernetes,s3]' \
    && /opt/venv/bin/pip uninstall --yes hatchling editables pathspec pluggy trove-classifiers
COPY infra infra
COPY charts/llama-factory-api charts/llama-factory-api
COPY events events
COPY shared shared
COPY services services
RUN /opt/venv/bin/python -m compileall -q events services shared infra

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kuznia-control" \
      org.opencontainers.image.description="Kuznia's control plane: console, gateway, webhooks and event services" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# git: commits are read. tini: as process 1 it passes signals on, and buries what orphans leave.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git tini \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 kuznia \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/kuznia --shell /usr/sbin/nologin kuznia \
    && install -d -o 10001 -g 10001 /var/lib/kuznia
COPY --from=helm /usr/bin/helm /usr/local/bin/helm
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/kuznia /opt/kuznia
# All that is written goes to /var/lib/kuznia and /tmp; the rest may be read-only.
ENV PATH=/opt/venv/bin:$PATH \
    HOME=/var/lib/kuznia \
    KUZNIA_HOME=/var/lib/kuznia \
    XDG_CACHE_HOME=/opt/cache \
    HF_HOME=/tmp/huggingface \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /opt/kuznia
USER 10001:10001
VOLUME ["/var/lib/kuznia"]
EXPOSE 8500 8600
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "infra/docker/health.py", "http", "KUZNIA_PORT", "8500", "/healthz"]
ENTRYPOINT ["tini", "--"]
CMD ["kuznia", "up"]
