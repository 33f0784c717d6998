"""Calls the services of `kfp_server_api`, whose method names differ between the two supported versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ApiService:
    """One service of Kubeflow's API.

    `service.list_runs` is the generated method `list_runs` of kfp_server_api 2.0, or
    `run_service_list_runs` of 2.16. Arguments without a default must be positional: their names differ too.

    Args:
        service: The generated client of the service.
        prefix: The prefix of the method names in 2.16.
    """

    def __init__(self, service: Any, prefix: str) -> None:
        self._service = service
        self._prefix = prefix

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] | None = getattr(self._service, name, None)
        return method or getattr(self._service, f"{self._prefix}_{name}")  # type: ignore[no-any-return]
