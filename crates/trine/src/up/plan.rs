//! What `trine up` is going to do, with everything resolved: absolute paths, the application, the Python.
//!
//! Not here: whether it can be done right now (see `preflight`).

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use trine_config::ListenAddr;
use trine_service::exit::Exit;

use super::app::AppRef;
use super::binaries::Programs;
use super::python::Python;
use crate::cli::{StaticArg, UpArgs};
use crate::failure::Failure;
use crate::run_dir::RunDir;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) app: AppRef,
    /// Where `trine up` was called: the application is imported from here.
    pub(crate) folder: PathBuf,
    pub(crate) listen: ListenAddr,
    pub(crate) statics: Vec<StaticArg>,
    pub(crate) workers: u32,
    pub(crate) threads: u32,
    pub(crate) python: Option<Python>,
    pub(crate) run_dir: RunDir,
    pub(crate) programs: Programs,
}

impl Plan {
    pub(crate) fn new(args: UpArgs, run_dir: RunDir) -> anyhow::Result<Self> {
        let folder = env::current_dir().context("cannot tell the current folder")?;
        run_dir.check_lengths()?;
        Ok(Self {
            app: AppRef::find(args.app.as_deref(), &folder)?,
            listen: listen(args.listen, &folder)?,
            statics: statics(args.statics, &folder)?,
            workers: args.workers,
            threads: args.threads,
            python: Python::find(args.python.as_deref(), &folder)?,
            programs: Programs::find()?,
            folder,
            run_dir,
        })
    }
}

fn listen(typed: ListenAddr, folder: &Path) -> Result<ListenAddr, Failure> {
    match typed {
        ListenAddr::Fd(_) | ListenAddr::FdNumber(_) => Err(Failure::new(
            Exit::Usage,
            format!("`trine up` binds its socket itself and cannot take over {typed}"),
            "name an address: --listen 127.0.0.1:8000, or start trine-supervisor with a configuration of your own",
        )),
        ListenAddr::Tcp(_) | ListenAddr::Unix(_) => Ok(typed.resolved_in(folder)),
    }
}

fn statics(typed: Vec<StaticArg>, folder: &Path) -> Result<Vec<StaticArg>, Failure> {
    let mut known: Vec<StaticArg> = Vec::new();
    for one in typed {
        let path: PathBuf = folder.join(&one.folder).components().collect();
        if !path.is_dir() {
            let way_out = if folder.join("manage.py").is_file() {
                "gather the files first: python manage.py collectstatic, and name the STATIC_ROOT of the settings"
            } else {
                "make the folder, or name another: --static URL=DIR"
            };
            let what = format!(
                "{} is not a folder, so there are no files for {}",
                path.display(),
                one.url
            );
            return Err(Failure::new(Exit::Config, what, way_out));
        }
        if known.iter().any(|other| other.url == one.url) {
            let what = format!("--static names {} twice", one.url);
            return Err(Failure::new(
                Exit::Usage,
                what,
                "give each URL path one folder",
            ));
        }
        known.push(StaticArg {
            url: one.url,
            folder: path,
        });
    }
    Ok(known)
}
