"""The text of a Dockerfile for a folder of MLServer's, and of what its build leaves out."""

from __future__ import annotations

from pathlib import Path

from pyserver import __version__

ENVIRONMENT_FILES = ("environment.yml", "environment.yaml", "conda.yml", "conda.yaml")
REQUIREMENTS = "requirements.txt"
ENVIRONMENT = "/opt/environment"
MODELS = "/opt/pyserver/models"

IGNORED = """# Written by `pyserver dockerfile`.
**/__pycache__
**/*.py[cod]
**/.ipynb_checkpoints
**/*.log
**/.DS_Store
.git
.gitignore
.envs
.metrics
.venv
venv
.pytest_cache
.mypy_cache
.ruff_cache
.tox
.coverage
htmlcov
build
dist
*.egg-info
Dockerfile
Dockerfile.dockerignore
"""
"""What no image of a model needs. Shared libraries stay: models bring them along."""

_HEAD = """# syntax=docker/dockerfile:1
# Written by `pyserver dockerfile` for this folder as it is: write it anew when an environment file or a
# requirements.txt comes or goes.
"""
_CONDA = """
FROM continuumio/miniconda3:24.4.0-0 AS environment
COPY {file} /tmp/{file}
RUN conda env create --quiet --prefix {prefix} --file /tmp/{file} \\
    && conda clean --all --yes
"""
_REQUIREMENTS_OF_CONDA = """COPY requirements.txt /tmp/requirements.txt
RUN {prefix}/bin/python -m pip install --no-cache-dir --requirement /tmp/requirements.txt
"""
_SERVER = """
FROM python:3.11-slim-bookworm
# What pip installs as the server: a version, or a wheel or a URL given with --build-arg.
ARG PYSERVER=pyserver=={version}
# hadolint ignore=DL3013
RUN pip install --no-cache-dir "$PYSERVER" \\
    && useradd --uid 1000 --gid 0 --create-home --home-dir /opt/pyserver pyserver
"""
_REQUIREMENTS = """COPY requirements.txt /tmp/requirements.txt
RUN pip install --no-cache-dir --requirement /tmp/requirements.txt
"""
_ENVIRONMENT = """# Every model that names no environment of its own runs in this one, at the place where it was made.
COPY --from=environment {prefix} {prefix}
ENV MLSERVER_MODEL_ENVIRONMENT_PATH={prefix}
"""
_FOLDER = """WORKDIR /opt/pyserver
COPY --chown=1000:0 . {models}
# Any user of group 0 may run it, as OpenShift has it.
RUN chmod --recursive g=u /opt/pyserver
USER 1000
ENV MLSERVER_MODELS_DIR={models} \\
    PYTHONUNBUFFERED=1
EXPOSE 8080 8081 8082
STOPSIGNAL SIGTERM
CMD ["sh", "-c", "exec pyserver start \\"$MLSERVER_MODELS_DIR\\""]
"""


def dockerfile(folder: Path) -> str:
    """A Dockerfile whose image serves `folder`, in the environment that the folder describes where it describes one."""
    described = next((name for name in ENVIRONMENT_FILES if (folder / name).is_file()), None)
    required = (folder / REQUIREMENTS).is_file()
    text = _HEAD
    if described is not None:
        text += _CONDA.format(file=described, prefix=ENVIRONMENT)
        text += _REQUIREMENTS_OF_CONDA.format(prefix=ENVIRONMENT) if required else ""
    text += _SERVER.format(version=__version__)
    if described is not None:
        text += _ENVIRONMENT.format(prefix=ENVIRONMENT)
    elif required:
        text += _REQUIREMENTS
    return text + _FOLDER.format(models=MODELS)
