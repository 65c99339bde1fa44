//! Control groups (v2): a folder for each process that is limited or swept up after, and what the kernel tells there.
//! Not here: entering one (the holder does, when it spawns), or when to end what is left (`sweep`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where we may make control groups.
#[derive(Clone, Debug)]
pub struct Cgroups {
    base: PathBuf,
}

/// What is wanted of the kernel for programs.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

impl Cgroups {
    /// Finds our own control group and makes a place for programs beneath it. `Err`: why there is none, for people.
    pub fn find(holder: i32) -> Result<Self, String> {
        let own = own_folder().ok_or("no control groups of version 2 are mounted")?;
        remove_stale(&own, holder);
        let base = own.join(format!("trine-{holder}"));
        fs::create_dir_all(&base).map_err(|err| format!("{}: {err}", base.display()))?;
        let controllers = read(&own.join("cgroup.controllers"));
        let wanted = CONTROLLERS
            .iter()
            .filter(|name| controllers.split_whitespace().any(|known| known == **name));
        let wanted: String = wanted.map(|name| format!("+{name} ")).collect();
        if !wanted.is_empty() {
            // Processes live in leaves only: whatever is in ours goes into one, if it is our own.
            if enable(&own, &wanted).is_err() {
                let leaf = own.join(format!("trine-{holder}-supervisor"));
                let _ = make_leaf(&own, &leaf, holder).and_then(|()| enable(&own, &wanted));
            }
            let _ = enable(&base, &wanted);
        }
        Ok(Self { base })
    }

    /// The folder of one generation of a process.
    #[must_use]
    pub fn folder(&self, id: &str, generation: u64) -> PathBuf {
        self.base
            .join(format!("{}.{generation}", id.replace('/', "_")))
    }

    /// Makes it and sets its limits. `Err` names what the kernel refused.
    pub fn make(
        &self,
        id: &str,
        generation: u64,
        limits: &BTreeMap<String, String>,
    ) -> Result<PathBuf, String> {
        let folder = self.folder(id, generation);
        fs::create_dir_all(&folder).map_err(|err| format!("{}: {err}", folder.display()))?;
        for (file, value) in limits {
            fs::write(folder.join(file), value).map_err(|err| match err.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
                    let controller = file.split('.').next().unwrap_or(file);
                    format!(
                        "cannot set {file}: the {controller} controller is not ours to use here \
                         (a unit needs Delegate=yes, a container a writable /sys/fs/cgroup)"
                    )
                }
                _ => format!("cannot set {file} to {value}: {err}"),
            })?;
        }
        Ok(folder)
    }

    /// Folders of generations that are left, with their processes.
    #[must_use]
    pub fn all(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.base).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }

    /// Takes everything away that is empty.
    pub fn remove(&self) {
        self.all()
            .iter()
            .for_each(|folder| drop(fs::remove_dir(folder)));
        let _ = fs::remove_dir(&self.base);
    }
}

/// Takes away what supervisors that were killed have left, as far as it is empty: the kernel keeps those with processes
/// in them, for a later start to find.
fn remove_stale(own: &Path, holder: i32) {
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let is_stale = |pid: i32| pid != holder && !Path::new(&format!("/proc/{pid}")).exists();
        if entry
            .file_name()
            .to_str()
            .and_then(owner)
            .is_some_and(is_stale)
        {
            Cgroups { base: entry.path() }.remove();
        }
    }
}

/// The holder whose folder this is by its name.
fn owner(name: &str) -> Option<i32> {
    let name = name.strip_prefix("trine-")?;
    let pid = name.strip_suffix("-supervisor").unwrap_or(name).parse();
    pid.ok().filter(|pid| *pid > 0)
}

fn enable(folder: &Path, wanted: &str) -> io::Result<()> {
    fs::write(folder.join("cgroup.subtree_control"), wanted)
}

/// Moves holder and brain into a leaf, if nobody else lives where they are.
fn make_leaf(own: &Path, leaf: &Path, holder: i32) -> io::Result<()> {
    let ours = [holder.to_string(), std::process::id().to_string()];
    let members = read(&own.join("cgroup.procs"));
    if members
        .lines()
        .any(|pid| !ours.iter().any(|our| our == pid))
    {
        return Err(io::Error::other("others live there"));
    }
    fs::create_dir_all(leaf)?;
    ours.iter()
        .try_for_each(|pid| fs::write(leaf.join("cgroup.procs"), pid))
}

