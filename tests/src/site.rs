//! A whole site in a temporary folder: proxy and WSGI server under the supervisor, on held sockets.
//! Not here: what is asked of it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{self, Client, Request};
use crate::control::Control;
use crate::daemon::{Daemon, Launch};
use crate::folder::Folder;
use crate::reply::Reply;
use crate::{port, tools, wait};

/// The three daemons, ready.
#[derive(Debug)]
pub struct Site {
    pub supervisor: Daemon,
    pub address: SocketAddr,
    // Last, so that the daemons end before their folder goes.
    pub folder: Folder,
}

impl Site {
    /// One of `examples/` as it stands there, but for the port. `None`: the test was left out.
    #[track_caller]
    #[must_use]
    pub fn example(name: &str) -> Option<Self> {
        Self::example_prepared(name, |_| {})
    }

    /// Like [`Site::example`], with a last hand laid on its folder before it starts.
    #[track_caller]
    #[must_use]
    pub fn example_prepared(name: &str, prepare: impl FnOnce(&Path)) -> Option<Self> {
        let venv = tools::venv()?;
        let folder = Folder::new();
        copy_folder(
            &tools::repository().join("examples").join(name),
            folder.path(),
        );
        let config = folder.read("supervisor.yaml");
        assert!(
            config.contains("127.0.0.1:8000"),
            "examples/{name}/supervisor.yaml names another address"
        );
        let address = port::free();
        folder.write(
            "supervisor.yaml",
            config.replace("127.0.0.1:8000", &address.to_string()),
        );
        prepare(folder.path());
        Some(Self::start(folder, address, &venv))
    }

    /// tests/apps/load.py, its requests noted in the file `journal`. Its WSGI server comes back after any end.
    #[track_caller]
    #[must_use]
    pub fn under_load(workers: usize, threads: usize) -> Option<Self> {
        let venv = tools::venv()?;
        let folder = Folder::new();
        let address = port::free();
        let apps = tools::apps();
        let journal = folder.join("journal");
        folder.write(
            "supervisor.yaml",
            format!(
                "control: run/supervisor.sock
programs:
  wsgi:
    command: [trine-wsgi, -c, wsgi.yaml]
    environment: {{ LOAD_JOURNAL: '{}' }}
    autorestart: true
    startsecs: 0s
    startretries: 20
    stopwaitsecs: 20s
    priority: 100
    sockets:
      app: {{ listen: 'unix:run/app.sock', mode: '0660', backlog: 2048 }}
    ready: notify
    stdout_logfile: logs/wsgi.log
    redirect_stderr: true
  proxy:
    command: [trine-proxy, -c, proxy.yaml]
    priority: 200
    sockets:
      http: '{address}'
    ready: notify
    stdout_logfile: logs/proxy.log
    redirect_stderr: true
",
                journal.display()
            ),
        );
        folder.write(
            "wsgi.yaml",
            format!(
                "wsgi_app: load:app
chdir: '{}'
bind: ['fd:app']
workers: {workers}
threads: {threads}
graceful_timeout: 15
control: run/wsgi.sock
",
                apps.display()
            ),
        );
        folder.write(
            "proxy.yaml",
            "control: run/proxy.sock
access_log: { path: logs/access.log, format: combined }
servers:
  - listen: ['fd:http']
    locations:
      - { path: /, proxy: app }
upstreams:
  app: { servers: ['unix:run/app.sock'], connect_timeout: 10s, read_timeout: 30s }
",
        );
        fs::create_dir_all(folder.join("run")).unwrap();
        fs::create_dir_all(folder.join("logs")).unwrap();
        Some(Self::start(folder, address, &venv))
    }

    #[track_caller]
    fn start(folder: Folder, address: SocketAddr, venv: &Path) -> Self {
        let supervisor = Launch::trine("trine-supervisor")
            .args(["-c", "supervisor.yaml"])
            .env("VIRTUAL_ENV", venv)
            .env("PATH", path_with_binaries())
            .start(&folder);
        let mut site = Self {
            supervisor,
            address,
            folder,
        };
        for program in ["wsgi", "proxy"] {
            site.wait_running(program);
        }
        site
    }

    /// Waits until the program is ready; fails at once when the supervisor ends.
    #[track_caller]
    fn wait_running(&mut self, program: &str) {
        let control = self.control();
        let start = Instant::now();
        while control.running(program).is_none() {
            let ended = self.supervisor.try_wait();
            assert!(
                ended.is_none() && start.elapsed() < wait::PATIENCE,
                "{program} is not ready; supervisor: {ended:?}\n{}\nlogs:\n{}{}{}",
                self.supervisor.output(),
                self.folder.read("logs/supervisor.log"),
                self.folder.read("logs/wsgi.log"),
                self.folder.read("logs/proxy.log")
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The supervisor's control socket.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.folder.join("run/supervisor.sock"))
    }

    #[must_use]
    pub fn proxy_control(&self) -> Control {
        Control::new(self.folder.join("run/proxy.sock"))
    }

    #[must_use]
    pub fn wsgi_control(&self) -> Control {
        Control::new(self.folder.join("run/wsgi.sock"))
    }

    #[track_caller]
    pub fn get(&self, target: &str) -> Reply {
        client::get(self.address, target)
    }

    #[track_caller]
    pub fn ask(&self, request: &Request) -> Reply {
        client::ask(self.address, request)
    }

    #[track_caller]
    #[must_use]
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// Stops everything, sees that nothing is left, and gives the folder with its logs.
    #[track_caller]
    pub fn stop(self) -> Folder {
        self.supervisor.stop();
        self.folder
    }
}

/// PATH with our binaries in front, for commands in configs that name them without a folder.
#[must_use]
pub fn path_with_binaries() -> String {
    let dir: PathBuf = tools::binary("trine-supervisor")
        .parent()
        .unwrap()
        .to_owned();
    format!(
        "{}:{}",
        dir.display(),
        std::env::var("PATH").unwrap_or_default()
    )
}

/// Copies an example, without what running it leaves behind.
pub fn copy_folder(from: &Path, to: &Path) {
    const LEFT_BEHIND: [&str; 5] = ["var", "__pycache__", ".trine", ".venv", "db.sqlite3"];
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if LEFT_BEHIND.iter().any(|left| name == *left) {
            continue;
        }
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy_folder(&entry.path(), &to.join(name));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}
