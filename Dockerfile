# migbench as an image: one static binary for the orchestrator, the node agent, the built-in workload and the init
# container that verifies checkpoints.
#
# BUILDER is any image with Rust, a C compiler and CA certificates. `.ci/image` makes one where no registry can be reached.
ARG BUILDER=docker.io/library/rust:1.95-bookworm

FROM ${BUILDER} AS build
WORKDIR /src
COPY . .
# Static against glibc, since a musl toolchain cannot be had everywhere. glibc 2.34 and later look names up without
# loading libraries as long as nsswitch.conf asks for "files" and "dns" alone, which the file below makes sure of.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --profile image --bin migbench --target "$target" \
    && install -D -m 0755 "target/$target/image/migbench" /image/usr/bin/migbench \
    && install -D -m 0644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && echo 'hosts: files dns' > /image/etc/nsswitch.conf \
    && echo 'migbench:x:65532:65532::/tmp:/sbin/nologin' > /image/etc/passwd \
    && echo 'migbench:x:65532:' > /image/etc/group \
    && mkdir -m 1777 /image/tmp

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="migbench" \
      org.opencontainers.image.description="A benchmark for Kubernetes pod migration, and the AI Storage Orchestrator" \
      org.opencontainers.image.source="https://github.com/migbench/migbench" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
ENV PATH=/usr/bin
# By number, so that `runAsNonRoot` can be checked.
USER 65532:65532
WORKDIR /tmp
EXPOSE 8080
ENTRYPOINT ["/usr/bin/migbench"]
CMD ["--help"]
