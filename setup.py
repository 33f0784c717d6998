from setuptools import find_packages, setup

PACKAGES = ("rankdistill", "eventlog", "models", "components", "pipeline", "experiments")

setup(
    packages=[
        *find_packages(include=[pattern for name in PACKAGES for pattern in (name, f"{name}.*")]),
        # Data. A top-level `schema` in site-packages would be anybody's.
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
