# Tempo in an image: compiled sources, production dependencies and the Node that package-lock.json names.
#
#   docker build -t tempo .
#   docker run -p 3200:3200 -p 4317:4317 -p 4318:4318 -v tempo:/var/tempo tempo -config.file=/conf/tempo.yaml
#
# Both bases can be others: BUILD_BASE needs npm and any Node from 20 on, BASE needs glibc and nothing else.
ARG BUILD_BASE=docker.io/library/node:24-bookworm-slim
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BUILD_BASE} AS build
WORKDIR /src
# wget for `kubectl exec ... wget`; a shell comes with it.
RUN [ -x /bin/busybox ] || { apt-get update && apt-get install -y --no-install-recommends busybox-static libatomic1; }
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY cmd cmd
COPY src src
RUN npm run build && npm prune --omit=dev --no-audit --no-fund
# Node itself, and the libraries that it needs beside glibc.
RUN set -e; node=$(echo node_modules/node-linux-*/bin/node); \
    install -D "$node" /image/usr/local/bin/node; \
    ldd "$node" | awk '$1 ~ /^lib(atomic|gcc_s|stdc)/ {print $3}' | while read -r lib; do \
      install -D -m 644 "$(readlink -f "$lib")" "/image$(readlink -f "$(dirname "$lib")")/$(basename "$lib")"; \
    done; \
    rm -rf node_modules/node-linux-* node_modules/.bin node_modules/.cache
RUN set -e; install -D /bin/busybox /image/usr/bin/wget; \
    mkdir -p /image/app /state/tempo; \
    mv dist node_modules package.json /image/app/; \
    for name in tempo tempo-vulture; do \
      printf '#!/usr/local/bin/node --initial-old-space-size=128\nimport("/app/dist/cmd/%s/main.js");\n' "$name" > "/image/$name"; \
      chmod 755 "/image/$name"; \
    done

FROM ${BASE}
LABEL org.opencontainers.image.title="tempo" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image/ /
COPY --from=build --chown=10001:10001 /state/ /var/
COPY config/single-binary.yaml /conf/tempo.yaml
# The root may be read-only; compiled code is kept between starts of one container.
ENV NODE_ENV=production NODE_COMPILE_CACHE=/tmp/tempo-compile-cache
# glibc raises these by itself, and buffers that end then leave holes in its heap instead of going back.
ENV MALLOC_MMAP_THRESHOLD_=131072 MALLOC_TRIM_THRESHOLD_=262144
USER 10001:10001
EXPOSE 3200 4317 4318 9095
ENTRYPOINT ["/tempo"]
