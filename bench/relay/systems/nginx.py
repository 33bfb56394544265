"""A bare nginx as the limit: one worker, kept-alive connections to the upstream, no buffering, no log."""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import urlsplit

from bench.relay import environments
from bench.relay.processes import free_port
from bench.relay.systems.base import System

_CONFIGURATION: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
{user}
events {{ worker_connections 16384; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_requests 1000000;
  tcp_nodelay on;
  upstream provider {{
    server {upstream};
    keepalive 1024;
    keepalive_requests 1000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 1h;
    }}
  }}
}}
"""


class Nginx(System):
    """nginx as a plain reverse proxy for streams."""

    name = "nginx"

    def install(self) -> None:
        self._binary = environments.nginx()
        self.version = environments.nginx_version(self._binary)

    def start(self, upstream_url: str) -> None:
        port, folder = free_port(), self.folder()
        # A worker of root's nginx becomes `nobody`, who can't write into the folder.
        user = "user root;" if os.geteuid() == 0 else ""
        text = _CONFIGURATION.format(folder=folder, user=user, upstream=urlsplit(upstream_url).netloc, port=port)
        (folder / "nginx.conf").write_text(text)
        self._launch([self._binary, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"], port)
