# sora in a container: everything in /var/lib/sora, unless /etc/sora/sora.toml names a PostgreSQL and an object store.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[embedded]'

FROM python:3.13-slim
RUN groupadd --system --gid 990 sora && useradd --system --uid 990 --gid sora --home-dir /var/lib/sora --create-home sora
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels 'sora[embedded]'
COPY etc/container.toml /etc/sora/sora.toml
USER sora
WORKDIR /var/lib/sora
VOLUME /var/lib/sora
EXPOSE 143 993 24
ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "sora"]
CMD ["--config", "/etc/sora/sora.toml"]
