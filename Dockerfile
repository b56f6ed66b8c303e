# The page of ftlab in a container, for CPUs:      docker build --tag ftlab .
# The same for NVIDIA GPUs, about 4 GB more:       docker build --tag ftlab:cuda --build-arg TORCH= .
#
# docker run --rm --read-only --tmpfs /tmp --volume ftlab:/data --publish 127.0.0.1:7860:7860 ftlab
#
# docs/install.md says more: folders of images, several users, a GPU.

ARG BASE=debian:bookworm-slim

FROM ${BASE} AS packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_NO_CACHE_DIR=1
WORKDIR /src
# The requirements first: they change rarely, and are nearly all of the size.
COPY requirements.txt ./
COPY tools/environment.py tools/
# Name of PyTorch's build (cpu, cu130 …); empty: the one of the package index, which is for CUDA on x86.
ARG TORCH=cpu
RUN python3 tools/environment.py install /opt/ftlab app ${TORCH:+--torch "$TORCH"}
COPY pyproject.toml README.md LICENSE ./
COPY ftlab ftlab
RUN /opt/ftlab/bin/python -m pip install --quiet --no-deps .

FROM ${BASE}
# torch compiles kernels for GPUs by a C compiler when it trains: COMPILER="gcc libc6-dev python3-dev" brings one.
ARG COMPILER=
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 ${COMPILER} \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --home-dir /data --no-create-home --shell /usr/sbin/nologin ftlab \
    && install --directory --owner ftlab --group ftlab /data
COPY --from=packages /opt/ftlab /opt/ftlab
# Everything that is written is below /data, or temporary.
ENV PATH=/opt/ftlab/bin:$PATH \
    HOME=/data \
    USER=ftlab \
    FTLAB_HOME=/data/ftlab \
    PYTHONUNBUFFERED=1
USER 1000:1000
WORKDIR /data
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=9)"]
ENTRYPOINT ["ftlab"]
CMD ["app", "--host", "0.0.0.0", "--runs", "/data/runs", "--no-browser"]
