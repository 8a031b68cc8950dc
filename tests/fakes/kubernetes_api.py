"""The API of Kubernetes on the loopback, as far as a driver's pod goes: it has the phases that a test sets."""

import json
import threading
from contextlib import contextmanager

from tests.fakes.loopback import JsonHandler, serving

POD = "spark-0123abc-driver"
PATH = f"/api/v1/namespaces/jobs/pods/{POD}"


class KubernetesApi:
    """What the test sees of it."""

    def __init__(self):
        self.url = ""
        #: The pod's phase at each look; the last goes on; "deleted" where it is gone.
        self.phases = ["Running", "Succeeded"]
        self.terminated = {}
        #: HTTP status of every answer, if it is no 200.
        self.trouble = 0
        self.deletions = []
        self.authorizations = set()
        self.looked_at = threading.Event()

    def look(self):
        phase = self.phases.pop(0) if len(self.phases) > 1 else self.phases[0]
        self.looked_at.set()
        if phase == "deleted":
            return 404, {"kind": "Status", "reason": "NotFound"}
        container = {
            "name": "spark-kubernetes-driver", "image": "spark", "imageID": "", "ready": True, "restartCount": 0,
            "state": {"terminated": self.terminated} if self.terminated else {},
        }  # fmt: skip
        return 200, {"kind": "Pod", "status": {"phase": phase, "containerStatuses": [container]}}


class Handler(JsonHandler):
    def do_GET(self):
        self.answer(*self.server.api.look())

    def do_DELETE(self):
        api = self.server.api
        if not api.trouble:
            api.deletions.append(self.path)
            api.phases = ["deleted"]
        self.answer(200, {"kind": "Pod"})

    def answer(self, status, content):
        self.server.api.authorizations.add(self.headers.get("Authorization"))
        assert self.path.startswith(PATH)
        super().answer(status, content)


@contextmanager
def kubernetes_api(config_file):
    """The API, with the configuration file of a user of it."""
    with serving(KubernetesApi(), Handler) as api:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": api.url}}],
            "users": [{"name": "ada", "user": {"token": "token-of-ada"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "ada"}}],
        }
        config_file.write_text(json.dumps(config))
        yield api
