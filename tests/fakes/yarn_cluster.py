"""A YARN cluster on the loopback whose applications are processes, held until a test releases them."""

import contextlib
import os
import re
import subprocess
import sys
import threading
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.loopback import JsonHandler, serving

JOB = "import sys; from tests.fakes.held_job import run; run(sys.argv[1])"


@dataclass
class YarnCluster:
    """What a test sees of it. It also holds the jobs of spark-submit in client mode."""

    environment: dict
    url: str = ""
    trouble: int = 0
    applications: dict = field(default_factory=dict)
    #: The process and the spec of each job that has begun, in client mode too.
    begun: list = field(default_factory=list)
    #: The names of the applications that somebody has asked to kill, and to look at.
    killed: list = field(default_factory=list)
    looked_at: set = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)

    def submit(self, spec):
        name = f"application_1700000000000_{len(self.applications) + 1:04d}"
        environment = {**os.environ, **self.environment, "HELD_CLUSTER": self.url}
        self.applications[name] = subprocess.Popen([sys.executable, "-c", JOB, spec], env=environment)
        return name

    def hold(self, pid, spec):
        self.begun.append((int(pid), spec))
        self.released.wait()

    def look(self, name):
        self.looked_at.add(name)
        code = self.applications[name].poll()
        if code is None:
            return {"app": {"state": "RUNNING", "finalStatus": "UNDEFINED"}}
        final = "KILLED" if name in self.killed else "SUCCEEDED" if code == 0 else "FAILED"
        return {"app": {"state": "FINISHED", "finalStatus": final}}

    def kill(self, name):
        self.killed.append(name)
        self.applications[name].kill()

    def running(self):
        """The specs of the jobs whose processes run."""
        return sorted(spec for pid, spec in self.begun if _runs(pid))

    def end(self):
        for application in self.applications.values():
            application.kill()
            application.wait()
        self.released.set()


def _runs(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


class _Handler(JsonHandler):
    def do_GET(self):
        cluster, url = self.server.api, urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/held":
            cluster.hold(**query)
        name = self._application(url.path)
        if name is not None:
            self.answer(200, cluster.look(name)) if name in cluster.applications else self.answer(404, {})
        else:
            with contextlib.suppress(OSError):  # a killed job does not wait for its answer
                self.answer(200, cluster.submit(**query) if url.path == "/submit" else "go")

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.api.kill(self._application(self.path.removesuffix("/state")))
        self.answer(202, {})

    @staticmethod
    def _application(path):
        match = re.fullmatch(r"/ws/v1/cluster/apps/(application_\d+_\d+)", path)
        return match and match[1]


@contextlib.contextmanager
def yarn_cluster(**environment):
    """Run a cluster, whose jobs have these variables."""
    with serving(YarnCluster(environment), _Handler) as cluster:
        try:
            yield cluster
        finally:
            cluster.end()
