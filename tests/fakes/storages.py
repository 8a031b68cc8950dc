"""File systems in memory, with the ways of HDFS and of object stores; a test may act before each of their steps."""

import uuid


class PutStorage:
    """As S3: a file is there as a whole once it is put, there are no directories, and a put may ask that nothing be there.

    Args:
        files: the content per path; several storages may share it.
        step: called before each step.
    """

    def __init__(self, files, step=lambda: None):
        self.files, self.step = files, step

    def exists(self, path):
        self.step()
        return path in self.files or any(name.startswith(f"{path}/") for name in self.files)

    def read_bytes(self, path, limit=None):
        self.step()
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path][:limit]

    def write_bytes(self, path, content, *, within=None):
        self.step()
        self.files[path] = content

    def create_bytes(self, path, content):
        self.step()
        if path in self.files:
            raise FileExistsError(path)
        self.files[path] = content

    def delete(self, path):
        self.step()
        self.files.pop(path, None)

    def list_names(self, directory):
        self.step()
        inside = (path.removeprefix(f"{directory}/") for path in self.files if path.startswith(f"{directory}/"))
        return sorted({name.partition("/")[0] for name in inside})


class RenameStorage(PutStorage):
    """As HDFS: a file is written under another name, which everybody sees, and then renamed, over another file or not."""

    def write_bytes(self, path, content, *, within=None):
        part = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}"
        super().write_bytes(part, content)
        self.step()
        self.files[path] = self.files.pop(part)

    def create_bytes(self, path, content):
        part = f"{path.rpartition('/')[0]}/.{uuid.uuid4().hex}"
        super().write_bytes(part, content)
        self.step()
        if path in self.files:
            raise FileExistsError(path)
        self.files[path] = self.files.pop(part)


class Stepped:
    """Another storage, with a function that is called before each operation."""

    def __init__(self, storage, step):
        self._storage, self._step = storage, step

    def __getattr__(self, name):
        operation = getattr(self._storage, name)

        def run(*arguments, **options):
            self._step()
            return operation(*arguments, **options)

        return run


class Interruption:
    """A step that calls a function, the n-th time that it is taken, counted from 0."""

    def __init__(self, at, interrupt):
        self.steps = 0
        self._at, self._interrupt = at, interrupt

    def __call__(self):
        self.steps += 1
        if self.steps == self._at + 1:
            self._interrupt()

    @property
    def happened(self):
        return self.steps > self._at
