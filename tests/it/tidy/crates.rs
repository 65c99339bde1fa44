//! What the Cargo.toml files may say.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{none, text, tracked};

/// The crates a daemon stands on, uppermost first: arrows point down this list only.
const FLOORS: [&str; 7] = [
    "control", "service", "http1", "gateway", "cache", "config", "sys",
];
const ROOF: [&str; 4] = ["proxy", "wsgi", "supervisor", "trine"];

/// The lines of one manifest's dependency tables: name and the rest of the line.
fn dependencies(manifest: &Path) -> Vec<(String, String)> {
    let mut inside = false;
    let mut found = vec![];
    for line in text(manifest).lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line.ends_with("dependencies]");
        } else if inside
            && !line.starts_with('#')
            && let Some((name, rest)) = line.split_once('=')
        {
            let name = name.trim();
            let (name, key) = name.split_once('.').unwrap_or((name, ""));
            found.push((name.to_owned(), format!("{key}{}", rest.trim())));
        }
    }
    found
}

fn manifests() -> BTreeMap<String, PathBuf> {
    let files = tracked()
        .into_iter()
        .filter(|file| file.ends_with("Cargo.toml"));
    files
        .filter_map(|file| {
            Some((
                file.strip_prefix("crates")
                    .ok()?
                    .parent()?
                    .to_str()?
                    .to_owned(),
                file,
            ))
        })
        .collect()
}

#[test]
fn arrows_between_crates_point_down() {
    let mut wrong = vec![];
    for (from, manifest) in manifests() {
        for (dependency, _) in dependencies(&manifest) {
            let Some(to) = dependency.strip_prefix("trine-") else {
                continue;
            };
            let rank = |name: &str| FLOORS.iter().position(|floor| *floor == name);
            let fine = match (rank(&from), rank(to)) {
                (Some(upper), Some(lower)) => upper < lower,
                // So is what measures them, which speaks their protocols.
                (None, Some(_)) => ROOF.contains(&from.as_str()) || from == "xtask",
                // A daemon, the command or xtask is nobody's dependency.
                (Some(_) | None, None) => false,
            };
            if !fine {
                wrong.push(format!("{from} -> {to}"));
            }
        }
    }
    none("dependencies that do not point down", &wrong);
    let harness = dependencies(Path::new("tests/Cargo.toml"));
    let daemons: Vec<String> = harness
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| ROOF.iter().any(|roof| *name == format!("trine-{roof}")))
        .collect();
    none("the tests run the daemons and do not link them", &daemons);
}

#[test]
fn versions_stand_in_one_table_and_each_has_its_reason() {
    let reasons = text(Path::new("docs/adr/0002-dependencies.md"));
    let table = dependencies(Path::new("Cargo.toml"));
    assert!(!table.is_empty());
    let unexplained: Vec<String> = table
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| !name.starts_with("trine-") && !reasons.contains(name))
        .collect();
    none(
        "dependencies without a line in docs/adr/0002-dependencies.md",
        &unexplained,
    );
    let mut own = vec![];
    for manifest in manifests()
        .into_values()
        .chain([PathBuf::from("tests/Cargo.toml")])
    {
        for (name, rest) in dependencies(&manifest) {
            if !rest.starts_with("workspacetrue") && !rest.contains("workspace = true") {
                own.push(format!("{}: {name} = {rest}", manifest.display()));
            }
        }
    }
    none("dependencies with a version of their own", &own);
}

#[test]
fn every_crate_keeps_the_lints_and_only_the_tools_use_anyhow() {
    let mut wrong = vec![];
    for (name, manifest) in manifests() {
        if !text(&manifest).contains("[lints]\nworkspace = true") {
            wrong.push(format!("{name}: no [lints] workspace = true"));
        }
        let anyhow = dependencies(&manifest)
            .iter()
            .any(|(dependency, _)| dependency == "anyhow");
        if anyhow && !["trine", "xtask"].contains(&name.as_str()) {
            wrong.push(format!("{name}: anyhow belongs to `trine` and `xtask`"));
        }
    }
    none("manifests", &wrong);
}
