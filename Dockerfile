# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /source
RUN python -m venv /opt/admin-app
COPY requirements.lock ./
RUN /opt/admin-app/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY admin_app ./admin_app
RUN /opt/admin-app/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.13-slim
RUN useradd --system --create-home --home-dir /var/lib/admin-app admin-app \
    && install --directory --owner=admin-app /var/lib/admin-app/media
COPY --from=build /opt/admin-app /opt/admin-app
ENV PATH=/opt/admin-app/bin:$PATH PYTHONUNBUFFERED=1 DATA_DIR=/var/lib/admin-app/data
WORKDIR /var/lib/admin-app
USER admin-app
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/live', timeout=2)"]
CMD ["admin-app", "serve", "--host", "0.0.0.0", "--port", "8000"]
