//! Replacements that drain: no request may fail.

use e2e::client::Address;
use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::load::{Load, Mix};
use e2e::site::{self, Site};
use e2e::{port, process, tools, wait};
use nix::sys::signal::Signal;

use super::{flowing, mix};

#[test]
fn a_terminated_wsgi_server_is_replaced_without_loss() {
    for threads in [1, 4] {
        let Some(site) = Site::under_load(2, threads) else {
            return;
        };
        let load = flowing(&site);
        let mut arbiter = site.control().wait_running("wsgi");
        for _ in 0..3 {
            process::signal(arbiter, Signal::SIGTERM);
            arbiter = site.control().wait_replaced("wsgi", arbiter);
            load.wait_for_more(100);
        }
        load.stop().assert_none_failed();
        site.stop();
    }
}

#[test]
fn trine_restart_of_the_wsgi_program_loses_nothing() {
    let Some(site) = Site::under_load(2, 1) else {
        return;
    };
    let load = flowing(&site);
    for _ in 0..3 {
        let before = site.control().wait_running("wsgi");
        let restart = Launch::trine("trine")
            .args(["--run-dir", "."])
            .args(["restart", "wsgi"]);
        let (code, output) = daemon::run(restart, &site.folder);
        assert_eq!(code, 0, "{output}");
        assert_ne!(site.control().wait_running("wsgi"), before, "{output}");
        load.wait_for_more(100);
    }
    load.stop().assert_none_failed();
    site.stop();
}

#[test]
fn a_reload_of_the_proxy_loses_nothing() {
    let Some(site) = Site::under_load(2, 1) else {
        return;
    };
    let proxy = site.control().wait_running("proxy");
    let load = flowing(&site);
    for round in 0..6 {
        let config = site.folder.read("proxy.yaml");
        site.folder
            .write("proxy.yaml", format!("{config}# round {round}\n"));
        if round % 2 == 0 {
            site.proxy_control().post("/v1/reload");
        } else {
            process::signal(proxy, Signal::SIGHUP);
        }
        load.wait_for_more(60);
    }
    // A configuration that cannot be used is refused, and the old one serves on.
    site.folder.write("proxy.yaml", "servers: 7\n");
    let refused = site
        .proxy_control()
        .call(e2e::client::Request::post("/v1/reload", ""))
        .unwrap();
    assert!(refused.status >= 400, "{}", refused.text());
    assert!(
        refused.text().contains("proxy.yaml:1"),
        "{}",
        refused.text()
    );
    load.wait_for_more(60);
    load.stop().assert_none_failed();
    assert_eq!(site.control().wait_running("proxy"), proxy);
    site.stop();
}

#[test]
fn a_reload_of_the_wsgi_server_loses_nothing() {
    let Some(site) = Site::under_load(2, 1) else {
        return;
    };
    let arbiter = site.control().wait_running("wsgi");
    let load = flowing(&site);
    for _ in 0..3 {
        let before = process::children(arbiter);
        process::signal(arbiter, Signal::SIGHUP);
        wait::until("new workers instead of the old", || {
            let now = process::children(arbiter);
            (now.len() == 2 && now.iter().all(|pid| !before.contains(pid))).then_some(())
        });
        load.wait_for_more(60);
    }
    load.stop().assert_none_failed();
    assert_eq!(site.control().wait_running("wsgi"), arbiter);
    site.stop();
}

/// Each request on a connection of its own, as after a proxy's restart every client must connect anew.
#[test]
fn a_restart_of_the_proxy_refuses_nobody() {
    let Some(site) = Site::under_load(2, 1) else {
        return;
    };
    let load = Load::start(
        site.address,
        &Mix {
            close: true,
            ..mix()
        },
    );
    load.wait_for_more(50);
    for _ in 0..3 {
        let before = site.control().wait_running("proxy");
        site.control().post("/v1/programs/proxy/restart?wait=true");
        assert_ne!(site.control().wait_running("proxy"), before);
        load.wait_for_more(50);
    }
    load.stop().assert_none_failed();
    site.stop();
}

/// Without a supervisor of ours: two generations overlap on one socket, as under systemd or by a deployer's hand.
#[test]
fn two_wsgi_servers_overlap_on_one_socket_behind_the_proxy() {
    let Some(venv) = tools::venv() else { return };
    let folder = Folder::new();
    // A Unix socket, where a draining worker can tell the proxy for certain what it has not read.
    let socket = port::listening_unix(&folder.join("app.sock"));
    let journal = folder.join("journal");
    let start = || {
        Launch::trine("trine-wsgi")
            .args(["-w", "2", "-b", "fd:app", "--chdir"])
            .arg(tools::apps())
            .arg("load:app")
            .env("VIRTUAL_ENV", &venv)
            .env("LOAD_JOURNAL", &journal)
            .listener("app", socket.try_clone().unwrap())
            .notify()
            .start(&folder)
            .wait_ready()
    };
    let address = port::free();
    folder.write(
        "proxy.yaml",
        format!("servers:\n  - listen: ['{address}']\n    locations:\n      - {{ path: /, proxy: 'unix:app.sock' }}\n"),
    );
    let mut old = start();
    let proxy = Launch::trine("trine-proxy")
        .args(["-c", "proxy.yaml"])
        .env("PATH", site::path_with_binaries())
        .notify()
        .start(&folder)
        .wait_ready();
    let load = Load::start(Address::from(address), &mix());
    load.wait_for_more(100);
    for _ in 0..3 {
        let new = start();
        old.stop();
        old = new;
        load.wait_for_more(100);
    }
    load.stop().assert_none_failed();
    proxy.stop();
    old.stop();
}