/// Our own folder in the version 2 hierarchy.
fn own_folder() -> Option<PathBuf> {
    let mounts = read(Path::new("/proc/self/mountinfo"));
    let mount = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after
            .starts_with("cgroup2 ")
            .then(|| before.split(' ').nth(4))?
    })?;
    let groups = read(Path::new("/proc/self/cgroup"));
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A brain that was moved into the leaf belongs to its parent.
    let path = match path.rsplit_once('/') {
        Some((parent, leaf)) if leaf.starts_with("trine-") && leaf.ends_with("-supervisor") => {
            parent
        }
        _ => path,
    };
    Some(Path::new(mount).join(path.trim_start_matches('/')))
}

/// The processes in a folder.
#[must_use]
pub fn members(folder: &Path) -> Vec<i32> {
    let text = read(&folder.join("cgroup.procs"));
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Kills all in it at once, so that nobody can fork away.
pub fn kill(folder: &Path) -> io::Result<()> {
    fs::write(folder.join("cgroup.kill"), "1")
}

/// Whether the kernel has killed something in it for want of memory.
#[must_use]
pub fn ran_out_of_memory(folder: &Path) -> bool {
    let events = read(&folder.join("memory.events"));
    let mut kills = events
        .lines()
        .filter_map(|line| line.strip_prefix("oom_kill "));
    kills.any(|count| count.trim() != "0")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_word_on_memory() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!ran_out_of_memory(folder.path()), "no such file");
        let tell = |text: &str| fs::write(folder.path().join("memory.events"), text).unwrap();
        tell("low 0\nhigh 3\nmax 7\noom 0\noom_kill 0\noom_group_kill 0\n");
        assert!(!ran_out_of_memory(folder.path()));
        tell("low 0\nhigh 3\nmax 7\noom 1\noom_kill 1\noom_group_kill 0\n");
        assert!(ran_out_of_memory(folder.path()));
    }

    #[test]
    fn only_what_the_dead_have_left_is_taken_away() {
        let own = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let alive = std::process::id();
        let (ours, other) = (i32::MAX, format!("other-{dead}"));
        let stays = |name: String| {
            fs::create_dir_all(own.path().join(&name)).unwrap();
            name
        };
        let stale = [
            format!("trine-{dead}/web.1"),
            format!("trine-{dead}-supervisor"),
        ]
        .map(stays);
        let kept = [
            format!("trine-{alive}/web.1"),
            format!("trine-{ours}"),
            format!("trine-{ours}-supervisor"),
            other,
            "trine-0".to_owned(),
            "trine--1".to_owned(),
            "trine-x".to_owned(),
        ]
        .map(stays);
        remove_stale(own.path(), ours);
        let is_there = |name: &String| own.path().join(name).exists();
        assert!(!stale.iter().any(is_there) && kept.iter().all(is_there));

        // As the kernel refuses it for one with processes, the file system does for one with files.
        let full = format!("trine-{dead}/busy.1");
        let empty = format!("trine-{dead}/idle.1");
        for name in [&full, &empty] {
            fs::create_dir_all(own.path().join(name)).unwrap();
        }
        fs::write(own.path().join(&full).join("cgroup.procs"), "7").unwrap();
        remove_stale(own.path(), ours);
        assert!(is_there(&full) && !is_there(&empty));
    }

    #[test]
    fn limits_are_written_and_refusals_explained() {
        let base = tempfile::tempdir().unwrap();
        let cgroups = Cgroups {
            base: base.path().to_owned(),
        };
        let limits = BTreeMap::from([("memory.max".to_owned(), "1000".to_owned())]);
        // An ordinary folder takes any file, as the kernel does for controllers that are on.
        let folder = cgroups.make("web:web_00", 3, &limits).unwrap();
        assert_eq!(folder.file_name().unwrap(), "web:web_00.3");
        assert_eq!(
            fs::read_to_string(folder.join("memory.max")).unwrap(),
            "1000"
        );
        let missing = BTreeMap::from([("no/such.max".to_owned(), "1".to_owned())]);
        let refusal = cgroups.make("web", 1, &missing).unwrap_err();
        assert!(refusal.contains("Delegate=yes"), "{refusal}");
    }
}
