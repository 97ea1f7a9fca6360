"""Files on other machines: real local servers for S3, HTTPS and SFTP."""

from __future__ import annotations

import asyncio
import gzip
import http.server
import io
import json
import os
import ssl
import tarfile
import threading
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trustme
import urllib3

from kpanic.shipper.api import hide_secrets
from kpanic.shipper.contract import crash_text
from kpanic.shipper.inputs import remote
from tests.engines.dask import Dask
from tests.shipper.test_cli import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.process
FLEET = {
    "consoles/web1/console.log": crash_text(1),
    "consoles/web2/console.log.gz": gzip.compress(crash_text(2)),
    "consoles/db1/2026/console.log": crash_text(3),
    "crash/web3-2021-04-29-20:32:26/vmcore-dmesg.txt": crash_text(4),
    "crash/web3-2021-04-29-20:32:26/vmcore": b"KDUMP   " + bytes(100),
}


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("var/log/kern.log")
        info.size = len(crash_text(5))
        archive.addfile(info, io.BytesIO(crash_text(5)))
    return out.getvalue()


def pids(out: str) -> list[int]:
    return [json.loads(line)["process"]["pid"] for line in out.splitlines()]


def hosts(out: str) -> list[str]:
    return [json.loads(line)["host"].get("name", "") for line in out.splitlines()]


@pytest.fixture
def kpanic(tmp_path: Path) -> Run:
    return Run(tmp_path)


@pytest.fixture
def s3(kpanic: Run) -> Iterator[str]:
    """A bucket of moto's server."""
    import boto3  # noqa: PLC0415 - slow to import
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    urllib3.request("POST", f"http://{host}:{port}/moto-api/reset")  # it keeps buckets until the process ends
    kpanic.environment |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "very-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    client = boto3.client(
        "s3",
        endpoint_url=f"http://{host}:{port}",
        aws_access_key_id="key",
        aws_secret_access_key="very-secret",  # noqa: S106
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="fleet")
    for name, content in {**FLEET, "sos/web4.tar.gz": tar()}.items():
        client.put_object(Bucket="fleet", Key=name, Body=content)
    kpanic.put = lambda name, content: client.put_object(Bucket="fleet", Key=name, Body=content)  # type: ignore[attr-defined]
    try:
        yield "s3://fleet"
    finally:
        server.stop()
        client.close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def end_headers(self) -> None:
        self.send_header("ETag", f'"{self.path}"')
        super().end_headers()


