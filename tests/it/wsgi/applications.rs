//! Applications of several frameworks on both kinds of worker, and a WebSocket that flask-sock makes of
//! `gunicorn.socket`. Django and Flask as whole sites are in `together`.

use e2e::client::{Client, Request, ask, get};
use e2e::folder::Folder;
use e2e::{tools, websocket};

use super::start;

/// With one thread, then with several.
const KINDS: [&[&str]; 2] = [&[], &["--threads", "3"]];

#[test]
fn frameworks_say_hello_and_give_bodies_back() {
    let Some(venv) = tools::venv() else { return };
    for framework in ["falcon", "bottle", "pyramid", "flask"] {
        for kind in KINDS {
            let folder = Folder::new();
            let app = format!("frameworks:with_{framework}()");
            let (server, address) = start(&venv, &folder, &[kind, &[app.as_str()]].concat());
            let hello = get(address.clone(), "/hello");
            assert_eq!(
                (hello.status, hello.text()),
                (200, format!("hello from {framework}"))
            );
            for size in [0, 5, 300_000, 3_000_000] {
                let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
                let reply = ask(address.clone(), &Request::post("/echo", body.clone()));
                assert_eq!(reply.status, 200, "{framework}: {}", reply.text());
                assert!(
                    reply.body == body,
                    "{framework}: {size} bytes came back changed"
                );
            }
            assert_eq!(get(address, "/nothing").status, 404, "{framework}");
            server.stop();
        }
    }
}

#[test]
fn a_web_socket_by_gunicorn_socket() {
    let Some(venv) = tools::venv() else { return };
    for kind in KINDS {
        let folder = Folder::new();
        let app = ["frameworks:with_flask()"];
        let (server, address) = start(&venv, &folder, &[kind, &app].concat());
        for _ in 0..3 {
            let mut client = Client::connect(address.clone());
            websocket::upgrade(&mut client, "/socket");
            for word in ["one", "two"] {
                websocket::send_text(&mut client, word).unwrap();
                assert_eq!(
                    websocket::read_text(&mut client).unwrap(),
                    word.to_uppercase()
                );
            }
            drop(client);
            // The handler has seen the end; with one thread nobody else could be served before.
            assert_eq!(get(address.clone(), "/hello").text(), "hello from flask");
        }
        assert!(
            !server.output().contains("Error handling request"),
            "{}",
            server.output()
        );
        server.stop();
    }
}
