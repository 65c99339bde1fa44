//! certbot's nginx plugin and a site of ours: it reads the configuration, asks for the version, puts a certificate
//! in, has that tried and reloads it.
//!
//! The certificate is there already, so that no authority has to be asked.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use e2e::daemon::Launch;
use e2e::folder::Folder;
use e2e::process::said;
use e2e::{port, tools, wait};

#[test]
fn certbot_installs_a_certificate() {
    let (Some(certbot), Some(curl)) = (tools::certbot(), tools::program("curl", "curl")) else {
        return;
    };
    let (folder, plain, tls) = (Folder::new(), port::free(), port::free());
    let dir = folder.path().display();
    fs::create_dir_all(folder.join("etc/sites-enabled")).unwrap();
    symlink(tools::binary("trine-proxy"), folder.join("nginx")).unwrap();
    let conf = folder.write(
        "etc/nginx.conf",
        format!(
            "daemon off;\npid {dir}/nginx.pid;\nerror_log {dir}/error.log info;\nevents {{}}\n\
             http {{\n    access_log off;\n    include sites-enabled/*;\n}}\n"
        ),
    );
    let site = folder.write(
        "etc/sites-enabled/site",
        format!(
            "server {{\n    listen {plain};\n    server_name site.test; # the only one\n\
             \x20   location / {{\n        return 200 \"served over $scheme\\n\";\n    }}\n}}\n"
        ),
    );
    let key = rcgen::generate_simple_self_signed(vec!["site.test".to_owned()]).unwrap();
    folder.write("cert.pem", key.cert.pem());
    folder.write("key.pem", key.signing_key.serialize_pem());
    let nginx = Launch::program(folder.join("nginx")).arg("-c").arg(&conf);
    let nginx = nginx.notify().start(&folder).wait_ready();

    let mut certbot = Command::new(certbot);
    certbot
        .args(["install", "--nginx", "--non-interactive", "--no-redirect"])
        .arg("--nginx-ctl")
        .arg(folder.join("nginx"))
        .arg("--nginx-server-root")
        .arg(folder.join("etc"));
    for (option, path) in [
        ("--config-dir", "letsencrypt"),
        ("--work-dir", "work"),
        ("--logs-dir", "logs"),
        ("--cert-path", "cert.pem"),
        ("--key-path", "key.pem"),
        ("--fullchain-path", "cert.pem"),
        ("--chain-path", "cert.pem"),
    ] {
        certbot.arg(option).arg(folder.join(path));
    }
    certbot.args(["-d", "site.test", "--https-port", &tls.port().to_string()]);
    said(&mut certbot);

    let written = fs::read_to_string(&site).unwrap();
    assert!(
        written.contains(&format!("listen {} ssl; # managed by Certbot", tls.port())),
        "{written}"
    );
    let ask = |scheme: &str, port: u16| {
        let mut curl = Command::new(&curl);
        curl.args(["-sS", "--max-time", "60", "--cacert"])
            .arg(folder.join("cert.pem"))
            .args(["--resolve", &format!("site.test:{port}:127.0.0.1")])
            .arg(format!("{scheme}://site.test:{port}/"));
        curl.output().unwrap()
    };
    // certbot waits a second for the reload, which says nothing when it is done.
    let answer = wait::until("the reloaded site", || {
        let out = ask("https", tls.port());
        out.status.success().then_some(out.stdout)
    });
    assert_eq!(String::from_utf8_lossy(&answer), "served over https\n");
    let plainly = ask("http", plain.port());
    assert_eq!(
        String::from_utf8_lossy(&plainly.stdout),
        "served over http\n"
    );
    nginx.stop();
}
