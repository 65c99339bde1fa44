//! FastCGI applications in Perl: one that answers, and one that says whether a request may pass.

use e2e::client::{Client, Request};
use e2e::folder::Folder;
use e2e::gateways::perl;
use e2e::wait;

use super::behind::proxy;

#[test]
fn a_fastcgi_application_in_perl() {
    let folder = Folder::new();
    let Some(perl) = perl(&folder, "fcgi.pl", "perl.sock") else {
        return;
    };
    for keep in ["", "fastcgi_keep_conn on;"] {
        let location = format!(
            "location / {{ include @params@/fastcgi_params; fastcgi_param PATH_INFO $uri; {keep}
             fastcgi_pass unix:@dir@/perl.sock; }}"
        );
        let (proxy, front) = proxy(&folder, "", &location);
        let mut client = Client::connect(front);
        for _ in 0..5 {
            let reply = client.ask(&Request::get("/a/b"));
            assert_eq!(reply.text(), "GET /a/b 0\n");
            let reply = client.ask(&Request::post("/c", "12345"));
            assert_eq!(reply.text(), "POST /c 5\n");
        }
        let long = client.ask(&Request::get("/l?long"));
        assert_eq!(long.body.len(), "GET /l 0\n".len() + 200_000);
        assert_eq!(client.ask(&Request::get("/?warn")).status, 200);
        wait::until("what perl says", || {
            proxy
                .output()
                .contains("\"perl has something to say\"")
                .then_some(())
        });
        proxy.stop();
    }
    perl.stop();
}

#[test]
fn a_fastcgi_authorizer_in_perl() {
    let folder = Folder::new();
    let Some(guard) = perl(&folder, "authorizer.pl", "guard.sock") else {
        return;
    };
    let Some(app) = perl(&folder, "fcgi.pl", "perl.sock") else {
        return;
    };
    let location = "location / { auth_request /guard; auth_request_set $who $upstream_http_variable_remote_user;
         add_header X-Who $who; include @params@/fastcgi_params; fastcgi_param PATH_INFO $uri;
         fastcgi_param REMOTE_USER nobody; fastcgi_pass unix:@dir@/perl.sock; }
         location = /guard { internal; include @params@/fastcgi_params; fastcgi_param PATH_INFO $uri;
         fastcgi_role authorizer; fastcgi_pass unix:@dir@/guard.sock; }";
    let (proxy, front) = proxy(&folder, "", location);
    let mut client = Client::connect(front);
    for _ in 0..3 {
        let request = Request::post("/a?who", "12345").header("X-Word", "right");
        let reply = client.ask(&request);
        // What it has given to the request the application is told, in the place of what the configuration says.
        assert_eq!(reply.text(), "POST /a 5\nann word AUTHORIZER ''\n");
        assert_eq!(reply.header("x-who"), Some("ann"));
        assert_eq!(reply.header("variable-remote_user"), None);
        // What it answers in the place of the application the client gets.
        let reply = client.ask(&Request::get("/a").header("X-Word", "none"));
        assert_eq!((reply.status, reply.text().as_str()), (401, "say the word"));
        assert_eq!(reply.header("www-authenticate"), Some("Word"));
        let reply = client.ask(&Request::get("/a"));
        assert_eq!((reply.status, reply.text().as_str()), (402, "<p>pay</p>"));
        assert_eq!(reply.header("x-price"), Some("5"));
        assert_eq!(reply.header("content-type"), Some("text/html"));
        assert_eq!(client.ask(&Request::get("/guard")).status, 404);
    }
    proxy.stop();
    app.stop();
    guard.stop();
}
