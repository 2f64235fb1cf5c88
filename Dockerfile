# MyCRM: the web server by default; a worker or the scheduler by another command.

FROM python:3.13-slim AS packages
# gunicorn_h1c comes as source only.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
RUN python -m venv /opt/venv
COPY requirements.txt .
RUN /opt/venv/bin/pip install --no-cache-dir --requirement requirements.txt

FROM python:3.13-slim
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    MYCRM_DATA=/data \
    PROMETHEUS_MULTIPROC_DIR=/dev/shm/metrics
RUN useradd --uid 1000 --create-home mycrm && install --directory --owner mycrm /data
COPY --from=packages /opt/venv /opt/venv
COPY backend /app/backend
WORKDIR /app/backend
USER mycrm
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://localhost:' + os.environ.get('PORT', '8000') + '/api/health/ready/', timeout=4)"]
CMD ["gunicorn", "backend.wsgi:application"]
