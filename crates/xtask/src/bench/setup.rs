//! The peers: `--setup` installs them, a run only looks whether the load generator is there.

use std::path::PathBuf;

use anyhow::bail;

use crate::debian::{self, Tool};
use crate::python;
use crate::workspace::{find_program, root, target};

const LOAD: Tool = Tool {
    program: "wrk",
    package: "wrk",
    for_what: "any measurement",
};
const PEERS: [Tool; 7] = [
    LOAD,
    Tool {
        program: "h2load",
        package: "nghttp2-client",
        for_what: "measurements on a Unix socket and of HTTP/2",
    },
    Tool {
        program: "nginx",
        package: "nginx",
        for_what: "the comparison with nginx, and a fast upstream",
    },
    Tool {
        program: "haproxy",
        package: "haproxy",
        for_what: "the comparison with HAProxy",
    },
    Tool {
        program: "h2o",
        package: "h2o",
        for_what: "the comparison with h2o",
    },
    Tool {
        program: "curl",
        package: "curl",
        for_what: "a look at a proxy's answer before it is measured",
    },
    Tool {
        program: "openssl",
        package: "openssl",
        for_what: "certificates, and resumed handshakes",
    },
];

/// The virtual environment with the peers that are Python packages, and their Python.
pub(super) fn venv() -> PathBuf {
    target().join("bench-venv")
}

pub(super) fn run() -> anyhow::Result<()> {
    python::provide(true)?;
    for tool in debian::provide(&PEERS, true) {
        eprintln!(
            "no `{}`: without {}. Install it with: {}",
            tool.program,
            tool.for_what,
            debian::advice(&[tool])
        );
    }
    python::virtualenv(
        &venv(),
        &[root().join("tests/requirements-bench.txt")],
        true,
    )?;
    // bjoern is a C extension without wheels: it needs a compiler and libev's headers.
    if debian::can_install() {
        debian::install(&["libev-dev", "gcc"]);
    }
    if python::add(&venv(), &root().join("tests/requirements-bjoern.txt")).is_err() {
        eprintln!("bjoern could not be built; it is left out");
    }
    Ok(())
}

pub(super) fn check() -> anyhow::Result<()> {
    if find_program(LOAD.program).is_none() || find_program("taskset").is_none() {
        bail!(
            "wrk and taskset are needed; `cargo xtask bench --setup` installs them and the peers"
        );
    }
    Ok(())
}
