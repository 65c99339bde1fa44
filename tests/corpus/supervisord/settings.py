"""Prints what Supervisor makes of configuration files, one JSON object for each file: its settings, or its refusal."""

import json
import os
import shlex
import socket
import sys

from supervisor.datatypes import Automatic, RestartUnconditionally, RestartWhenExitUnexpected
from supervisor.events import getEventNameByType
from supervisor.loggers import LevelsByName
from supervisor.options import EventListenerPoolConfig, FastCGIGroupConfig, ServerOptions

LEVELS = {number: name for name, number in vars(LevelsByName).items() if isinstance(number, int)}
LEVEL_NAMES = {"CRIT": "critical", "ERRO": "error", "WARN": "warn", "INFO": "info", "DEBG": "debug", "TRAC": "trace",
               "BLAT": "blather"}


class Refused(Exception):
    pass


class Options(ServerOptions):
    def usage(self, message):
        raise Refused(str(message))


def logfile(value):
    if value is Automatic:
        return "auto"
    return "none" if value is None else os.path.abspath(value)


def words(command):
    try:
        return shlex.split(command)
    except ValueError:  # told when it is started
        return []


def restart(value):
    return {RestartUnconditionally: "always", RestartWhenExitUnexpected: "unexpected"}.get(value, "never")


def process(config, group):
    found = {
        "group_priority": group.priority,
        "command": config.command,
        "argv": words(config.command),
        "directory": config.directory and os.path.abspath(config.directory),
        "environment": config.environment,
        "autorestart": restart(config.autorestart),
        "exitcodes": config.exitcodes,
        "serverurl": config.serverurl,
        "stdout_logfile": logfile(config.stdout_logfile),
        "stderr_logfile": logfile(config.stderr_logfile),
    }
    for key in ("priority autostart startsecs startretries stopsignal stopwaitsecs stopasgroup killasgroup uid umask "
                "redirect_stderr stdout_logfile_maxbytes stdout_logfile_backups stdout_capture_maxbytes "
                "stdout_events_enabled stdout_syslog stderr_logfile_maxbytes stderr_logfile_backups "
                "stderr_capture_maxbytes stderr_events_enabled stderr_syslog").split():
        found[key] = getattr(config, key)
    if isinstance(group, FastCGIGroupConfig):
        s = group.socket_config
        found["socket"] = {"url": s.url, "backlog": s.get_backlog(), "mode": getattr(s, "mode", None),
                           "owner": getattr(s, "owner", None)}
    return found


def server(config):
    if config["family"] == socket.AF_UNIX:
        found = {"address": "unix:" + config["file"], "mode": config["chmod"], "owner": config["chown"]}
    else:
        found = {"address": "%s:%d" % (config["host"], config["port"])}
    found["username"], found["password"] = config["username"], config["password"]
    return found


def settings(path):
    options = Options()
    try:
        options.realize(["-c", path])
    except (Refused, SystemExit) as why:
        return {"refused": str(why)}
    except Exception as why:  # a traceback is a refusal too
        return {"refused": "%s: %s" % (type(why).__name__, why)}
    section = options.configroot.supervisord
    found = {
        "log": options.logfile, "log_max_bytes": options.logfile_maxbytes, "log_backups": options.logfile_backups,
        "level": LEVEL_NAMES[LEVELS[options.loglevel]], "pidfile": options.pidfile, "umask": options.umask,
        "nodaemon": bool(options.nodaemon), "silent": bool(options.silent), "minfds": options.minfds,
        "minprocs": options.minprocs, "nocleanup": bool(options.nocleanup), "childlogdir": options.childlogdir,
        "uid": getattr(options, "uid", None), "directory": options.directory, "strip_ansi": bool(options.strip_ansi),
        "identifier": options.identifier, "url": options.serverurl,
        "rpc": [name for name, _, _ in section.rpcinterface_factories],
        "servers": {config["section"]: server(config) for config in section.server_configs},
        "groups": {}, "processes": {},
    }
    for group in options.process_group_configs:
        entry = {"priority": group.priority}
        if isinstance(group, EventListenerPoolConfig):
            entry["events"] = sorted(getEventNameByType(event) for event in group.pool_events)
            entry["buffer_size"] = group.buffer_size
        found["groups"][group.name] = entry
        for config in group.process_configs:
            found["processes"]["%s:%s" % (group.name, config.name)] = process(config, group)
    return found


for path in sys.argv[1:]:
    print(json.dumps({"file": path, **settings(path)}))
