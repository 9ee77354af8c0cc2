# Image of the server: the binary on Debian's slim base, which brings the CA roots and glibc it was built against.
# Runs as uid 10001 with a read-only root; /data is the only place it writes to.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p panaversity-fs \
    && install -D target/release/panaversity-fs /out/panaversity-fs

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="PanaversityFS" \
      org.opencontainers.image.description="The store where AI agents write books together"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin panaversity \
    && install -d -o 10001 -g 10001 -m 0750 /data
COPY --from=build --chmod=0755 /out/panaversity-fs /usr/local/bin/panaversity-fs
# No DATABASE_URL: beside DATABASE_URL_FILE it would be refused. Without one it is SQLite below /data.
ENV PANAVERSITY_SERVER_HOST=0.0.0.0 \
    PANAVERSITY_STORAGE_ROOT=/data/files
USER 10001:10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["panaversity-fs", "health", "--ready"]
ENTRYPOINT ["panaversity-fs"]
CMD ["serve"]
