# The image: `podman build .` or `docker build .`; `make image` also sets its version.
# deploy/image/README.md explains its content, and what is left out.

# Any Debian-like image with Python 3.11 or later and its venv module.
ARG BASE_IMAGE=python:3.11-slim-bookworm


FROM ${BASE_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Only packages of uv.lock, by their hashes; nothing is compiled here.
COPY deploy/image/*.txt deploy/image/leave-out ./
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/refresher \
 && /tools/bin/pip install --require-hashes --no-deps --only-binary :all: --requirement build-requirements.txt
RUN mkdir -p /dependencies/opt && cp -a /opt/refresher /dependencies/opt \
 && /tools/bin/pip --python /opt/refresher/bin/python install --root /dependencies --no-compile \
    --require-hashes --no-deps --only-binary :all: --requirement requirements.txt \
 && find /dependencies/opt/refresher/bin -mindepth 1 ! -name 'python*' -delete \
 && sh leave-out /dependencies/opt/refresher/lib/python3*/site-packages

COPY pyproject.toml README.md LICENSE ./
COPY release release
COPY refresher refresher
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /tools/bin/pip --python /opt/refresher/bin/python install --root /program --no-compile \
    --no-deps --no-index --find-links dist inlive-token-refresher

# The same files give the same layer in every build: the byte code does not depend on the time of its source (and does not
# check the source, which never changes), and all files have one time. 1980 is the first year of a ZIP archive.
RUN export PYTHONHASHSEED=0 && for layer in /dependencies /program; do \
      python3 -m compileall -q -s "$layer" -p / --invalidation-mode unchecked-hash "$layer" || exit; \
      find "$layer" -exec touch --no-dereference --date 1980-01-01T00:00:00Z {} +; \
    done


FROM ${BASE_IMAGE}
# Hide pip, and the archive from which ensurepip makes one, so that an intruder has neither. The base may have installed them by
# pip or by a Debian package; it is no error if it has none.
RUN python3 -m pip uninstall --quiet --yes pip setuptools wheel; \
    find / -xdev \( -path '*/dist-packages/pip' -o -path '*/bin/pip*' -o -name 'pip-*.whl' \) -prune -exec rm -r {} + \
 && ! python3 -m pip --version

# What changes least comes first: this layer serves many versions of the program.
COPY --from=build /dependencies /
COPY --from=build /program /

# glibc would give each of many threads an arena of its own, and each keeps what one large response needed.
ENV PATH=/opt/refresher/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=2
USER 65532:65532
EXPOSE 9464
ENTRYPOINT ["refresher"]

ARG BASE_IMAGE
LABEL org.opencontainers.image.title="inlive-token-refresher" \
      org.opencontainers.image.description="Keeps short-lived Inlive access tokens fresh in files and Kubernetes Secrets, so that one process holds the application key and no consumer is ever without a valid token." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
