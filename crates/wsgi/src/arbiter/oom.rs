//! Whether the kernel killed for want of memory: the counters of our cgroup (version 2 or 1) and of the machine.
//!
//! A kill by another process and one by the kernel look the same to a parent; only these counters tell them apart.
//! Not here: which worker it was.

use std::fs;
use std::path::{Path, PathBuf};

/// A file with a line `oom_kill N`.
#[derive(Debug)]
struct Counter {
    file: PathBuf,
    /// What it counts for, in words.
    whose: String,
    /// The most memory the group used, and may use.
    peak: Option<PathBuf>,
    limit: Option<PathBuf>,
    seen: u64,
}

/// Remembers the counters, to see them rise.
#[derive(Debug)]
pub(super) struct OomWatch {
    counters: Vec<Counter>,
}

impl OomWatch {
    pub(super) fn new() -> Self {
        Self::beneath(Path::new("/"))
    }

    fn beneath(root: &Path) -> Self {
        let mut counters = Vec::new();
        let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        for line in groups.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
                continue;
            };
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                let mounts = ["sys/fs/cgroup", "sys/fs/cgroup/unified"];
                let names = ["memory.events", "memory.peak", "memory.max"];
                counters.extend(
                    mounts
                        .iter()
                        .find_map(|mount| Counter::find(root, mount, path, names)),
                );
            } else if controllers.split(',').any(|name| name == "memory") {
                let names = [
                    "memory.oom_control",
                    "memory.max_usage_in_bytes",
                    "memory.limit_in_bytes",
                ];
                counters.extend(Counter::find(root, "sys/fs/cgroup/memory", path, names));
            }
        }
        let machine = Counter {
            file: root.join("proc/vmstat"),
            whose: "the machine".to_owned(),
            peak: None,
            limit: None,
            seen: 0,
        };
        counters.push(machine);
        let mut watch = Self { counters };
        let _ = watch.look();
        watch
    }

    /// What the kernel killed for want of memory since the last look; `None`: nothing.
    pub(super) fn look(&mut self) -> Option<String> {
        let mut found = None;
        for counter in &mut self.counters {
            let now = counter.read().unwrap_or(counter.seen);
            let more = now.saturating_sub(counter.seen);
            counter.seen = now;
            if more > 0 && found.is_none() {
                found = Some(counter.tell());
            }
        }
        found
    }
}

impl Counter {
    /// In a container the path that /proc tells may be that of the host, and the group is at the mount itself.
    fn find(root: &Path, mount: &str, path: &str, names: [&str; 3]) -> Option<Self> {
        let mount = root.join(mount);
        let folder = [mount.join(path), mount]
            .into_iter()
            .find(|folder| folder.join(names[0]).exists())?;
        Some(Self {
            file: folder.join(names[0]),
            whose: format!("cgroup /{path}"),
            peak: Some(folder.join(names[1])),
            limit: Some(folder.join(names[2])),
            seen: 0,
        })
    }

    fn read(&self) -> Option<u64> {
        let text = fs::read_to_string(&self.file).ok()?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    }

    fn tell(&self) -> String {
        let number = |path: &Option<PathBuf>| -> Option<u64> {
            fs::read_to_string(path.as_ref()?).ok()?.trim().parse().ok()
        };
        let mut text = format!(
            "the kernel's OOM killer ended it, as {} was out of memory",
            self.whose
        );
        if let Some(limit) = number(&self.limit) {
            text.push_str(&format!(" (limit {}", mib(limit)));
            if let Some(peak) = number(&self.peak) {
                text.push_str(&format!(", peak {}", mib(peak)));
            }
            text.push(')');
        }
        text
    }
}

/// For people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1_048_576.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files of a made-up machine.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], changed: (&str, &str), want: Option<&str>) {
        let root = machine(files);
        let mut watch = OomWatch::beneath(root.path());
        assert_eq!(watch.look(), None);
        fs::write(root.path().join(changed.0), changed.1).unwrap();
        assert_eq!(watch.look().as_deref(), want);
        assert_eq!(watch.look(), None, "told once");
    }

    #[test]
    fn counters_of_every_kind() {
        let v2 = [
            ("proc/self/cgroup", "0::/app.slice/web\n"),
            ("proc/vmstat", "oom_kill 7\n"),
            (
                "sys/fs/cgroup/app.slice/web/memory.events",
                "low 0\noom 0\noom_kill 0\n",
            ),
            ("sys/fs/cgroup/app.slice/web/memory.peak", "52428800\n"),
            ("sys/fs/cgroup/app.slice/web/memory.max", "52428800\n"),
        ];
        check(
            &v2,
            (
                "sys/fs/cgroup/app.slice/web/memory.events",
                "low 0\noom 3\noom_kill 1\n",
            ),
            Some(
                "the kernel's OOM killer ended it, as cgroup /app.slice/web was out of memory (limit 50.0 MiB, peak 50.0 MiB)",
            ),
        );
        check(
            &v2,
            (
                "sys/fs/cgroup/app.slice/web/memory.events",
                "oom 5\noom_kill 0\n",
            ),
            None,
        );
        let v1 = [
            ("proc/self/cgroup", "5:cpu:/\n4:memory:/docker/1234\n0::/\n"),
            ("proc/vmstat", "nr_free_pages 1\noom_kill 2\n"),
            (
                "sys/fs/cgroup/memory/memory.oom_control",
                "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
            ),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n"),
        ];
        check(
            &v1,
            ("sys/fs/cgroup/memory/memory.oom_control", "oom_kill 5\n"),
            Some(
                "the kernel's OOM killer ended it, as cgroup /docker/1234 was out of memory (limit 1.0 MiB)",
            ),
        );
        check(
            &v1,
            ("proc/vmstat", "oom_kill 3\n"),
            Some("the kernel's OOM killer ended it, as the machine was out of memory"),
        );
        check(&[], ("nothing", ""), None);
    }
}
