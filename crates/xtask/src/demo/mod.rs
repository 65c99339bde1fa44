//! `cargo xtask demo`: examples/flask through all three daemons, to look at or to be checked.

mod check;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;

use crate::cli::DemoOptions;
use crate::python;
use crate::step::{self, Steps};
use crate::workspace::{build_release, root, target};

/// Runs it; `false` means that a check failed.
pub(crate) fn run(options: &DemoOptions) -> anyhow::Result<bool> {
    let mut steps = Steps::default();
    let binaries = steps.run("daemons, in release", || {
        build_release(&["trine", "trine-proxy", "trine-wsgi", "trine-supervisor"])
    });
    let venv = target().join("demo-venv");
    let ready = steps.run("a virtual environment with Flask", || {
        python::provide(true)?;
        python::virtualenv(
            &venv,
            &[root().join("examples/flask/requirements.txt")],
            true,
        )
    });
    let (Some(binaries), Some(())) = (binaries, ready) else {
        steps.print_times();
        return Ok(false);
    };
    let demo = Demo {
        binaries,
        venv,
        dir: target().join("demo"),
    };
    if options.check {
        steps.run("the site", || demo.check());
        steps.print_times();
        let verdict = if steps.all_passed() {
            "every route answers as it should"
        } else {
            "the check failed"
        };
        println!("demo: {verdict}");
        return Ok(steps.all_passed());
    }
    demo.show(options.listen)
}

/// What the demo runs, and where.
struct Demo {
    binaries: PathBuf,
    venv: PathBuf,
    dir: PathBuf,
}

impl Demo {
    /// `trine …` on the example, its data and its run directory under target/.
    fn trine(&self, args: &[&str]) -> anyhow::Result<Command> {
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("cannot make {}", self.dir.display()))?;
        let mut command = Command::new(self.binaries.join("trine"));
        command
            .arg("--run-dir")
            .arg(self.dir.join("run"))
            .args(args);
        command.current_dir(root().join("examples/flask"));
        command
            .env("VIRTUAL_ENV", &self.venv)
            .env("HARBOUR_DATA", self.dir.join("data"));
        Ok(command)
    }

    fn up(&self, listen: SocketAddr, more: &[&str]) -> anyhow::Result<Command> {
        let listen = listen.to_string();
        let mut args = vec![
            "up",
            "app:app",
            "--listen",
            &listen,
            "--static",
            "/static=./static",
        ];
        args.extend(["--workers", "2", "--threads", "4"]);
        args.extend(more);
        self.trine(&args)
    }

    /// Becomes `trine up`, so that Ctrl-C reaches it alone.
    fn show(&self, listen: SocketAddr) -> anyhow::Result<bool> {
        println!("\nOnce it is ready, open:");
        for (path, what) in check::ROUTES {
            println!("  http://{listen}{path:<28} {what}");
        }
        println!(
            "Ctrl-C stops everything. Its state: trine --run-dir {} status\n",
            self.dir.join("run").display()
        );
        let problem = self.up(listen, &[])?.exec();
        Err(problem).context("cannot run trine")
    }

    fn check(&self) -> anyhow::Result<()> {
        // A run that was cut off may have left its daemons; they are ours, in our run directory.
        if self.dir.join("run").exists() {
            let _nothing_ran = self.trine(&["down"])?.output();
        }
        let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        step::call(&mut self.up(listen, &["--detach"])?)?;
        let found = check::every_route(listen, &root().join("examples/flask"));
        let down = step::call(&mut self.trine(&["down"])?);
        found.and(down)
    }
}
