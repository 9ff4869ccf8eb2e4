# The images of Theatre. Every target is a small Debian with one program, a numeric user without
# rights, and nothing that is written to but the volume.
#
#   docker build --tag theatre .                                           the program, compiled here
#   docker build --tag redshift-local --target redshift-local .            the stand-in warehouse
#   docker build --tag theatre --target theatre-prebuilt FOLDER            a program that is compiled
#   docker build --tag redshift-local --target redshift-local-prebuilt FOLDER
#
# A `-prebuilt` target copies FOLDER/prebuilt/ARCHITECTURE/PROGRAM, where BuildKit knows the
# architecture (amd64, arm64), or FOLDER/prebuilt/PROGRAM. That is how a release makes the images of
# both architectures out of the programs that it publishes, without emulating a compiler.
#
# The order of the stages matters to the classic builder, which makes all stages up to the target:
# those that need no compiler come first. There is no `syntax` line, so that no frontend is fetched.

ARG RUST_VERSION=1.95.0
ARG DEBIAN_RELEASE=bookworm

FROM debian:${DEBIAN_RELEASE}-slim AS base
# The versions are those of the Debian release: a rebuild brings its security fixes.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libssl3 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS labelled
ARG VERSION=unreleased
ARG REVISION=
ARG CREATED=
ARG SOURCE=
LABEL org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.created="${CREATED}" \
    org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

FROM labelled AS theatre-base
LABEL org.opencontainers.image.title="theatre" \
    org.opencontainers.image.description="Streams of surgical robots to alerts, outcomes, a lake and a warehouse, each exactly once"
# A named volume takes the owner of the folder that it is first mounted on.
RUN install --directory --owner=65532 --group=65532 --mode=0750 \
    /var/lib/theatre /etc/theatre /etc/theatre/keys
WORKDIR /var/lib/theatre
VOLUME ["/var/lib/theatre"]
EXPOSE 9464
USER 65532:65532
# Asks /livez only: a process that is unhealthy may be restarted, and no restart brings a lake back.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["theatre", "healthcheck"]
ENTRYPOINT ["theatre"]
CMD ["run"]

FROM labelled AS redshift-local-base
LABEL org.opencontainers.image.title="redshift-local" \
    org.opencontainers.image.description="A stand-in for Amazon Redshift: its Data API over PostgreSQL"
EXPOSE 8439
USER 65532:65532
# That there is nothing at this address is an answer, too.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8439 && printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3 && read -r answer <&3 && [[ $answer == HTTP/* ]]"]
ENTRYPOINT ["redshift-local"]
CMD ["--listen", "0.0.0.0:8439"]

FROM theatre-base AS theatre-prebuilt
ARG TARGETARCH
COPY prebuilt/${TARGETARCH}/theatre /usr/local/bin/theatre

FROM redshift-local-base AS redshift-local-prebuilt
ARG TARGETARCH
COPY prebuilt/${TARGETARCH}/redshift-local /usr/local/bin/redshift-local

# The workspace without its code: manifests, the lock file, and empty crates in the places of the
# real ones. It changes with the dependencies only, and so does what is compiled of it below.
FROM rust:${RUST_VERSION}-${DEBIAN_RELEASE} AS manifests
WORKDIR /src
COPY . .
RUN find . -type f ! -name Cargo.toml ! -name Cargo.lock ! -name lib.rs ! -name main.rs -delete \
    && find . -name lib.rs -exec truncate --size=0 {} + \
    && find . -name main.rs -exec sed --in-place --null-data 's/.*/fn main() {}/' {} + \
    && find . -type d -empty -delete

FROM rust:${RUST_VERSION}-${DEBIAN_RELEASE} AS build
# `dist` is what is measured and shipped; `quick` compiles in a third of the time.
ARG PROFILE=dist
# `theatre/vendored-openssl` makes a program that needs no library but libc.
ARG FEATURES=
ARG TARGETARCH
WORKDIR /src
COPY --from=manifests /src .
# Kernels for ARM have pages of 4, 16 or 64 KiB; jemalloc runs on those up to its own.
RUN if [ "$TARGETARCH" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && cargo build --locked --profile "$PROFILE" --features "$FEATURES" \
    --package theatre --package redshift-local
COPY . .
# Cargo goes by times of files: the code has to be newer than the empty crates.
RUN if [ "$TARGETARCH" = arm64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && find . -name '*.rs' -not -path './target/*' -exec touch {} + \
    && cargo build --locked --profile "$PROFILE" --features "$FEATURES" \
    --package theatre --package redshift-local \
    && case "$PROFILE" in dev) folder=debug ;; *) folder=$PROFILE ;; esac \
    && install --directory /programs \
    && install target/"$folder"/theatre target/"$folder"/redshift-local /programs

FROM redshift-local-base AS redshift-local
COPY --from=build /programs/redshift-local /usr/local/bin/redshift-local

FROM theatre-base AS theatre
COPY --from=build /programs/theatre /usr/local/bin/theatre
