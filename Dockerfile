# The gateway as an image: one binary, a C library, CA certificates, and nothing to log in to.
#
#   docker build -t mulberry .
#   docker run --rm -p 8080:8080 -v ./mulberry.yaml:/etc/mulberry/mulberry.yaml:ro -v mulberry:/var/lib/mulberry mulberry
#
# The configuration must listen on 0.0.0.0:8080: loopback in a container is the container's own.
# Both bases are tags; whoever needs the same bytes twice passes digests:
#   --build-arg RUST=rust@sha256:… --build-arg RUNTIME=gcr.io/distroless/cc-debian12@sha256:…
ARG RUST=rust:1.95.0-slim-bookworm
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM ${RUST} AS build
# The image has this toolchain; rust-toolchain.toml would have rustup look for more.
ENV RUSTUP_TOOLCHAIN=1.95.0 CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0
# Lines for backtraces are half of the binary; a panic tells its place without them.
ENV CARGO_PROFILE_RELEASE_STRIP=debuginfo
WORKDIR /src
COPY . .
# Without default features there is no scripted engine. Downloads and objects stay in the cache of the builder.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --release --no-default-features --package gateway --bin mulberry \
    && install -D -m 0755 target/release/mulberry /out/usr/bin/mulberry \
    && install -d -m 0700 /out/var/lib/mulberry

FROM ${RUNTIME}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="mulberry" \
      org.opencontainers.image.description="An OpenAI-compatible inference gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/usr/bin/mulberry /usr/bin/mulberry
# The one folder that is written; all else may be read-only. Copied from above it, or its mode would be lost.
COPY --from=build --chown=65532:65532 /out/var/lib /var/lib
VOLUME /var/lib/mulberry
# By number, so that runAsNonRoot can be checked without a look into /etc/passwd.
USER 65532:65532
# Relative paths of a configuration start here, so that the default data_dir is in the volume.
WORKDIR /var/lib/mulberry
ENV MULBERRY_CONFIG=/etc/mulberry/mulberry.yaml
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
# Alive, not ready: whoever restarts what is unhealthy would not help a gateway whose upstreams are down.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["/usr/bin/mulberry", "healthcheck", "--live"]
ENTRYPOINT ["/usr/bin/mulberry"]
CMD ["serve"]
