"""A real nginx with the configuration of ``deploy/``, on a free port of this machine."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import wait_for

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "nginx.conf"
MAIN = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {sites}
}}
"""


@contextmanager
def nginx(folder: Path, to: str, *, strips: bool = True) -> Iterator[str]:
    """Run it before a server at ``to``, as an upstream is written; its URL.

    ``strips``: whether it takes off the path below which it serves ``example.org``.
    """
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "nginx is missing: run make nginx"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    sites = re.sub(r"server unix:\S+;", f"server {to};", CONFIGURATION.read_text())
    sites = sites.replace("listen 80;", f"listen 127.0.0.1:{port};")
    if not strips:
        sites = sites.replace("proxy_pass http://tallycast/;", "proxy_pass http://tallycast;")
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(folder=folder, sites=sites))
    with subprocess.Popen([program, "-p", folder, "-c", main], stdin=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: _accepts(port) or process.poll() is not None, "nginx")
            assert process.poll() is None, "nginx ended"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
