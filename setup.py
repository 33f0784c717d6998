from setuptools import find_packages, setup

PACKAGES = ("rankdistill", "eventlog", "models", "components", "pipeline", "experiments")

setup(
    packages=[
        *find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
        # Installed inside `rankdistill`, because a top-level `schema` could clash with another distribution.
        "rankdistill.schema",
    ],
    package_dir={"rankdistill.schema": "schema"},
    package_data={
        "rankdistill": ["py.typed"],
        "rankdistill.schema": ["*.pbtxt", "*.json"],
        "pipeline": ["configs/*.yaml"],
        "experiments": ["configs/*.yaml"],
    },
)
