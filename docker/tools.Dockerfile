# `toprung prepare`, `toprung play` and `toprung edge`, and the sample clip. Build from the repository's root:
#   docker build -f docker/tools.Dockerfile -t toprung-tools .
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY abr abr
COPY client_player client_player
COPY enhancers enhancers
COPY server server
RUN pip install --no-cache-dir --prefix=/install '.[player]'

FROM python:3.11-slim
COPY --from=build /install /usr/local
RUN useradd --system --uid 10001 --no-create-home toprung \
    && install -d -o 10001 /library /report /cache
USER 10001
ENV PYTHONUNBUFFERED=1 HOME=/tmp
VOLUME ["/library", "/report", "/cache"]
ENTRYPOINT ["toprung"]
