# An image of wsisr with its weights, which needs no network when it runs.
#
#   docker build -t wsisr .                               for CPUs
#   docker build -t wsisr:gpu --build-arg COMPUTE=gpu .   for NVIDIA GPUs
#
# Debian 12 has Python 3.11, which .ci/constraints.txt is for. A mirror or a hardened copy of it: --build-arg BASE=...
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

FROM python AS build
# The extra of pyproject.toml for the processor, cpu or gpu; torch is of the same build.
ARG COMPUTE=cpu
ARG EXTRAS=cluster,evaluate,view
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
RUN python3 -m venv /opt/wsisr && python3 -m venv /opt/build
COPY .ci/constraints.txt .ci/
# torch first: it is most of the image, and stays in the build's cache while only wsisr changes.
RUN torch="$(sed -n '/^torch==/p' .ci/constraints.txt)" \
    && case "$COMPUTE" in \
        cpu) /opt/wsisr/bin/pip install --no-deps "$torch+cpu" \
            || /opt/wsisr/bin/pip install --no-deps --index-url "$TORCH_INDEX" "$torch" ;; \
        gpu) /opt/wsisr/bin/pip install -c .ci/constraints.txt "$torch" ;; \
        *) echo "COMPUTE is cpu or gpu, not $COMPUTE" && exit 1 ;; \
    esac
RUN /opt/build/bin/pip install -c .ci/constraints.txt hatchling
COPY pyproject.toml README.md LICENSE ./
COPY wsisr wsisr
COPY weights weights
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/wsisr/bin/pip install -c .ci/constraints.txt "$(ls /wheels/wsisr-*.whl)[$COMPUTE,$EXTRAS]" \
    && /opt/wsisr/bin/pip check

FROM python
ARG REVISION=unknown
LABEL org.opencontainers.image.title="wsisr" \
    org.opencontainers.image.description="Super-resolution for whole-slide images of digital pathology" \
    org.opencontainers.image.version="0.1.0" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="MIT"
COPY --from=build /opt/wsisr /opt/wsisr
# Any user may run it (--user), also one whom the image does not know and with a root file system that is read-only:
# torch asks for a user's name, and what is kept from run to run goes to a folder that everybody may write.
ENV PATH=/opt/wsisr/bin:$PATH \
    HOME=/tmp \
    USER=wsisr \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --uid 1000 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin wsisr
USER 1000
WORKDIR /data
ENTRYPOINT ["wsisr"]
CMD ["--help"]
