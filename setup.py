"""Builds what is not plain Python: the compiled modules of csrc/ and the descriptors of proto/.

A source `csrc/pyserver/core/json.pyx` becomes the module `pyserver.core.json`: folder and dotted name agree, so
`import` and `cimport` do. A plain C source is written against the limited API that it names itself, and becomes one
`.abi3.so` for every interpreter from that version on. The messages of proto/ become one descriptor set, from which
`pyserver.proto` makes its classes at run time: no generated code, so any protobuf runtime serves.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Command, Extension, find_namespace_packages, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
DIRECTIVES = {"language_level": "3", "boundscheck": False, "wraparound": False, "cdivision": True}


def version() -> str:
    """The version, read from the package without importing it."""
    text = (ROOT / "pyserver/__init__.py").read_text()
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert found, "pyserver/__init__.py has no __version__"
    return found[1]


def sources(suffix: str) -> list[tuple[str, str]]:
    """Dotted name and path of each source below csrc/ with this suffix."""
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "csrc").rglob(f"*{suffix}"))
    return [(".".join(path.relative_to("csrc").with_suffix("").parts), str(path)) for path in paths]


def extensions() -> list[Extension]:
    """One extension module for each .pyx and each .c below csrc/."""
    cython = [Extension(name, [path], extra_compile_args=["-O3"]) for name, path in sources(".pyx")]
    limited = [Extension(name, [path], extra_compile_args=["-O3"], py_limited_api=True) for name, path in sources(".c")]
    compiled = cythonize(cython, include_path=["csrc"], compiler_directives=DIRECTIVES, build_dir="build/cython")
    return [*compiled, *limited]


class BuildProto(Command):
    """Compile proto/*.proto into pyserver/proto/messages.desc."""

    description = __doc__
    user_options: list[tuple[str, str | None, str]] = []
    editable_mode = False
    build_lib: str | None

    def initialize_options(self) -> None:
        """Nothing is known yet."""
        self.build_lib = None

    def finalize_options(self) -> None:
        """Take the build folder from `build`."""
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def run(self) -> None:
        """Run protoc."""
        from grpc_tools import protoc

        inplace = self.editable_mode or self.get_finalized_command("build_ext").inplace
        target = (ROOT if inplace else Path(self.build_lib or "")) / "pyserver/proto/messages.desc"
        target.parent.mkdir(parents=True, exist_ok=True)
        sources = [str(path) for path in sorted((ROOT / "proto").glob("*.proto"))]
        arguments = ["protoc", f"-I{ROOT / 'proto'}", "--include_imports", f"--descriptor_set_out={target}", *sources]
        if protoc.main(arguments) != 0:
            sys.exit("protoc failed: see its messages above")

    def get_source_files(self) -> list[str]:
        """For the sdist."""
        return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "proto").glob("*.proto"))]

    def get_outputs(self) -> list[str]:
        """For editable installs."""
        return [f"{self.build_lib}/pyserver/proto/messages.desc"]

    def get_output_mapping(self) -> dict[str, str]:
        """For editable installs."""
        return {}


class BuildExt(build_ext):
    """`build_ext --inplace` makes a checkout runnable: the messages as well."""

    def run(self) -> None:
        """Compile the modules, then the messages if the build as a whole doesn't."""
        super().run()
        if self.inplace:
            self.run_command("build_proto")


class Build(build):
    """The messages are a part of every build."""

    sub_commands = [*build.sub_commands, ("build_proto", None)]


setup(
    version=version(),
    packages=find_namespace_packages(include=["pyserver", "pyserver.*"]),
    package_data={"pyserver": ["py.typed", "proto/*.desc", "proto/*.pyi"]},
    ext_modules=extensions(),
    cmdclass={"build": Build, "build_ext": BuildExt, "build_proto": BuildProto},
)
