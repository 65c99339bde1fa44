"""Calls every method of a supervisord's RPC interface, good and bad, and prints what came back, made comparable."""
import http.client
import json
import re
import socket
import sys
import time
import xmlrpc.client

path = sys.argv[1]
folder = path.rsplit("/", 1)[0]


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)


class UnixTransport(xmlrpc.client.Transport):
    def make_connection(self, host):
        return UnixConnection("localhost")


server = xmlrpc.client.ServerProxy("http://localhost", UnixTransport())


def plain(value, key=""):
    if isinstance(value, dict):
        return {name: plain(value[name], name) for name in sorted(value)}
    if isinstance(value, list) and value and all(isinstance(row, dict) and "status" in row for row in value):
        # The order is that in which processes happened to be done.
        value = sorted(value, key=lambda row: (row["group"], row["name"]))
    if isinstance(value, (list, tuple)):
        return [plain(one, key) for one in value]
    if key in ("pid", "now", "start", "stop") and isinstance(value, int):
        return "0" if value == 0 else "int"
    if isinstance(value, str):
        value = value.replace(folder, "DIR")
        value = re.sub(r"pid \d+, uptime [\d:]+", "pid P, uptime U", value)
        value = re.sub(r"[A-Z][a-z][a-z] \d\d \d\d:\d\d [AP]M", "DATE", value)
        value = re.sub(r"main---supervisor-\w+", "AUTO", value)
        value = re.sub(r"(std(out|err))---supervisor-\w+", r"\1-AUTO", value)
        return value.replace("4.3.0+trine.0.1.0", "4.3.0")
    return [type(value).__name__, value]


def call(name, *params):
    try:
        result = plain(server._ServerProxy__request(name, params))
    except xmlrpc.client.Fault as fault:
        result = {"fault": fault.faultCode, "text": plain(fault.faultString)}
    except xmlrpc.client.ProtocolError as error:
        result = {"status": error.errcode}
    if name.endswith("getPID"):
        result = result[0]
    print(json.dumps([name, params, result], sort_keys=True))
    return result


def wait(name, state):
    for _ in range(600):
        if server.supervisor.getProcessInfo(name)["statename"] == state:
            return
        time.sleep(0.05)
    sys.exit(f"{name} did not become {state}")


for name, state in [("cat", "RUNNING"), ("off", "STOPPED"), ("bad", "FATAL"), ("done", "EXITED")]:
    wait(name, state)

s = "supervisor."
for name in ["getAPIVersion", "getVersion", "getSupervisorVersion", "getIdentification", "getState", "getPID",
             "getAllProcessInfo", "getAllConfigInfo", "reloadConfig"]:
    call(s + name)
call("system.listMethods")
for method in server.system.listMethods():
    call("system.methodSignature", method)
call("system.methodSignature", "nope")
call("system.methodHelp", "nope")
for name in ["cat", "off", "bad", "done", "g:m", "g:*", "nobody", "g:nobody", ""]:
    call(s + "getProcessInfo", name)
    call(s + "signalProcess", name, "CONT")
call(s + "signalProcess", "cat", "NOPE")
call(s + "signalProcess", "cat", "18")
call(s + "signalProcessGroup", "g", "SIGCONT")
call(s + "signalProcessGroup", "nobody", "CONT")
call(s + "signalAllProcesses", "cont")
call(s + "sendProcessStdin", "cat", "hello é\n")
for _ in range(600):
    if "hello" in server.supervisor.readProcessStdoutLog("cat", 0, 0):
        break
    time.sleep(0.05)
call(s + "sendProcessStdin", "off", "x")
call(s + "sendProcessStdin", "nobody", "x")
call(s + "sendProcessStdin", "cat", 5)
for offset, length in [(0, 0), (0, 5), (3, 3), (100, 0), (-3, 0), (-3, 1), (0, -1)]:
    call(s + "readProcessStdoutLog", "cat", offset, length)
    call(s + "readProcessLog", "cat", offset, length)
    call(s + "readProcessStderrLog", "cat", offset, length)
    call(s + "tailProcessStdoutLog", "cat", offset, length)
    call(s + "tailProcessStderrLog", "cat", offset, length)
call(s + "readProcessStdoutLog", "nobody", 0, 0)
call(s + "tailProcessLog", "nobody", 0, 0)
call(s + "readLog", -1, 1)
call(s + "readMainLog", 0, -1)
call(s + "clearProcessLogs", "cat")
call(s + "clearProcessLog", "nobody")
call(s + "readProcessStdoutLog", "cat", 0, 0)
call(s + "clearAllProcessLogs")
call(s + "clearLog")
call(s + "startProcess", "cat")
call(s + "startProcess", "off")
call(s + "startProcess", "off", False)
call(s + "startProcess", "bad")
call(s + "startProcess", "nofile")
call(s + "startProcess", "noexec")
call(s + "startProcess", "nobody")
call(s + "startProcess", "g:*")
call(s + "startProcessGroup", "nobody")
call(s + "stopProcess", "off")
call(s + "stopProcess", "off")
call(s + "stopProcess", "nobody")
call(s + "stopProcessGroup", "g")
call(s + "startProcessGroup", "g")
call(s + "stopProcess", "g:*", True)
call(s + "startAllProcesses")
wait("done", "EXITED")
call(s + "stopAllProcesses")
call(s + "removeProcessGroup", "nobody")
call(s + "removeProcessGroup", "off")
call(s + "removeProcessGroup", "off")
call(s + "addProcessGroup", "off")
call(s + "addProcessGroup", "off")
call(s + "addProcessGroup", "nobody")
call(s + "startProcess", "cat")
call(s + "removeProcessGroup", "cat")
call(s + "sendRemoteCommEvent", "kind", "data é")
call("system.multicall", [
    {"methodName": s + "getState"},
    {"methodName": s + "getProcessInfo", "params": ["nobody"]},
    {"methodName": s + "stopProcess", "params": ["cat"]},
    {"methodName": s + "startProcess", "params": ["cat"]},
    {"methodName": "system.multicall", "params": [[]]},
    {"params": []},
    {"methodName": "nope"},
])
# Too few, too many.
call(s + "getState", 1)
call(s + "getProcessInfo")
call(s + "startProcess", "cat", True, 1)
# Names that are none, among them those of CVE-2017-11610.
for name in ["nope", "supervisor", "supervisor.nope", "supervisor._update", "nope.getState",
             "supervisor.supervisord.options.execve", "supervisor.supervisord.options.warnings.linecache.os.system",
             "supervisor.getState.__class__", "system.nope", "supervisor.", ".getState"]:
    call(name, "x")


def post(body, **headers):
    connection = UnixConnection("localhost")
    connection.request("POST", "/RPC2", body, headers)
    return connection.getresponse().status


entities = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
print(post("no xml"), post("<methodCall/>"))
connection = UnixConnection("localhost")
connection.request("GET", "/RPC2")
print(connection.getresponse().status)
if "ours" in sys.argv:
    # Stock expands entities.
    assert post(entities + "<methodCall><methodName>&b;</methodName></methodCall>") == 400
    assert post("<methodCall>", Origin="http://elsewhere") == 403
call(s + "shutdown")
