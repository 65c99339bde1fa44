//! What answers tell of the program: `server_tokens`, in the `Server` field and at the foot of error pages.

use crate::harness::{Client, Upstream};
use crate::nginx_conf::{front, start};

#[test]
fn as_much_as_the_location_wants() {
    let daemon = start(
        "server_tokens on;",
        "location / { return 200 x; }
         location /off { server_tokens off; return 404; }
         location /build { server_tokens build; return 404; }
         location /own { server_tokens 'shop <$host>'; return 404; }
         location /none { server_tokens ''; return 404; }
         location /file/ { alias @dir@/html/; }
         location /file/own/ { server_tokens own; alias @dir@/html/; }
         location /app { proxy_pass http://unix:@dir@/app.sock; }
         location /app/own { server_tokens 'own $status'; proxy_pass http://unix:@dir@/app.sock; }
         location /app/shown { proxy_pass_header Server; proxy_pass http://unix:@dir@/app.sock; }",
    );
    let app = Upstream::at(&daemon.path("app.sock"));
    let mut client = Client::connect(&front(&daemon));
    let version = format!("trine/{}", env!("CARGO_PKG_VERSION"));
    let build = format!("{version} ({}-linux)", std::env::consts::ARCH);
    for (path, server, foot) in [
        ("/", Some(version.as_str()), None),
        ("/file/nothing", Some(&version), Some(version.as_str())),
        ("/off", Some("trine"), Some("trine")),
        ("/build", Some(&build), Some(&build)),
        ("/own", Some("shop <test>"), Some("shop &lt;test&gt;")),
        ("/none", None, None),
        ("/file/a.txt", Some(&version), None),
        ("/file/own/a.txt", Some("own"), None),
    ] {
        let reply = client.get(path).reply();
        assert_eq!(reply.field("Server"), server, "{path}");
        let foot = foot.map(|foot| format!("<hr><p>{foot}</p>"));
        match foot {
            Some(foot) => assert!(reply.text().contains(&foot), "{path}: {}", reply.text()),
            None => assert!(!reply.text().contains("<hr>"), "{path}"),
        }
    }
    let mut link = None;
    for (path, server) in [
        ("/app", version.as_str()),
        ("/app/own", "own 200"),
        ("/app/shown", "app"),
    ] {
        client.get(path);
        let link = link.get_or_insert_with(|| app.accept());
        link.read_head();
        link.write("HTTP/1.1 200 OK\r\nServer: app\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(client.reply().field("Server"), Some(server), "{path}");
    }
    // What cannot be read is answered for the server at this door.
    let reply = client.send("nonsense\r\n\r\n").reply();
    assert_eq!(
        (reply.status, reply.field("Server")),
        (400, Some(&*version))
    );
}
