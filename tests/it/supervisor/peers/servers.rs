//! When the HTTP servers, the log and the pid file of a changed file take effect: the same commands, sent to supervisord
//! and to us.

use std::net::SocketAddr;
use std::thread;

use e2e::client::{Client, Request};
use e2e::folder::Folder;
use e2e::{port, tools, wait};
use nix::sys::signal::Signal;

use super::lanes::{Lane, Whose};

const PROGRAM: &str = "[program:sleeper]\ncommand=/bin/sleep 1000\nstartsecs=0\n";

/// The status of an answer; `None`: nobody listens.
fn answer(address: SocketAddr) -> Option<u16> {
    // A socket that is being closed may take a connection and drop it.
    let connected = Client::try_connect(&address.into()).ok();
    let reply = connected?.try_ask(&Request::get("/ok.html")).ok()?;
    Some(reply.status)
}

#[test]
fn a_restart_binds_servers_anew_and_an_update_does_not() {
    let Some(venv) = tools::venv() else { return };
    thread::scope(|scope| {
        for whose in [Whose::Stock, Whose::Ours] {
            let venv = &venv;
            scope.spawn(move || {
                let (first, second) = (port::free(), port::free());
                let on = |address: SocketAddr, more: &str| {
                    format!("{PROGRAM}[inet_http_server]\nport={address}\n{more}")
                };
                let mut lane = Lane::start(whose, venv, &on(first, ""));
                let becomes = |what: &str, address, want: Option<u16>| {
                    wait::until(&format!("{whose:?}: {what}"), || {
                        (answer(address) == want).then_some(())
                    });
                };
                becomes("its first server", first, Some(200));
                lane.rewrite(&on(second, "[program:fresh]\ncommand=/bin/sleep 1000\n"));
                let (code, text) = lane.ctl(Whose::Ours, "update");
                assert_eq!(
                    (code, text.as_str()),
                    (0, "fresh: added process group\n"),
                    "{whose:?}"
                );
                assert_eq!(
                    (answer(first), answer(second)),
                    (Some(200), None),
                    "{whose:?}"
                );
                assert_eq!(
                    lane.ctl(Whose::Ours, "reload"),
                    (0, "Restarted supervisord\n".to_owned())
                );
                becomes("the server of the file", second, Some(200));
                becomes("the end of the first one", first, None);
                let credentials = "username=u\npassword=p\n";
                lane.rewrite(&on(second, credentials));
                lane.daemon.signal(Signal::SIGHUP);
                becomes("a server that asks who it is", second, Some(401));
                lane.rewrite(PROGRAM);
                lane.daemon.signal(Signal::SIGHUP);
                becomes("no server", second, None);
                wait::until("the one that stays", || {
                    let (code, text) = lane.ctl(Whose::Ours, "status sleeper");
                    (code == 0 && text.contains("RUNNING")).then_some(())
                });
            });
        }
    });
}

#[test]
fn a_restart_takes_up_another_log_and_pid_file_and_an_update_does_not() {
    let Some(venv) = tools::venv() else { return };
    thread::scope(|scope| {
        for whose in [Whose::Stock, Whose::Ours] {
            let venv = &venv;
            scope.spawn(move || {
                let mut lane = Lane::start(whose, venv, PROGRAM);
                let started = format!("INFO supervisord started with pid {}\n", lane.daemon.pid());
                let pid = format!("{}\n", lane.daemon.pid());
                let is_there = |folder: &Folder, name: &str| folder.join(name).exists();
                let becomes = |lane: &Lane, what: &str, holds: &dyn Fn(&Folder) -> bool| {
                    wait::until(&format!("{whose:?}: {what}"), || {
                        holds(&lane.folder).then_some(())
                    });
                };
                becomes(&lane, "its first log", &|folder| {
                    folder.read("main.log").contains(&started)
                });
                becomes(&lane, "its first pid file", &|folder| {
                    folder.read("main.pid") == pid
                });

                // Renamed and shorter: with 100 bytes, every line or two begins the file anew.
                let conf = lane.folder.read("supervisord.conf");
                let changed = conf
                    .replace("main.log\n", "logs.txt\nlogfile_maxbytes=100\n")
                    .replace("main.pid", "other.pid");
                lane.folder.write("supervisord.conf", &changed);
                assert_eq!(lane.ctl(Whose::Ours, "update").0, 0, "{whose:?}");
                assert!(!is_there(&lane.folder, "logs.txt"), "{whose:?}");
                assert!(!is_there(&lane.folder, "other.pid"), "{whose:?}");
                lane.daemon.signal(Signal::SIGHUP);
                becomes(&lane, "its other pid file", &|folder| {
                    folder.read("other.pid") == pid
                });
                becomes(&lane, "its other log", &|folder| {
                    let all = folder.read("logs.txt") + &folder.read("logs.txt.1");
                    all.contains("spawned: 'sleeper'") && is_there(folder, "logs.txt.1")
                });
                let old = lane.folder.read("main.log");
                let last = old.lines().last().unwrap_or_default();
                assert!(
                    old.matches(&started).count() == 1 && last.contains("stopped: sleeper"),
                    "{whose:?}: {old}"
                );
                // The update has made supervisord forget that it wrote this one.
                assert_eq!(
                    is_there(&lane.folder, "main.pid"),
                    whose == Whose::Stock,
                    "{whose:?}"
                );

                // By the command, back to where it was.
                lane.folder.write("supervisord.conf", &conf);
                let said = lane.ctl(Whose::Ours, "reload");
                assert_eq!(said, (0, "Restarted supervisord\n".to_owned()), "{whose:?}");
                becomes(&lane, "its first log again", &|folder| {
                    folder.read("main.log").matches(&started).count() == 2
                });
                becomes(&lane, "its first pid file again", &|folder| {
                    folder.read("main.pid") == pid && !is_there(folder, "other.pid")
                });
            });
        }
    });
}
