# SPDX-License-Identifier: MIT
"""Configurations of the programs that take theirs from a file: one thread, one process, no logs."""

NGINX_HEAD = """\
daemon off;
master_process off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 8192; }}
"""

CONFIGS = {
    "haproxy.cfg": """\
global
    nbthread 1
    maxconn 8000
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend front
    bind 127.0.0.1:{port}
    default_backend back
backend back
    server target 127.0.0.1:{sink}
""",
    "stream.conf": "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n" + NGINX_HEAD + """\
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_pass 127.0.0.1:{sink};
        tcp_nodelay on;
    }}
}}
""",
    "http.conf": NGINX_HEAD + """\
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    server {{
        listen 127.0.0.1:{port};
        location / {{ return 200 "Hello, World!"; }}
    }}
}}
""",
}


def write(template, folder, port, sink):
    """Those that the template names, into the folder."""
    for name, text in CONFIGS.items():
        if name in template:
            (folder / name).write_text(text.format(folder=folder, port=port, sink=sink))
