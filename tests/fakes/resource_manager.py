"""A YARN ResourceManager's REST API on the loopback: applications go through the states that a test sets."""

import json
import re
import threading
import time

from tests.fakes.loopback import JsonHandler, serving

APPLICATION = "application_1700000000000_0001"


class ResourceManager:
    """What the test sees of it."""

    def __init__(self):
        self.url = ""
        #: What an application is at each look; the last goes on.
        self.states = ["RUNNING", "SUCCEEDED"]
        self.diagnostics = ""
        #: HTTP status of every answer, if it is no 200.
        self.trouble = 0
        #: How long it takes to answer.
        self.delay_s = 0.0
        self.ignores_kills = False
        self.kills = []
        self.looks = 0
        self.authorizations = set()
        self.looked_at = threading.Event()

    def look(self):
        self.looks += 1
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        self.looked_at.set()
        final = state if state in ("SUCCEEDED", "FAILED", "KILLED") else "UNDEFINED"
        running = {"SUCCEEDED": "FINISHED"}.get(state, state)
        return {"app": {"state": running, "finalStatus": final, "diagnostics": self.diagnostics}}

    def kill(self, application):
        self.kills.append(application)
        if not self.ignores_kills:
            self.states = ["KILLED"]


class Handler(JsonHandler):
    def do_GET(self):
        manager = self.server.api
        time.sleep(manager.delay_s)
        self.answer(200, manager.look()) if self.application() else self.answer(404, {})

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body == {"state": "KILLED"}
        if not self.server.api.trouble:
            self.server.api.kill(self.application("/state"))
        self.answer(202, body)

    def application(self, suffix=""):
        manager = self.server.api
        manager.authorizations.add(self.headers.get("Authorization"))
        match = re.fullmatch(rf"/ws/v1/cluster/apps/(application_\d+_\d+){suffix}", self.path)
        return match and manager.states != ["unknown"] and match[1]


def resource_manager():
    return serving(ResourceManager(), Handler)
