# The HTTP server alone. Build from the repository's root:
#   docker build -f docker/server.Dockerfile -t toprung-server .
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY abr abr
COPY client_player client_player
COPY enhancers enhancers
COPY server server
# The server opens no video: codecs and the quality meter, most of the base install's bytes, stay out.
RUN pip install --no-cache-dir --prefix=/install . \
    && rm -r /install/lib/python3*/site-packages/av /install/lib/python3*/site-packages/av.libs \
        /install/lib/python3*/site-packages/imageio_ffmpeg

FROM python:3.11-slim
COPY --from=build /install /usr/local
RUN useradd --system --uid 10001 --no-create-home toprung
USER 10001
ENV PYTHONUNBUFFERED=1 TOPRUNG_LIBRARY=/library TOPRUNG_HOST=0.0.0.0 TOPRUNG_PORT=8080 TOPRUNG_LOG_JSON=true
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/healthz', timeout=2)"]
ENTRYPOINT ["toprung", "serve"]
