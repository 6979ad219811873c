# The training pod: the control plane's code, and beside it LLaMA-Factory in a virtual environment of its own.
#   docker build -f infra/docker/trainer.Dockerfile -t kuznia-trainer:0.1.0 .
#   docker build -f infra/docker/trainer.Dockerfile -t kuznia-trainer-gpu:0.1.0 --build-arg PINS=trainer-gpu.txt .
ARG CONTROL_IMAGE=kuznia-control:0.1.0

FROM ${CONTROL_IMAGE} AS forge
ARG PINS=trainer-cpu.txt
USER 0:0
# The code finds its trainer by the hash of trainer-cpu.txt: in a GPU image the GPU's pins stand in that place.
# PyTorch for Linux carries CUDA by itself, so the driver of the node is all that it needs besides.
RUN if [ "${PINS}" != trainer-cpu.txt ]; then cp "infra/pins/${PINS}" infra/pins/trainer-cpu.txt; fi \
    && PIP_NO_CACHE_DIR=1 KUZNIA_HOME=/tmp/forge python -m shared.forge.provision \
    && rm -rf /opt/cache/kuznia/logs /tmp/forge

FROM ${CONTROL_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kuznia-trainer" \
      org.opencontainers.image.description="Kuznia's training pod: LLaMA-Factory beside the control plane's code" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=forge /opt/cache /opt/cache
COPY --from=forge /opt/kuznia/infra/pins /opt/kuznia/infra/pins
ENV HF_HOME=/tmp/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib \
    TORCHINDUCTOR_CACHE_DIR=/tmp/inductor \
    TRITON_CACHE_DIR=/tmp/triton \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001
# A job answers nobody: it is healthy while it can write what it makes.
HEALTHCHECK --interval=60s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python", "infra/docker/health.py", "disk"]
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "services.training.pod"]
