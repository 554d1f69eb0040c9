# docker build -t small-image-classifiers .
# docker run --rm -v "$PWD/output:/app/output" small-image-classifiers
FROM python:3.11-slim AS product
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends make && rm -rf /var/lib/apt/lists
WORKDIR /app
RUN chown 1000:1000 /app
USER 1000:1000
ENV HOME=/tmp PIP_NO_CACHE_DIR=1
COPY --chown=1000:1000 . .
RUN make .venv/installed-export .venv/installed-ui
ENV PATH=/app/.venv/bin:$PATH
VOLUME /app/output
CMD ["make", "demo"]

# The tests, as continuous integration runs them: docker build --target test .
FROM product AS test
RUN .ci/run

FROM product
