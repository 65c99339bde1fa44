//! Two php-fpm servers on machines of their own (network namespaces). While clients ask, one is cut off from the net, comes back,
//! is cut off again and killed there; then the other is killed: every request is answered.

use std::process::Command;
use std::time::Duration;

use e2e::daemon::{Daemon, Launch};
use e2e::folder::Folder;
use e2e::load::{Load, Mix};
use e2e::{gateways, process, tools, wait};
use nix::sys::signal::Signal;

/// Three machines: the proxy's, and one for each server with a cable to it.
struct Net {
    proxy: String,
    servers: [String; 2],
}

impl Net {
    /// `None`: this machine does not let us, and the test is left out.
    fn new() -> Option<Self> {
        let name = |what: &str| format!("te{what}{}", std::process::id());
        let net = Self {
            proxy: name("p"),
            servers: [name("a"), name("b")],
        };
        for one in [&net.proxy, &net.servers[0], &net.servers[1]] {
            if let Err(why) = ip(&["netns", "add", one]) {
                tools::skip_where_impossible(&format!("no network namespaces: {why}"));
                return None;
            }
        }
        for (number, server) in net.servers.iter().enumerate() {
            let cable = format!("cable{number}");
            let (here, there) = (format!("10.9.{number}.1/24"), net.address(number) + "/24");
            let steps: [&[&str]; 5] = [
                &[
                    "-n", &net.proxy, "link", "add", &cable, "type", "veth", "peer", "name", "net",
                    "netns", server,
                ],
                &["-n", &net.proxy, "addr", "add", &here, "dev", &cable],
                &["-n", server, "addr", "add", &there, "dev", "net"],
                &["-n", &net.proxy, "link", "set", &cable, "up"],
                &["-n", server, "link", "set", "net", "up"],
            ];
            for step in steps {
                if let Err(why) = ip(step) {
                    tools::skip_where_impossible(&format!("no cables between namespaces: {why}"));
                    return None;
                }
            }
        }
        Some(net)
    }

    fn address(&self, server: usize) -> String {
        format!("10.9.{server}.2")
    }

    fn pull(&self, server: usize, direction: &str) {
        let cable = format!("cable{server}");
        ip(&["-n", &self.proxy, "link", "set", &cable, direction]).unwrap();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for one in [&self.proxy, &self.servers[0], &self.servers[1]] {
            let _was_never_made = ip(&["netns", "del", one]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

#[track_caller]
fn server(net: &Net, folder: &Folder, number: usize, name: &str) -> Option<Daemon> {
    let listen = format!("{}:9000", net.address(number));
    gateways::php_fpm_on(folder, name, &listen, 8, Some(&net.servers[number]))
}

/// The master first, which would start others in the place of its children.
fn kill(server: &Daemon) {
    let processes = process::descendants(server.pid());
    for pid in std::iter::once(server.pid()).chain(processes.iter().copied()) {
        process::signal(pid, Signal::SIGKILL);
    }
    processes.into_iter().for_each(process::wait_gone);
}

#[test]
fn a_server_that_is_cut_off_and_one_that_is_killed_lose_nothing() {
    let Some(net) = Net::new() else { return };
    let folder = Folder::new();
    let (Some(first), Some(second)) = (
        server(&net, &folder, 0, "first"),
        server(&net, &folder, 1, "second"),
    ) else {
        return;
    };
    folder.write(
        "proxy.conf",
        format!(
            "error_log stderr info; events {{}} http {{ access_log access.log said;
             log_format said '$status $upstream_addr';
             upstream php {{ server {}:9000 fail_timeout=1s; server {}:9000 fail_timeout=1s; }}
             server {{ listen unix:front.sock; location / {{ include {}/fastcgi.conf;
                 fastcgi_param SCRIPT_FILENAME {}/dump.php;
                 fastcgi_connect_timeout 1s; fastcgi_read_timeout 2s; fastcgi_pass php; }} }} }}",
            net.address(0),
            net.address(1),
            tools::repository().join("deploy/params").display(),
            tools::apps().join("php").display(),
        )
        .replace(
            "unix:front.sock",
            &format!("unix:{}", folder.join("front.sock").display()),
        )
        .replace(
            "access.log said;",
            &format!("{} said;", folder.join("access.log").display()),
        ),
    );
    let proxy = Launch::program("ip")
        .args(["netns", "exec", &net.proxy])
        .arg(tools::binary("trine-proxy"))
        .args(["-c", "proxy.conf"])
        .notify()
        .start(&folder)
        .wait_ready();
    let mix = Mix {
        connections: 6,
        gets: vec!["/?{id}"],
        post: None,
        pause: Duration::from_millis(2),
        close: false,
    };
    let answered = |number: usize| {
        let ending = format!("{}:9000", net.address(number));
        let log = folder.read("access.log");
        log.lines().filter(|line| line.ends_with(&ending)).count()
    };
    let answers_again = |number: usize, what: &str| {
        let before = answered(number);
        wait::until(what, || (answered(number) > before + 20).then_some(()));
    };
    let load = Load::start(folder.join("front.sock"), &mix);
    answers_again(0, "answers of the first server");
    answers_again(1, "answers of the second server");

    net.pull(0, "down");
    // Whoever was at the first server is answered by the second.
    load.wait_for_more(200);
    net.pull(0, "up");
    answers_again(0, "the first server to be asked again");

    // Cut off and killed: nothing tells the proxy until the cable is there again, and then nobody listens.
    net.pull(0, "down");
    kill(&first);
    load.wait_for_more(100);
    net.pull(0, "up");
    load.wait_for_more(100);
    drop(first);
    let Some(first) = server(&net, &folder, 0, "first-again") else {
        return;
    };
    answers_again(0, "the first server, which was started again");

    kill(&second);
    load.wait_for_more(200);
    drop(second);
    let Some(again) = server(&net, &folder, 1, "again") else {
        return;
    };
    answers_again(1, "the second server to be asked again");

    let report = load.stop();
    report.assert_none_failed();
    // With its end the log is whole.
    proxy.stop();
    let log = folder.read("access.log");
    assert_eq!(
        log.lines().count(),
        report.answers.len(),
        "every request is in the log"
    );
    let moved = log.lines().filter(|line| line.contains(", ")).count();
    assert!(moved > 0, "no request was asked of both");
    first.stop();
    again.stop();
}
