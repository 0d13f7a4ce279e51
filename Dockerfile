# Two images: `gateway` speaks HTTP and has no torch, `worker` enlarges.
#
#   docker build --target gateway -t enlarger-gateway .
#   docker build --target worker -t enlarger-worker .
#
# TORCH_INDEX is where pip may find torch besides its usual index. The default serves CPU builds (about
# 200 MB); for an NVIDIA GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/enlarger
ENV PATH=/opt/enlarger/bin:$PATH
WORKDIR /src
COPY pyproject.toml constraints.txt ./
# The requirements alone, so that a change of the code does not install them anew.
RUN python -c 'import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
    lists = project["optional-dependencies"] | {"every": project["dependencies"]}; \
    [open(f"{name}.txt", "w").write("\n".join(lists[name])) for name in ("every", "service", "worker")]' \
    && pip install -c constraints.txt -r every.txt

FROM build AS wheel
COPY . .
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM build AS gateway-build
RUN pip install -c constraints.txt -r service.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl

FROM build AS worker-build
ARG TORCH_INDEX
# Torch comes first and alone: with the extra index in play for one package only, nothing else can come from it.
RUN pip install --no-deps --retries 1 --extra-index-url "$TORCH_INDEX" -c constraints.txt torch
RUN pip install -c constraints.txt -r worker.txt
COPY --from=wheel /wheels /wheels
RUN pip install --no-deps /wheels/*.whl

FROM python:3.11-slim-bookworm AS runtime
# The same numbers in both images: they share the folder of pictures. A new volume takes its owner over.
RUN groupadd --system --gid 10001 enlarger \
    && useradd --system --uid 10001 --gid enlarger --home-dir /var/lib/enlarger --create-home --shell /usr/sbin/nologin enlarger \
    && install -d -o enlarger -g enlarger -m 0700 /var/lib/enlarger/blobs
ENV PATH=/opt/enlarger/bin:$PATH PYTHONUNBUFFERED=1 ENLARGER_BLOBS_URL=file:///var/lib/enlarger/blobs
WORKDIR /var/lib/enlarger
USER enlarger

FROM runtime AS gateway
COPY --from=gateway-build /opt/enlarger /opt/enlarger
ENV ENLARGER_HOST=0.0.0.0 ENLARGER_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["python", "-m", "service"]

FROM runtime AS worker
COPY --from=worker-build /opt/enlarger /opt/enlarger
# For Prometheus, in the containers' own network.
ENV ENLARGER_METRICS_PORT=9100 ENLARGER_METRICS_ADDRESS=0.0.0.0
EXPOSE 9100
CMD ["python", "-m", "worker"]
