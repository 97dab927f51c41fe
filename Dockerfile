# make image          builds the image for this machine
# make check-image    runs these instructions without a container engine, and tests the result
#
# The image contains one static program and /tmp for running syncs, but no shell and no package manager. There is no default
# argument: with client credentials of ConductorOne in the environment, the program polls ConductorOne for tasks; without them,
# it writes one sync into a file; with `serve`, it serves an agent.

# Always runs on the processor of the builder, because scripts/build-static compiles for both processors. The digest is that of
# the index of all platforms. To print the digest of another release:
#   docker buildx imagetools inspect rust:1.95.0-slim-bookworm
FROM --platform=$BUILDPLATFORM rust:1.95.0-slim-bookworm@sha256:d7482085ff5b415f84dba5647ae71606650bdef00db7aeb69f4b3d170c3e4082 AS build
ARG TARGETARCH
# Seconds since 1970. The same value, source and base image give the same bytes.
ARG SOURCE_DATE_EPOCH=0
WORKDIR /source
# The Debian release of the base image determines the versions. The other processor needs a cross compiler.
# hadolint ignore=DL3008,SC2086
RUN export DEBIAN_FRONTEND=noninteractive && case "$(dpkg --print-architecture)-$TARGETARCH" in \
        amd64-arm64) foreign="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        arm64-amd64) foreign="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
        *) foreign= ;; \
    esac && \
    apt-get update && \
    apt-get install -y --no-install-recommends ca-certificates gcc libc6-dev $foreign && \
    rm -rf /var/lib/apt/lists/*
COPY . .
# The commit that --version prints.
ARG REVISION=unknown
RUN --mount=type=cache,target=/source/target \
    BATON_RETOOL_COMMIT="$REVISION" scripts/build-static "$TARGETARCH" /image
# The certificate authorities for TLS connections to Retool's REST API and to ConductorOne, a name for the user, and a directory
# for temporary files.
RUN mkdir -p /image/etc/ssl/certs && \
    cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ && \
    echo 'nonroot:x:65532:65532::/:/none' >/image/etc/passwd && \
    echo 'nonroot:x:65532:' >/image/etc/group && \
    mkdir -m 1777 /image/tmp && \
    find /image -depth -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
ARG SOURCE=https://github.com/conductorone/baton-retool
LABEL org.opencontainers.image.title="baton-retool" \
      org.opencontainers.image.description="Baton connector for self-hosted Retool" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED" \
      org.opencontainers.image.source="$SOURCE"
COPY --from=build /image/ /
# A numeric user, so that Kubernetes can verify that it is not root.
USER 65532:65532
# The health endpoints listen only inside the container, unless configured otherwise.
ENV BATON_HEALTH_CHECK=true
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s --start-interval=1s --retries=3 \
    CMD ["/baton-retool", "health-check", "--endpoint", "live"]
ENTRYPOINT ["/baton-retool"]
