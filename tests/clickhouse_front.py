"""A ClickHouse server for tests: chDB behind ClickHouse's HTTP interface, in a process of its own.

``python tests/clickhouse_front.py --folder DIR --port-file FILE`` serves until its stdin is closed;
`ClickhouseFront` starts and stops it.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from clickhouse_faults import Fault

START_S = 60.0


class ClickhouseFront:
    """A server of one folder.

    Parameters
    ----------
    folder : Path
        What the server owns: the engine's files are in ``folder/data``.
    users : mapping of str to (str, int), optional
        Password and readonly level (0: may write, 1: may not, 2: may not but for settings) by name.
    tls : (Path, Path), optional
        Certificate and key: speak https.

    Attributes
    ----------
    port : int
        Where it listens; the same after `restart`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, tuple[str, int]] | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self.folder = folder
        self.users = dict(users or {"default": ("", 0)})
        self.tls = tls
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        port_file = self.folder / "port"
        port_file.unlink(missing_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, __file__, "--folder", str(self.folder / "data")]
        command += ["--port-file", str(port_file), "--port", str(self.port)]
        if self.tls is not None:
            command += ["--tls", *map(str, self.tls)]
        said = (self.folder / "stderr").open("wb")
        with said:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stderr=said,
                env=os.environ | {"FRONT_USERS": json.dumps(self.users)},
            )
        until = time.monotonic() + START_S
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError(f"no server: {(self.folder / 'stderr').read_text()}")
            time.sleep(0.005)
        self.port = int(port_file.read_text())

    def stop(self) -> None:
        """Stop in order; connections to the port are refused from now on."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            code = self._process.wait(START_S)
            self._process = None
            if code != 0:
                raise RuntimeError(f"stopped with {code}: {(self.folder / 'stderr').read_text()}")

    def kill(self) -> None:
        """Kill it as ``kill -9`` does."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.kill()
            self._process.wait(START_S)
            self._process.stdin.close()
            self._process = None

    def restart(self) -> None:
        """Stop if it runs, and start on the same port with the same folder."""
        self.stop()
        self.start()

    def url(self, database: str = "", *, user: str = "", password: str = "") -> str:
        """``http://[user[:password]@]127.0.0.1:PORT[/database]``."""
        login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
        base = f"{'https' if self.tls else 'http'}://{login + '@' if login else ''}127.0.0.1:{self.port}"
        return f"{base}/{database}" if database else base

    def client(self, **options: Any) -> Any:
        """Connect with clickhouse-connect; `options` are those of ``get_client``."""
        import clickhouse_connect

        return clickhouse_connect.get_client(host="127.0.0.1", port=self.port, **options)

    def peak_bytes(self) -> int:
        """Most memory that the server ever had."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def fail(self, kind: str, **values: Any) -> None:
        """Let something go wrong with the next requests: see `clickhouse_faults.Fault`."""
        Fault(kind, **values)
        self._ask({"kind": kind} | values)

    def heal(self) -> None:
        """Forget the faults that are to come, and the requests that were noted."""
        self._ask(None)

    def faults(self) -> list[dict[str, Any]]:
        """The faults that are to come."""
        return list(self._ask()["faults"])

    def requests(self, match: str = "") -> list[dict[str, Any]]:
        """The statements asked for since `heal` with a text in them: statement, user, database, settings."""
        return [request for request in self._ask()["requests"] if match in request["statement"]]

    def __enter__(self) -> ClickhouseFront:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask(self, *values: Any) -> dict[str, Any]:
        data = json.dumps(values[0]).encode() if values else None
        context = ssl._create_unverified_context() if self.tls else None
        with urlopen(Request(f"{self.url()}/_front", data), timeout=START_S, context=context) as answer:
            return dict(json.load(answer))


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 and localhost that signs itself; the files of it and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += [
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
    ]
    command += ["-out", str(certificate), "-keyout", str(key)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def main() -> None:
    """Serve until stdin is closed, which also happens when whoever started this is gone."""
    parser = argparse.ArgumentParser(description="ClickHouse's HTTP interface in front of chDB.")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port-file", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERT", "KEY"))
    asked = parser.parse_args()
    from clickhouse_http import Front

    users = json.loads(os.environ.get("FRONT_USERS", '{"default": ["", 0]}'))
    front = Front(asked.port, asked.folder, users)
    if asked.tls:
        front.encrypt(*asked.tls)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    written = asked.port_file.with_suffix(".new")
    written.write_text(str(front.server_address[1]))
    written.rename(asked.port_file)
    sys.stdin.buffer.read()
    threading.Timer(START_S / 4, os._exit, [1]).start()
    front.stop()
    os._exit(0)


if __name__ == "__main__":
    main()
