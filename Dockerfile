# `facegan serve` on a CPU: docker build -t facegan . && docker run -p 127.0.0.1:8000:8000 facegan
FROM python:3.12-slim

# where pip finds PyTorch's CPU packages, if not where it looks anyway; empty: nowhere else
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY facegan facegan
RUN pip install -c constraints.txt ".[studio]" && rm -rf /src/*

RUN useradd --system --uid 10001 --no-create-home facegan
USER facegan
WORKDIR /tmp

EXPOSE 8000
HEALTHCHECK --start-period=30s --interval=15s --timeout=5s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/healthz', timeout=3)"]
ENTRYPOINT ["facegan"]
CMD ["serve", "--host", "0.0.0.0"]
