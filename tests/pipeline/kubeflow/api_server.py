"""A test server with the used part of Kubeflow Pipelines' v2beta1 API, which can fail on purpose."""

import http.server
import json
import re
import threading
import urllib.parse

BASE = "/apis/v2beta1"


class ApiServer:
    """Starts at 127.0.0.1 on a free port.

    Attributes:
        pipelines: `display_name` and `versions` (by id) of each pipeline, by id.
        recurring: Bodies of the requests for recurring runs, by id.
        runs: Bodies of the requests for runs, in order.
        fail: Statuses of the next answers; later requests are served.
        answers: Request, such as `POST /runs` -> statuses that replace its next answers, after the server
            has acted; 0 breaks the connection.
        token: Bearer token that every request must have; None for none.
        login_page: Whether every answer is a login page, as from a proxy.
        states: States of the next state requests; later ones get `SUCCEEDED`.
    """

    def __init__(self):
        self.pipelines, self.recurring, self.experiments = {}, {}, {}
        self.runs, self.fail, self.states, self.requests = [], [], [], []
        self.answers, self.token, self.login_page = {}, None, False
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                status, content = outer.handle(self.command, self.path, self.headers, body)
                if not status:
                    return
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
        request = f"{method} {path.partition('?')[0].removeprefix(BASE)}"
        self.requests.append(request)
        status, content = self.serve(method, path, headers, body)
        if self.answers.get(request):
            return self.answers[request].pop(0), {"message": "on purpose"}
        return status, content

    def serve(self, method, path, headers, body):
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
        found = matches(self.pipelines, "pipeline_id", query)
        return 200, {"pipelines": [without(entry, "versions") for entry in found]} if found else {}

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
        versions[key] = {"display_name": name, "has_spec": b"pipelineInfo" in body}
        return key

    def list_versions(self, query, _, pipeline):
        found = matches(self.pipelines[pipeline]["versions"], "pipeline_version_id", query)
        return 200, {"pipeline_versions": [without(entry, "has_spec") for entry in found]} if found else {}

    def list_experiments(self, query, _):
        found = matches(self.experiments, "experiment_id", query)
        return 200, {"experiments": found} if found else {}

    def create_experiment(self, _, body):
        key = f"e{len(self.experiments)}"
        self.experiments[key] = {"display_name": json.loads(body)["display_name"]}
        return 200, {"experiment_id": key, **self.experiments[key]}

    def list_recurring(self, query, _):
        found = matches(self.recurring, "recurring_run_id", query)
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


def matches(entries, id_name, query):
    """The entries with the display name of the query's filter, each with its id."""
    (predicate,) = json.loads(query["filter"])["predicates"]
    assert predicate["key"] == "display_name"
    name = predicate["stringValue"]
    return [{id_name: key, **entry} for key, entry in entries.items() if entry["display_name"] == name]


def without(entry, key):
    return {name: value for name, value in entry.items() if name != key}
