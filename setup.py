"""The C extension; all else that there is to say about the project is in pyproject.toml."""

from pathlib import Path

import numpy
from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "scoring._kernel",
            sources=sorted(map(str, Path("scoring").glob("*.c"))),
            depends=sorted(map(str, Path("scoring").glob("*.h"))),
            include_dirs=[numpy.get_include()],
            # Sums must be rounded as numpy's are; the processor's own instructions are chosen when it runs.
            extra_compile_args=["-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"],
            # Without a compiler Telltale installs all the same, and scores with numpy.
            optional=True,
        )
    ]
)
