# The serving pod: checks the weights it is to serve, places them, and runs the engine on them.
#   docker build -f infra/docker/engine.Dockerfile -t kuznia-engine:0.1.0 .
# Its engine is LLaMA-Factory's API, from the trainer's environment; so it is the trainer image with another command.
ARG TRAINER_IMAGE=kuznia-trainer:0.1.0

FROM ${TRAINER_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kuznia-engine" \
      org.opencontainers.image.description="Kuznia's serving pod: one model version behind an OpenAI-compatible API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=600s --retries=3 \
    CMD ["python", "infra/docker/health.py", "http", "KUZNIA_ADDRESS", "8000", "/docs"]
ENTRYPOINT ["tini", "--"]
CMD ["python", "-m", "services.deployment.pod"]
