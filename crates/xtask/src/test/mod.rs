//! `cargo xtask test`: every check there is, in one run that ends with one plain line.
//! Not here: what a test does. The end-to-end tests find their daemons and tools by themselves.

mod tally;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::cli::TestOptions;
use crate::debian::{self, Tool};
use crate::python;
use crate::step::{self, Steps};
use crate::test::tally::Tally;
use crate::workspace::{cargo, in_ci, root, target};

const TOOLS: [Tool; 15] = [
    Tool {
        program: "ansible-playbook",
        package: "ansible",
        for_what: "the test of the supervisor under Ansible's module",
    },
    Tool {
        program: "chromium",
        package: "chromium",
        for_what: "the test of the supervisor's web page",
    },
    Tool {
        program: "curl",
        package: "curl",
        for_what: "the tests of the proxy with clients of others",
    },
    Tool {
        program: "faketime",
        package: "faketime",
        for_what: "the test that plays RFC 9111 through the proxy",
    },
    Tool {
        program: "fcgiwrap",
        package: "fcgiwrap libfcgi-perl",
        for_what: "the tests of CGI, and of FastCGI with Perl",
    },
    Tool {
        program: "ip",
        package: "iproute2",
        for_what: "the test of servers that are cut off from the net",
    },
    Tool {
        program: "linux.uml",
        package: "user-mode-linux",
        for_what: "the tests of control groups, in a kernel of their own",
    },
    Tool {
        program: "nghttp",
        package: "nghttp2-client",
        for_what: "the tests of the proxy with clients of HTTP/2",
    },
    Tool {
        program: "nginx",
        package: "nginx libnginx-mod-stream",
        for_what: "the interop tests with nginx",
    },
    Tool {
        program: "openssl",
        package: "openssl",
        for_what: "the tests of the proxy with certificates of several kinds",
    },
    Tool {
        program: "php-fpm*",
        package: "php-fpm",
        for_what: "the tests of the proxy before php-fpm",
    },
    Tool {
        program: "redis-server",
        package: "redis-server",
        for_what: "the test of redis under trine-supervisor",
    },
    Tool {
        program: "systemd-analyze",
        package: "systemd",
        for_what: "the check of deploy/systemd",
    },
    Tool {
        program: "uwsgi_python3",
        package: "uwsgi-plugin-python3",
        for_what: "the tests of the proxy before uWSGI",
    },
    Tool {
        program: "wrk",
        package: "wrk",
        for_what: "the tests of the proxy under load",
    },
];

/// Runs it all; `false` means that something failed.
pub(crate) fn run(options: &TestOptions) -> anyhow::Result<bool> {
    let mut steps = Steps::default();
    let skipped = target().join("e2e-skipped.txt");
    fs::create_dir_all(target()).with_context(|| format!("cannot make {}", target().display()))?;
    fs::write(&skipped, "").with_context(|| format!("cannot write {}", skipped.display()))?;

    let may_install = !options.no_install;
    let venv = target().join("test-venv");
    let ready = steps.run(
        "tools: Python, a virtual environment, Debian packages",
        || prepare(&venv, may_install),
    );
    let Some(missing) = ready else {
        steps.print_times();
        return Ok(false);
    };

    let mut tally = Tally::default();
    if options.filter.is_none() {
        steps.run("formatting", || {
            step::call(
                Command::new(cargo())
                    .args(["fmt", "--all", "--check"])
                    .current_dir(root()),
            )
        });
        steps.run("clippy", || {
            step::call(&mut in_workspace(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]))
        });
    }
    let built = steps.run("daemons", || {
        step::call(&mut in_workspace(&["build", "--workspace", "--bins"]))
    });
    if options.filter.is_none() {
        steps.run("unit tests, doc tests, corpus", || {
            tally.cargo_test(in_workspace(&[
                "test",
                "--workspace",
                "--exclude",
                "e2e",
                "--no-fail-fast",
            ]))
        });
    }
    if built.is_some() {
        steps.run("end-to-end tests", || {
            let mut command = in_workspace(&["test", "--package", "e2e"]);
            command
                .env("TRINE_TEST_VENV", &venv)
                .env("TRINE_TEST_SKIPPED", &skipped);
            command.args(["--"]).args(&options.filter);
            tally.cargo_test(command)
        });
    }
    steps.print_times();
    Ok(close(&steps, &tally, &missing, &skipped))
}

/// Says what was left out, then the closing line.
fn close(steps: &Steps, tally: &Tally, missing: &[Tool], skipped: &Path) -> bool {
    let lines = fs::read_to_string(skipped).unwrap_or_default();
    let left_out: Vec<&str> = lines.lines().collect();
    if !left_out.is_empty() {
        println!("\nleft out:");
        left_out.iter().for_each(|line| println!("  {line}"));
    }
    for tool in missing {
        println!(
            "no `{}`: without {}. Install it with: {}",
            tool.program,
            tool.for_what,
            debian::advice(&[*tool])
        );
    }
    let whole = left_out.is_empty() && missing.is_empty();
    let verdict = steps.all_passed() && (whole || !in_ci());
    if !whole && in_ci() {
        println!("CI is set, so leaving a test out is a failure");
    }
    if !steps.all_passed() {
        println!("a step failed; see the table above");
    }
    // A test that left itself out has passed in cargo's eyes.
    let passed = tally.passed.saturating_sub(left_out.len());
    println!(
        "xtask: {passed} passed, {} failed, {} skipped",
        tally.failed,
        left_out.len() + tally.ignored
    );
    verdict
}

/// Everything that the tests need and cargo does not bring; returns the tools that could not be had.
fn prepare(venv: &Path, may_install: bool) -> anyhow::Result<Vec<Tool>> {
    python::provide(may_install)?;
    let missing = debian::provide(&TOOLS, may_install);
    let requirements: Vec<PathBuf> = vec![root().join("tests/requirements.txt")];
    python::virtualenv(venv, &requirements, may_install)?;
    // Its packages and the others would have to agree on the versions of what both need.
    python::virtualenv(
        &venv.with_file_name("certbot-venv"),
        &[root().join("tests/requirements-certbot.txt")],
        may_install,
    )?;
    Ok(missing)
}

fn in_workspace(args: &[&str]) -> Command {
    let mut command = Command::new(cargo());
    command.args(args).current_dir(root());
    command
}
