//! examples/django with its own configuration files: every route, and the admin.

use std::fs;
use std::path::Path;
use std::time::Duration;

use e2e::client::Request;
use e2e::daemon::{self, Launch};
use e2e::folder::Folder;
use e2e::reply::Reply;
use e2e::site::{self, Site};
use e2e::tools;

use super::flask::arrived_in_pieces;
use super::{MEGABYTE_SHA256, cookies, megabyte};

/// `python manage.py …` on a copy of the example.
#[track_caller]
fn manage(venv: &Path, project: &Path, folder: &Folder, args: &[&str]) {
    let command = Launch::program(venv.join("bin/python"))
        .arg("manage.py")
        .args(args)
        .dir(project);
    let (code, output) = daemon::run(
        command.env("DJANGO_SUPERUSER_PASSWORD", "lighthouse"),
        folder,
    );
    assert_eq!(code, 0, "manage.py {args:?}: {output}");
}

fn prepared() -> Option<Site> {
    let venv = tools::venv()?;
    // Migrated in a folder of its own, which the site then takes for the example's data.
    let folder = Folder::new();
    let project = folder.join("project");
    site::copy_folder(&tools::repository().join("examples/django"), &project);
    manage(&venv, &project, &folder, &["migrate", "--verbosity", "0"]);
    manage(
        &venv,
        &project,
        &folder,
        &["collectstatic", "--noinput", "--verbosity", "0"],
    );
    manage(
        &venv,
        &project,
        &folder,
        &[
            "createsuperuser",
            "--noinput",
            "--username",
            "keeper",
            "--email",
            "keeper@test.example",
        ],
    );
    Site::example_prepared("django", |site| {
        fs::rename(project.join("var"), site.join("var")).unwrap();
    })
}

/// The site answers for this machine's names only.
fn local(request: Request) -> Request {
    request.header("Host", "localhost")
}

fn get(site: &Site, path: &str) -> Reply {
    site.ask(&local(Request::get(path)))
}

#[test]
fn every_route_of_the_django_example() {
    let Some(site) = prepared() else { return };
    for (path, status, text) in [
        ("/", 200, "<form"),
        ("/books/1", 200, "</html>"),
        ("/books/999", 404, ""),
        ("/upload", 200, "<form"),
        ("/connection", 200, "HTTP/1.1"),
        ("/healthz", 200, "ok\n"),
        ("/admin/", 302, ""),
        ("/admin/login/", 200, "csrfmiddlewaretoken"),
        ("/static/shelf/shelf.css", 200, "{"),
        ("/static/admin/css/base.css", 200, "{"),
    ] {
        let reply = get(&site, path);
        assert_eq!(reply.status, status, "{path}: {}", reply.text());
        assert!(reply.text().contains(text), "{path}: {}", reply.text());
    }
    let books = get(&site, "/api/books").json();
    assert!(books["count"].as_u64().unwrap() >= 1, "{books}");
    assert_eq!(
        site.get("/healthz").status,
        400,
        "a host name that is not allowed"
    );

    let csv = get(&site, "/export.csv?delay=0.2");
    assert!(
        csv.text().starts_with("title,author,year,lent to\r\n"),
        "{}",
        csv.text()
    );
    arrived_in_pieces(&csv, 3, Duration::from_millis(300));

    forms(&site);
    admin(&site);

    let seen = site.ask(&local(
        Request::get("/connection")
            .header("Accept", "application/json")
            .header("X-Forwarded-For", "203.0.113.9"),
    ));
    assert_eq!(seen.json()["client"], "127.0.0.1", "{}", seen.text());
    site.stop();
}

/// The cookies and the hidden field that Django wants back.
fn tokens(page: &Reply) -> (String, String) {
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"csrfmiddlewaretoken\" value=\"")
        .expect("a CSRF field");
    (
        cookies(page),
        rest.split('"').next().unwrap_or_default().to_owned(),
    )
}

fn forms(site: &Site) {
    let (cookie, token) = tokens(&get(site, "/"));
    let refused = site.ask(&local(Request::form("/", &[("title", "No token")])));
    assert_eq!(refused.status, 403);
    let fields = [
        ("csrfmiddlewaretoken", token.as_str()),
        ("title", "Die Blechtrommel"),
        ("author", "Günter Grass"),
        ("year", "1959"),
    ];
    let posted = site.ask(&local(
        Request::form("/", &fields).header("Cookie", &cookie),
    ));
    assert_eq!(posted.status, 302, "{}", posted.text());
    assert!(get(site, "/api/books").text().contains("Blechtrommel"));

    let (cookie, token) = tokens(&get(site, "/upload"));
    let upload = Request::upload(
        "/upload",
        &[("csrfmiddlewaretoken", &token)],
        "wave.bin",
        &megabyte(),
    )
    .header("Cookie", &cookie)
    .header("Accept", "application/json");
    let known = site.ask(&local(upload)).json();
    assert_eq!(
        (known["size"].as_u64(), known["sha256"].as_str()),
        (Some(1 << 20), Some(MEGABYTE_SHA256))
    );
}

fn admin(site: &Site) {
    let (cookie, token) = tokens(&get(site, "/admin/login/"));
    let fields = [
        ("csrfmiddlewaretoken", token.as_str()),
        ("username", "keeper"),
        ("password", "lighthouse"),
        ("next", "/admin/"),
    ];
    let login = site.ask(&local(
        Request::form("/admin/login/", &fields).header("Cookie", &cookie),
    ));
    assert_eq!(
        (login.status, login.header("location")),
        (302, Some("/admin/")),
        "{}",
        login.text()
    );
    let session = cookies(&login);
    let index = site.ask(&local(Request::get("/admin/").header("Cookie", &session)));
    assert!(
        index.text().contains("Site administration"),
        "{}",
        index.text()
    );
    let list = site.ask(&local(
        Request::get("/admin/shelf/book/").header("Cookie", &session),
    ));
    assert!(list.text().contains("Blechtrommel"), "{}", list.text());
}
