//! `client_body_…`, `proxy_buffer…`, `…_temp_path`: how much of a body may wait, and where.
//!
//! Not here: keeping it (`spool`).

use std::sync::Arc;

use super::super::tree::Directive;
use super::super::units;
use super::family::Family;
use super::{Builder, arg, is_on};
use crate::config::model::{BodyFile, BodyRules, Buffers, Quota, Room, SpoolFolder};
use crate::template::Template;

/// As nginx has it on machines with pages of 4 KiB.
const PAGE: usize = 4096;
/// What a house keeps of each body before it writes a file.
const HOUSE_MEMORY: usize = 64 * 1024;
/// What all temporary files of one of its servers may hold.
const HOUSE_QUOTA: u64 = 4 << 30;
/// nginx's bound for the file of one answer.
const ANSWER_FILE: u64 = 1 << 30;
/// Digits of a file's name.
const NAME: usize = 10;

/// What a block hands down about bodies of requests.
#[derive(Clone)]
pub(super) struct BodyLevel {
    memory: usize,
    file: BodyFile,
    folder: Option<SpoolFolder>,
}

/// What a block hands down about what waits between clients and upstreams.
#[derive(Clone)]
pub(super) struct BufferLevel {
    requests: bool,
    answers: bool,
    /// How many buffers, and how large each is.
    memory: (usize, usize),
    file: u64,
    folder: Option<SpoolFolder>,
    rate: Option<Template>,
}

impl BodyLevel {
    pub(super) fn new() -> Self {
        Self {
            memory: 4 * PAGE,
            file: BodyFile::Never,
            folder: None,
        }
    }

    pub(super) fn house() -> Self {
        Self {
            memory: HOUSE_MEMORY,
            ..Self::new()
        }
    }
}

impl BufferLevel {
    pub(super) fn new() -> Self {
        Self {
            requests: true,
            answers: true,
            memory: (8, PAGE),
            file: ANSWER_FILE,
            folder: None,
            rate: None,
        }
    }

    pub(super) fn house() -> Self {
        Self {
            memory: (HOUSE_MEMORY / PAGE, PAGE),
            ..Self::new()
        }
    }
}

impl Builder<'_> {
    pub(super) fn apply_bodies(&mut self, level: &mut BodyLevel, block: &[Directive]) {
        for directive in block {
            match directive.name.text.as_str() {
                "client_body_buffer_size" => {
                    if let Some(size) = self.bytes(directive, 0) {
                        level.memory = size;
                    }
                }
                "client_body_in_file_only" => match arg(directive, 0) {
                    "off" => level.file = BodyFile::Never,
                    "on" => level.file = BodyFile::Keep,
                    "clean" => level.file = BodyFile::Clean,
                    other => self.wrong(
                        directive,
                        format!("invalid value \"{other}\""),
                        "it is one of on, clean, off",
                    ),
                },
                "client_body_temp_path" => level.folder = self.spool_folder(directive),
                _ => {}
            }
        }
    }

    pub(super) fn apply_buffers(
        &mut self,
        level: &mut BufferLevel,
        family: Family,
        block: &[Directive],
    ) {
        for directive in block {
            match family.rest_of(directive) {
                "request_buffering" => level.requests = is_on(directive),
                "buffering" => level.answers = is_on(directive),
                "buffers" => {
                    let count = arg(directive, 0).parse::<usize>();
                    match (count, self.bytes(directive, 1)) {
                        (Ok(count @ 2..), Some(size)) => level.memory = (count, size),
                        (Ok(0 | 1), _) => {
                            self.wrong(directive, "there must be at least 2 buffers", "");
                        }
                        (Ok(_), None) => {}
                        (Err(_), _) => self.invalid(directive),
                    }
                }
                "max_temp_file_size" => match units::size(arg(directive, 0)) {
                    Some(size) => level.file = size,
                    None => self.invalid(directive),
                },
                "temp_path" => level.folder = self.spool_folder(directive),
                "limit_rate" => level.rate = self.size_template(directive),
                _ => {}
            }
        }
    }

    /// A size that memory is asked for.
    fn bytes(&mut self, directive: &Directive, index: usize) -> Option<usize> {
        let size = units::size(arg(directive, index)).and_then(|size| usize::try_from(size).ok());
        if size.is_none() {
            self.invalid(directive);
        }
        size
    }

    /// `path [level1 [level2 [level3]]]`.
    fn spool_folder(&mut self, directive: &Directive) -> Option<SpoolFolder> {
        let levels = directive.args.iter().skip(1);
        let levels: Option<Vec<usize>> = levels
            .map(|word| {
                word.text
                    .parse()
                    .ok()
                    .filter(|level| (1..=3).contains(level))
            })
            .collect();
        let Some(levels) = levels.filter(|levels| levels.iter().sum::<usize>() < NAME) else {
            self.wrong(directive, "invalid levels of folders", "each is 1, 2 or 3");
            return None;
        };
        Some(SpoolFolder {
            path: self.prefix.join(arg(directive, 0)),
            levels,
        })
    }

    pub(super) fn bodies(&mut self, level: &BodyLevel) -> Arc<BodyRules> {
        Arc::new(BodyRules {
            room: Room {
                memory: level.memory,
                file: u64::MAX,
                folder: self.shared_folder(level.folder.as_ref()),
            },
            file: level.file,
        })
    }

    pub(super) fn buffers(&mut self, level: &BufferLevel) -> Buffers {
        let (count, size) = level.memory;
        Buffers {
            requests: level.requests,
            answers: level.answers,
            room: Room {
                memory: count.saturating_mul(size),
                file: level.file,
                folder: self.shared_folder(level.folder.as_ref()),
            },
            rate: level.rate.clone(),
        }
    }

    /// The same for all that have the same.
    fn shared_folder(&mut self, folder: Option<&SpoolFolder>) -> Arc<SpoolFolder> {
        let Some(folder) = folder else {
            return Arc::new(SpoolFolder::usual());
        };
        if let Some(known) = self.spools.iter().find(|known| ***known == *folder) {
            return Arc::clone(known);
        }
        let folder = Arc::new(folder.clone());
        self.spools.push(Arc::clone(&folder));
        folder
    }

    /// How much the temporary files of a server may hold.
    pub(super) fn quota(&mut self, block: &[Directive]) -> Option<Arc<Quota>> {
        let mut most = self.is_house().then_some(HOUSE_QUOTA);
        for directive in block {
            if directive.name.text == "trine_spool" {
                most = units::size(arg(directive, 0));
            }
        }
        most.map(|most| Arc::new(Quota::new(most)))
    }
}