@contextmanager
def served(kpanic: Run, handler: Callable[..., http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve HTTPS with a certificate of a private CA, which the command trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(kpanic.folder / "ca.pem"))
    kpanic.environment["SSL_CERT_FILE"] = str(kpanic.folder / "ca.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def https(kpanic: Run, tmp_path: Path) -> Iterator[str]:
    """The same files from a web server."""
    root = tmp_path / "www"
    for name, content in FLEET.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "web4.tar").write_bytes(gzip.decompress(tar()))
    with served(kpanic, partial(Quiet, directory=str(root))) as url:
        yield url


@pytest.fixture
def sftp(kpanic: Run, tmp_path: Path) -> Iterator[str]:
    """The same files from an SFTP server with a known host key."""
    import asyncssh  # noqa: PLC0415

    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    kpanic.environment["HOME"] = str(home)
    for name, content in FLEET.items():
        (tmp_path / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)
    key = asyncssh.generate_private_key("ssh-ed25519")

    class Password(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return bool(username)

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return (username, password) == ("reader", "open/sesame")

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def started() -> asyncssh.SSHAcceptor:
        return await asyncssh.create_server(
            Password, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=True
        )

    async def stopped() -> None:
        server.close()
        await server.wait_closed()

    server = asyncio.run_coroutine_threadsafe(started(), loop).result(30)
    port = server.get_port()
    (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {key.export_public_key().decode()}")
    try:
        yield f"sftp://reader:open%2Fsesame@127.0.0.1:{port}{tmp_path}/files"
    finally:
        asyncio.run_coroutine_threadsafe(stopped(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_objects_are_parsed_by_name_pattern_and_folder(kpanic: Run, s3: str) -> None:
    assert pids(kpanic("parse", f"{s3}/consoles/web1/console.log")[0]) == [1001]
    assert pids(kpanic("parse", f"{s3}/consoles/web*/*.log*")[0]) == [1001, 1002]
    assert pids(kpanic("parse", f"{s3}/**/console.log*")[0]) == [1003, 1001, 1002]
    kpanic.put("old.tar/console.log", crash_text(8))  # type: ignore[attr-defined]
    assert pids(kpanic("parse", s3)[0]) == [1003, 1001, 1002, 1004, 1008, 1005]
    assert pids(kpanic("parse", f"{s3}/sos/*.tar.gz/var/log/*")[0]) == [1005]
    assert pids(kpanic("parse", "--jobs", "2", s3)[0]) == [1003, 1001, 1002, 1004, 1008, 1005]
    _, said = kpanic("parse", f"{s3}/db*/*", code=1)
    assert said == f"kpanic: {s3}/db*/*: matches no file\n"
    assert (
        pids(kpanic("parse", f"{s3}/old.tar")[0]) == pids(kpanic("parse", f"{s3}/old.tar/con*")[0]) == [1008]
    )
    out, _ = kpanic("explain", "--format", "json", f"{s3}/consoles/web1/console.log")
    assert len(out.splitlines()) == 1


def test_the_host_of_an_object_comes_from_its_url(kpanic: Run, s3: str) -> None:
    out, _ = kpanic("parse", "--host-from-path", f"{s3}/consoles/{{host}}", s3)
    assert hosts(out) == ["db1", "web1", "web2", "web3", ""]
    assert [json.loads(line)["log"]["file"]["path"] for line in out.splitlines()][-1] == (
        f"{s3}/sos/web4.tar.gz/var/log/kern.log"
    )


def test_unchanged_shipped_files_are_not_read_again(kpanic: Run, s3: str) -> None:
    _, said = kpanic("ship", "--dry-run", s3)
    assert "5 files: 5 new, 0 shipped before" in said
    _, said = kpanic("ship", s3)
    assert "5 files, 5 crashes: 5 new" in said
    _, said = kpanic("ship", s3)
    assert said.splitlines()[0] == "0 files, 0 crashes: 0 new"
    assert "5 files shipped before and unchanged: not read (--again reads them)" in said
    kpanic.put("consoles/web1/console.log", crash_text(1) + crash_text(6))  # type: ignore[attr-defined]
    kpanic.put("consoles/web9/console.log.gz", gzip.compress(crash_text(9))[:-9])  # type: ignore[attr-defined]
    _, said = kpanic("ship", s3, code=1)
    assert "2 files, 3 crashes: 2 new, 1 known already" in said
    assert f"kpanic: {s3}/consoles/web9/console.log.gz: is cut off" in said
    _, said = kpanic("ship", s3, code=1)
    assert "1 file, 1 crash: 0 new" in said, "a damaged file is read again: it may be whole by then"
    _, said = kpanic("ship", "--again", "--host-from-path", f"{s3}/consoles/{{host}}", f"{s3}/consoles/web1")
    assert "1 file, 2 crashes: 2 new" in said


def test_workers_of_a_scheduler_read_objects_with_their_own_credentials(
    kpanic: Run, s3: str, tmp_path: Path
) -> None:
    (tmp_path / "dask").mkdir()
    dask = Dask(tmp_path / "dask", 1, kpanic.environment)
    dask.start()
    try:
        _, err = kpanic("ship", "--on", dask.address, f"{s3}/consoles", f"{s3}/sos")
        assert "4 files, 4 crashes: 4 new" in err
        _, err = kpanic("ship", "--on", dask.address, f"{s3}/consoles", f"{s3}/sos")
        assert "4 files shipped before and unchanged" in err
    finally:
        dask.stop()


def test_an_object_store_that_refuses_or_lacks_an_object_is_reported_without_secrets(
    kpanic: Run, s3: str
) -> None:
    _, said = kpanic("parse", f"{s3}/nothing.log", "s3://nowhere/x", code=1)
    assert said.splitlines() == [
        f"kpanic: {s3}/nothing.log: does not exist",
        "kpanic: s3://nowhere/x: does not exist",
    ]
    kpanic.environment["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1"
    _, said = kpanic("parse", f"{s3}/consoles/web1/console.log", code=1)
    assert "cannot be read" in said
    assert "very-secret" not in said


def test_pages_of_links_are_read_over_https(kpanic: Run, https: str) -> None:
    assert pids(kpanic("parse", f"{https}/consoles/web1/console.log")[0]) == [1001]
    assert pids(kpanic("parse", f"{https}/consoles/web*/*")[0]) == [1001, 1002]
    assert pids(kpanic("parse", f"{https}/web4.tar")[0]) == [1005], "from a server that sends no ranges"
    out, _ = kpanic("parse", "--host-from-path", f"{https}/consoles/{{host}}", f"{https}/consoles/")
    assert sorted(hosts(out)) == ["db1", "web1", "web2"]
    _, said = kpanic("ship", f"{https}/consoles/web*/*")
    assert "2 files, 2 crashes: 2 new" in said
    _, said = kpanic("ship", f"{https}/consoles/web*/*")
    assert "0 files, 0 crashes: 0 new" in said
    del kpanic.environment["SSL_CERT_FILE"]
    _, said = kpanic("parse", f"{https}/consoles/web1/console.log", code=1)
    assert "certificate" in said.lower()


class Hostile(Quiet):
    """Answers with endless folders, pages and files."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/plain" if self.path.endswith(".log") else "text/html")
        self.send_header("accept-ranges", "bytes")
        self.send_header("content-length", str(1 << 40))
        self.end_headers()

    def do_GET(self) -> None:
        page = {"deep": b'<a href="a/">a</a>', "slow": b"<a" + b" " * 100_000 + b'<a href="x.log">'}.get(
            self.path.split("/")[1]
        )
        self.send_response(200 if page else 206)
        self.send_header("content-type", "text/html")
        self.send_header("connection", "close")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(page or b"")
            while not page:
                self.wfile.write(bytes(1 << 20))


def test_a_web_server_that_makes_up_answers_is_left(kpanic: Run) -> None:
    with served(kpanic, Hostile) as url:
        _, said = kpanic("ship", f"{url}/deep/", code=1)
        assert "is in more than 100 nested folders and is left out" in said
        for path in ("long/", "long/console.log"):
            _, said = kpanic("ship", f"{url}/{path}", code=1)
            assert "the answer is larger than 32 MB" in said
        _, said = kpanic("ship", f"{url}/slow/", code=1)
        assert "/slow/x.log: could not be read to its end" in said


def test_a_presigned_url_is_read_and_its_secret_is_nowhere(kpanic: Run, https: str) -> None:
    url = f"{https}/consoles/web1/console.log"
    out, said = kpanic("parse", f"{url}?X-Amz-Signature=0123456789abcdef&X-Amz-Expires=60")
    assert pids(out) == [1001]
    assert json.loads(out)["log"]["file"]["path"] == url
    _, said = kpanic("parse", f"{https}/none?sig=0123456789abcdef", code=1)
    assert f"kpanic: {https}/none: does not exist" in said
    assert "0123456789abcdef" not in out + said


def test_files_are_read_over_sftp_from_a_host_whose_key_is_known(kpanic: Run, sftp: str) -> None:
    out, said = kpanic("parse", f"{sftp}/consoles/web*/*")
    assert pids(out) == [1001, 1002]
    assert "sesame" not in out + said
    out, said = kpanic("parse", sftp.replace("sesame", "closed-door"), code=1)
    assert "closed-door" not in out + said
    (Path(kpanic.environment["HOME"]) / ".ssh" / "known_hosts").write_text("")
    _, said = kpanic("parse", f"{sftp}/consoles/web1/console.log", code=1)
    assert "not trusted" in said
    assert "sesame" not in said


def test_a_library_that_is_missing_is_named_with_the_command_that_brings_it(kpanic: Run) -> None:
    (kpanic.folder / "missing").mkdir()
    for module in ("s3fs", "gcsfs", "adlfs", "pyarrow", "sshfs", "aiohttp"):
        (kpanic.folder / "missing" / f"{module}.py").write_text("raise ImportError")
    kpanic.environment["PYTHONPATH"] = os.pathsep.join(
        [str(kpanic.folder / "missing"), kpanic.environment["PYTHONPATH"]]
    )
    for scheme in ("s3", "gs", "abfs", "hdfs", "sftp", "https"):
        _, said = kpanic("parse", f"{scheme}://host/console.log", code=1)
        assert said == (
            f"kpanic: {scheme}://host/console.log: needs a library: pip install 'kpanic[{scheme}]'\n"
        ), scheme


def test_a_password_and_a_query_are_cut_off_and_hidden() -> None:
    assert remote.without_secrets("sftp://me:p%40ss-word@host:22/a?b") == "sftp://me@host:22/a?b"
    assert remote.without_secrets("https://host/a?sig=abcdefgh&x=1#y") == "https://host/a"
    assert remote.without_secrets("s3://bucket/a?b*") == "s3://bucket/a?b*"
    assert hide_secrets("p@ss-word abcdefgh") == "[secret] [secret]"
