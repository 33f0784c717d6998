"""A server that speaks as much of Kubeflow Pipelines' v2beta1 API as is asked of it, and fails on purpose."""

import http.server
import json
import re
import threading
import urllib.parse

BASE = "/apis/v2beta1"


class ApiServer:
    """Starts at 127.0.0.1 on a port of the system's choosing.

    Attributes:
        pipelines: By id: `display_name`, and `versions` by id.
        recurring: By id, the request's body.
        runs: In order, the request's bodies.
        fail: Statuses to answer the next requests with, before any is served.
        token: What `Authorization` must carry; None: nothing is asked for.
        login_page: Whether a proxy in front answers everything with one.
        states: What runs end with, in order; `SUCCEEDED` afterwards.
    """

    def __init__(self):
        self.pipelines, self.recurring, self.experiments = {}, {}, {}
        self.runs, self.fail, self.states, self.requests = [], [], [], []
        self.token, self.login_page = None, False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                status, content = outer.handle(self.command, self.path, self.headers, body)
                content = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - http.server names them

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()

    def handle(self, method, path, headers, body):
        self.requests.append(f"{method} {path.partition('?')[0].removeprefix(BASE)}")
        if self.login_page:
            return 200, "<html>Log in</html>"
        if self.fail:
            return self.fail.pop(0), {"message": "on purpose"}
        if self.token and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"message": "no valid token"}
        url = urllib.parse.urlsplit(path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        for pattern, served in ROUTES.items():
            match = re.fullmatch(pattern, f"{method} {url.path.removeprefix(BASE)}")
            if match and url.path.startswith(BASE):
                return served(self, query, body, *match.groups())
        return 404, {"message": f"no {path}"}

    def list_pipelines(self, query, _):
        found = [{"pipeline_id": key, **one} for key, one in self.pipelines.items() if named(one, query)]
        return 200, {"pipelines": [without(each, "versions") for each in found]} if found else {}

    def upload(self, query, body):
        key = f"p{len(self.pipelines)}"
        self.pipelines[key] = {"display_name": query["name"], "versions": {}}
        self.add_version(key, query["name"], body)
        return 200, {"pipeline_id": key, "display_name": query["name"]}

    def upload_version(self, query, body):
        if query["pipelineid"] not in self.pipelines:
            return 404, {"message": "no such pipeline"}
        key = self.add_version(query["pipelineid"], query["name"], body)
        return 200, {"pipeline_id": query["pipelineid"], "pipeline_version_id": key}

    def add_version(self, pipeline, name, body):
        versions = self.pipelines[pipeline]["versions"]
        key = f"{pipeline}v{len(versions)}"
        versions[key] = {"display_name": name, "has": b"pipelineInfo" in body}
        return key

    def list_versions(self, query, _, pipeline):
        versions = self.pipelines[pipeline]["versions"]
        found = [{"pipeline_version_id": key, **one} for key, one in versions.items() if named(one, query)]
        return 200, {"pipeline_versions": [without(each, "has") for each in found]} if found else {}

    def list_experiments(self, query, _):
        found = [{"experiment_id": key, **one} for key, one in self.experiments.items() if named(one, query)]
        return 200, {"experiments": found} if found else {}

    def create_experiment(self, _, body):
        key = f"e{len(self.experiments)}"
        self.experiments[key] = {"display_name": json.loads(body)["display_name"]}
        return 200, {"experiment_id": key, **self.experiments[key]}

    def list_recurring(self, query, _):
        found = [{"recurring_run_id": key, **one} for key, one in self.recurring.items() if named(one, query)]
        return 200, {"recurringRuns": found} if found else {}

    def create_recurring(self, _, body):
        key = f"r{len(self.requests)}"
        self.recurring[key] = json.loads(body)
        return 200, {"recurring_run_id": key, **self.recurring[key]}

    def delete_recurring(self, _, __, key):
        del self.recurring[key]
        return 200, {}

    def create_run(self, _, body):
        self.runs.append(json.loads(body))
        return 200, {"run_id": f"run{len(self.runs)}"}

    def get_run(self, _, __, key):
        state = self.states.pop(0) if self.states else "SUCCEEDED"
        return 200, {"run_id": key, "state": state}


ROUTES = {
    "GET /pipelines": ApiServer.list_pipelines,
    "POST /pipelines/upload": ApiServer.upload,
    "POST /pipelines/upload_version": ApiServer.upload_version,
    "GET /pipelines/([^/]+)/versions": ApiServer.list_versions,
    "GET /experiments": ApiServer.list_experiments,
    "POST /experiments": ApiServer.create_experiment,
    "GET /recurringruns": ApiServer.list_recurring,
    "POST /recurringruns": ApiServer.create_recurring,
    "DELETE /recurringruns/([^/]+)": ApiServer.delete_recurring,
    "POST /runs": ApiServer.create_run,
    "GET /runs/([^/]+)": ApiServer.get_run,
}


def named(entry, query):
    (predicate,) = json.loads(query["filter"])["predicates"]
    assert predicate["key"] == "display_name"
    return entry["display_name"] == predicate["stringValue"]


def without(entry, key):
    return {name: value for name, value in entry.items() if name != key}
