"""Checkpoints of a plan's tasks in storage that has an address, as s3://bucket/runs: an archive for each task."""

from pipeline.errors import UserError


def is_address(storage: str | None) -> bool:
    """Whether it is an address, as opposed to a folder or nothing."""
    return storage is not None and "://" in storage


class Archives:
    """A plan's archives, by name, in a file system that pyarrow.fs opens, as Ray's own storage does.

    Args:
        address: "s3://bucket/folder", "gs://bucket/folder", "file:///folder"; keys are looked for where the
            provider's own tools look for them.
        plan: name of the plan's folder there.
    Raises:
        UserError: pyarrow is not installed, or nothing can be written there.
    """

    def __init__(self, address: str, plan: str):
        try:
            from pyarrow import fs
        except ImportError as error:
            raise UserError(
                '--storage with an address needs pyarrow; install it with: pip install -e ".[cluster]"'
            ) from error
        try:
            self.system, folder = fs.FileSystem.from_uri(address)
            self.folder = f"{folder}/{plan}"
            self.system.create_dir(self.folder, recursive=True)
        except (OSError, ValueError) as error:
            raise UserError(f"--storage {address} cannot be written to ({error})") from error
        self.missing = fs.FileType.NotFound

    def read(self, name: str) -> bytes | None:
        """An archive; None where there is none of that name."""
        if not self._exists(name):
            return None
        with self.system.open_input_stream(self._path(name)) as file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Put an archive in the place of the one before, whole or not at all."""
        part = self._path(f"{name}.part")
        with self.system.open_output_stream(part) as file:
            file.write(content)
        self.system.move(part, self._path(name))

    def delete(self, name: str) -> None:
        """Remove an archive if it is there."""
        if self._exists(name):
            self.system.delete_file(self._path(name))

    def _exists(self, name: str) -> bool:
        return self.system.get_file_info(self._path(name)).type != self.missing

    def _path(self, name: str) -> str:
        return f"{self.folder}/{name}.tar"
