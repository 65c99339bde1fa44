//! The guide's chapter on rewriting: each example is served, and each request below it asked.
//!
//! Not here: whether nginx answers the same (`differential`).

use std::fmt::Write as _;

use e2e::client::{Request, ask};
use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::port;
use e2e::upstream::Upstream;

const CHAPTER: &str = include_str!("../../../docs/proxy/rewriting.md");

/// The text of each block of this language, and where it stands.
fn blocks(language: &str) -> Vec<(usize, String)> {
    let mut all = Vec::new();
    let mut now: Option<(usize, String)> = None;
    for (number, line) in CHAPTER.lines().enumerate() {
        match &mut now {
            Some(_) if line == "```" => all.extend(now.take()),
            Some((_, text)) => _ = writeln!(text, "{line}"),
            None if line.strip_prefix("```") == Some(language) => {
                now = Some((number + 1, String::new()));
            }
            None => {}
        }
    }
    all
}

#[test]
fn examples_answer_as_the_chapter_says() {
    let examples = blocks("nginx");
    let answers = blocks("text");
    assert!(examples.len() == answers.len() && examples.len() > 7);
    for ((line, example), (_, answers)) in examples.iter().zip(&answers) {
        let folder = Folder::new();
        for (name, text) in [
            ("a.txt", "a file\n"),
            ("sub/index.html", "an index\n"),
            ("closed.html", "closed\n"),
            ("closed.flag", ""),
        ] {
            folder.write(&format!("site/{name}"), text);
        }
        let app = Upstream::start(|request, conversation| {
            let text = format!("{} {}\n", request.method, request.target);
            let status = if request.target == "/session" {
                "401 No"
            } else {
                "200 OK"
            };
            conversation.reply(status, text.as_bytes())
        });
        let (http, server) = match example.split_once("# server\n") {
            Some((http, server)) => (http, server),
            None => ("", example.as_str()),
        };
        let addr = port::free();
        let text = format!(
            "worker_processes 1; error_log error.log; pid proxy.pid; events {{}}\nhttp {{ access_log off;\n\
             upstream app {{ server {}; }}\n{http}\nserver {{ listen {addr};\n{server}\n}} }}\n",
            app.addr()
        );
        let site = folder.join("site").display().to_string();
        folder.write("nginx.conf", text.replace("/srv/site", &site));
        let launch = Launch::trine("trine-proxy").args(["-c", "nginx.conf"]);
        let proxy = launch.notify().start(&folder).wait_ready();
        for asked in answers.lines() {
            let mut words = asked.split_whitespace();
            let (method, target) = (words.next().unwrap(), words.next().unwrap());
            let want = words.collect::<Vec<_>>().join(" ");
            let reply = ask(
                addr,
                &Request::new(method, target).header("Host", "site.test"),
            );
            let mut got = reply.status.to_string();
            if let Some(location) = reply.header("location") {
                let _ = write!(got, " {location}");
            } else if want.contains(' ') {
                let _ = write!(got, " {}", reply.text().trim_end());
            }
            let got = got.replace(&format!(":{}", addr.port()), "");
            assert_eq!(got, want, "line {line}: {asked}");
        }
        proxy.stop();
    }
}
