"""Builds what is not plain Python: the compiled modules of csrc/ and the descriptors of proto/.

A source `csrc/pyserver/core/json.pyx` becomes the module `pyserver.core.json`: folder and dotted name agree, so
`import` and `cimport` do. A plain C source is written against the limited API that it names itself, and becomes one
`.abi3.so` for every interpreter from that version on. The messages of proto/ become one descriptor set, from which
`pyserver.proto` makes its classes at run time: no generated code, so any protobuf runtime serves. Type checkers get
stubs beside it. The modules in csrc/compiled.ini are compiled by mypyc as they stand.
"""

from __future__ import annotations

import os
import re
import sys
from configparser import ConfigParser
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


def libraries() -> dict[str, list[str]]:
    """The modules in csrc/compiled.ini, by the library that holds them."""
    listed = ConfigParser(allow_no_value=True)
    listed.read_string((ROOT / "csrc/compiled.ini").read_text())
    return {name: list(listed[name]) for name in listed.sections()}


def twins() -> list[Extension]:
    """One extension module for each module in csrc/compiled.ini, and their libraries.

    Types are checked by `make lint`, with all that is imported and the project's settings. Here the packages that are
    imported, which may be there or not, are not looked at, so that it makes no difference.
    """
    from mypyc.build import mypycify

    groups = libraries()
    options = ["--config-file=", "--no-site-packages", "--follow-imports=silent", "--ignore-missing-imports"]
    made: list[Extension] = mypycify(
        [*options, *(path for paths in groups.values() for path in paths)],
        opt_level="3",
        debug_level="0",
        separate=[(paths, name) for name, paths in groups.items()],
        target_dir="build/mypyc",
    )
    for extension in made:
        # A warning of a compiler that nobody has seen yet is no reason not to be installed.
        extension.extra_compile_args = [flag for flag in extension.extra_compile_args if flag != "-Werror"]
    return made


def extensions() -> list[Extension]:
    """One extension module for each .pyx and each .c below csrc/, and the twins of what is plain Python."""
    cython = [Extension(name, [path], extra_compile_args=["-O3"]) for name, path in sources(".pyx")]
    limited = [Extension(name, [path], extra_compile_args=["-O3"], py_limited_api=True) for name, path in sources(".c")]
    compiled = cythonize(cython, include_path=["csrc"], compiler_directives=DIRECTIVES, build_dir="build/cython")
    return [*compiled, *limited, *twins()]


class BuildProto(Command):
    """Compile proto/*.proto into pyserver/proto/messages.desc and a .pyi for each."""

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
        target = (ROOT if inplace else Path(self.build_lib or "")) / "pyserver/proto"
        target.mkdir(parents=True, exist_ok=True)
        arguments = ["protoc", f"-I{ROOT / 'proto'}", "--include_imports", f"--pyi_out={target}"]
        arguments.append(f"--descriptor_set_out={target / 'messages.desc'}")
        if protoc.main([*arguments, *(str(ROOT / path) for path in self.get_source_files())]) != 0:
            sys.exit("protoc failed: see its messages above")
        for path in sorted(target.glob("*_pb2.pyi")):
            self.name_stub(path)

    @staticmethod
    def name_stub(path: Path) -> None:
        """Give the stub the name of the module that it describes, and of those that it imports."""
        text = re.sub(r"^import (\w+)_pb2 as", r"import pyserver.proto.\1 as", path.read_text(), flags=re.MULTILINE)
        text = re.sub(r"^from (\w+)_pb2 import", r"from pyserver.proto.\1 import", text, flags=re.MULTILINE)
        path.with_name(path.name.replace("_pb2", "")).write_text(text)
        path.unlink()

    def get_source_files(self) -> list[str]:
        """For the sdist."""
        return [str(path.relative_to(ROOT)) for path in sorted((ROOT / "proto").glob("*.proto"))]

    def get_outputs(self) -> list[str]:
        """For editable installs."""
        folder = f"{self.build_lib}/pyserver/proto"
        return [f"{folder}/messages.desc", *(f"{folder}/{Path(path).stem}.pyi" for path in self.get_source_files())]

    def get_output_mapping(self) -> dict[str, str]:
        """For editable installs."""
        return {}


class BuildBackends(Command):
    """Copy backends/ into the package, where an installed server looks for its own; a checkout has them beside it."""

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
        """Copy."""
        if not self.editable_mode:
            for source, target in zip(self.get_source_files(), self.get_outputs(), strict=True):
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target)

    def get_source_files(self) -> list[str]:
        """For the sdist."""
        paths = sorted(path for path in (ROOT / "backends").rglob("*") if path.is_file() and path.suffix != ".pyc")
        return [str(path.relative_to(ROOT)) for path in paths]

    def get_outputs(self) -> list[str]:
        """For the wheel."""
        return [f"{self.build_lib}/pyserver/{source}" for source in self.get_source_files()]

    def get_output_mapping(self) -> dict[str, str]:
        """For editable installs."""
        return {}


class BuildExt(build_ext):
    """`build_ext --inplace` makes a checkout runnable: the messages as well."""

    def finalize_options(self) -> None:
        """As many compilers at a time as there are processors."""
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def run(self) -> None:
        """Compile the modules, then the messages if the build as a whole doesn't."""
        super().run()
        if self.inplace:
            self.run_command("build_proto")


class Build(build):
    """The messages and the backends are a part of every build."""

    sub_commands = [*build.sub_commands, ("build_proto", None), ("build_backends", None)]


setup(
    version=version(),
    packages=find_namespace_packages(include=["pyserver", "pyserver.*"]),
    package_data={
        "": ["*.pyi"],
        "pyserver": ["py.typed", "proto/*.desc", "cli/template/*", "cli/template/.*", "cli/template/tests/*"],
    },
    ext_modules=extensions(),
    cmdclass={"build": Build, "build_ext": BuildExt, "build_proto": BuildProto, "build_backends": BuildBackends},
)
