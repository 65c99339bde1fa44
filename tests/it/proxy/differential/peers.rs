//! The applications behind the differential's servers that do not speak HTTP: other people's, and our own.
//!
//! Not here: what they are asked (`gateways.txt`, `peers.txt`).

use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::{gateways, tools};

use super::Case;

/// All of them, running.
pub(super) struct Peers {
    /// Those that end when they are told to.
    orderly: Vec<Daemon>,
    /// It knows no orderly end.
    _fcgiwrap: Daemon,
}

impl Peers {
    /// `None`: one of them is not here, and the test is left out.
    pub(super) fn start(folder: &Folder) -> Option<Self> {
        let venv = tools::venv()?;
        let fpm_socket = folder.join("fpm.sock").display().to_string();
        let mut orderly = vec![
            gateways::php_fpm(folder, "fpm", &fpm_socket, 4)?,
            gateways::uwsgi(folder, "rooms:application")?,
            gateways::perl(folder, "fcgi.pl", "perl.sock")?,
        ];
        let fcgiwrap = gateways::fcgiwrap(folder, "fcgiwrap.sock")?;
        for protocol in ["uwsgi", "fastcgi"] {
            let socket = folder.join(format!("wsgi-{protocol}.sock"));
            let launch = Launch::trine("trine-wsgi")
                .args(["-w", "1", "--threads", "2", "--protocol", protocol])
                .arg("--chdir")
                .arg(tools::apps())
                .args(["-b", &format!("unix:{}", socket.display()), "rooms:app"])
                .env("VIRTUAL_ENV", &venv);
            orderly.push(launch.notify().start(folder).wait_ready());
        }
        gateways::flask_script(folder, &venv);
        orderly.push(gateways::cgi_helper(folder, &[]));
        Some(Self {
            orderly,
            _fcgiwrap: fcgiwrap,
        })
    }

    pub(super) fn stop(self) {
        self.orderly.into_iter().for_each(|peer| {
            peer.stop();
        });
    }
}

/// Puts their addresses in the place of their names in a configuration.
pub(super) fn named(text: &str, dir: &str) -> String {
    let mut text = text.to_owned();
    for (name, socket) in [
        ("@php@", "fpm"),
        ("@uwsgi@", "uwsgi"),
        ("@fastcgi@", "fastcgi"),
        ("@scgi@", "scgi"),
        ("@perl@", "perl"),
        ("@fcgiwrap@", "fcgiwrap"),
        ("@wsgi-uwsgi@", "wsgi-uwsgi"),
        ("@wsgi-fastcgi@", "wsgi-fastcgi"),
        ("@cgi@", "cgi"),
    ] {
        text = text.replace(name, &format!("unix:{dir}/{socket}.sock"));
    }
    text
}

/// The three protocols that tests/apps/rooms.py is asked by, and the variables that each of them needs.
const FAMILIES: [(&str, &str); 3] = [
    (
        "fastcgi",
        "include @params@/fastcgi_params; fastcgi_param SERVER_SOFTWARE x; fastcgi_param PATH_INFO $document_uri; fastcgi_param SCRIPT_NAME '';",
    ),
    ("uwsgi", "include @params@/uwsgi_params;"),
    (
        "scgi",
        "include @params@/scgi_params; scgi_param PATH_INFO $document_uri; scgi_param SCRIPT_NAME '';",
    ),
];

/// The case with `@F@`, its variables and its address filled in for each of the protocols; any other as it is.
pub(super) fn by_family(case: Case) -> Vec<Case> {
    if !case.server.contains("@F@") {
        return vec![case];
    }
    let each = FAMILIES.iter().map(|(family, vars)| {
        let fill = |text: &str| {
            text.replace("@vars@", vars)
                .replace("@sock@", &format!("@{family}@"))
                .replace("@F@", family)
        };
        Case {
            name: format!("{} ({family})", case.name),
            http: fill(&case.http),
            server: fill(&case.server),
            requests: case.requests.clone(),
        }
    });
    each.collect()
}
