//! Where the three daemons are: beside the running `trine`, else in `PATH`.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use trine_service::exit::Exit;
use trine_sys::spawn::find_program;

use crate::failure::Failure;

#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) supervisor: PathBuf,
    pub(crate) proxy: PathBuf,
    pub(crate) wsgi: PathBuf,
}

impl Programs {
    pub(crate) fn find() -> Result<Self, Failure> {
        let beside = env::current_exe()
            .ok()
            .and_then(|own| own.parent().map(Path::to_owned));
        let path = env::var_os("PATH").unwrap_or_default();
        Self::find_in(beside.as_deref(), &path)
    }

    /// All three or none: every missing one is named at once.
    fn find_in(beside: Option<&Path>, path: &OsStr) -> Result<Self, Failure> {
        let find = |name: &str| {
            let near = beside.and_then(|folder| find_program(OsStr::new(name), folder.as_os_str()));
            near.or_else(|| find_program(OsStr::new(name), path))
        };
        let names = ["trine-supervisor", "trine-proxy", "trine-wsgi"];
        match names.map(find) {
            [Some(supervisor), Some(proxy), Some(wsgi)] => Ok(Self {
                supervisor,
                proxy,
                wsgi,
            }),
            found => {
                let missing: Vec<_> = names
                    .iter()
                    .zip(&found)
                    .filter(|(_, at)| at.is_none())
                    .map(|(n, _)| *n)
                    .collect();
                let place = beside
                    .map(|folder| format!("beside trine in {} or ", folder.display()))
                    .unwrap_or_default();
                let what = format!("cannot find {} {place}in PATH", missing.join(", "));
                let build: Vec<_> = missing.iter().map(|name| format!("-p {name}")).collect();
                let way_out = format!(
                    "install all of Trine; in its repository: cargo build --release {}",
                    build.join(" ")
                );
                Err(Failure::new(Exit::Config, what, way_out))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn program(folder: &Path, name: &str, mode: u32) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(name), "").unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn beside_before_path_and_all_missing_ones_at_once() {
        let root = tempfile::tempdir().unwrap();
        let (beside, other) = (root.path().join("beside"), root.path().join("other"));
        program(&beside, "trine-wsgi", 0o755);
        program(&other, "trine-wsgi", 0o755);
        program(&other, "trine-supervisor", 0o644);

        let failure = Programs::find_in(Some(&beside), other.as_os_str()).unwrap_err();
        assert!(
            failure
                .what
                .contains("trine-supervisor, trine-proxy beside"),
            "{}",
            failure.what
        );

        program(&other, "trine-supervisor", 0o755);
        program(&other, "trine-proxy", 0o755);
        let found = Programs::find_in(Some(&beside), other.as_os_str()).unwrap();
        assert_eq!(found.wsgi, beside.join("trine-wsgi"));
        assert_eq!(found.proxy, other.join("trine-proxy"));
    }
}
