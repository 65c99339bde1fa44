//! What has to be known of names before a configuration takes effect, and requests that come before the rest is known.
//!
//! In nginx's files a name is looked up once, and one that does not resolve refuses the file. A name that is followed holds
//! nothing up: serving begins at once, and requests for its servers wait for the first answer. Not here: following names
//! (see `monitor`).

use std::sync::mpsc::channel;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::ask::{Asker, NameError};
use super::{Answer, Book, Question};
use crate::config::Config;
use crate::error::Error;
use crate::upstream::Group;

/// A question, and where the name stands if it has to be known.
type Wanted = (Question, Option<String>);

/// Looks up what is looked up with each configuration.
///
/// # Errors
/// A name that has to be known and is not.
pub(crate) fn look_up(config: &Config, book: &Book) -> Result<(), Error> {
    let all = wanted(config);
    let questions: Vec<_> = all.iter().map(|(question, _)| question.clone()).collect();
    book.keep(&questions);
    ask(all, book)
}

/// The same for a configuration that is only checked.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    ask(wanted(config), &Book::default())
}

impl Group {
    /// Nothing is known of its servers yet, but somebody is asking: waits for the answer, for so long at most. Returns whether
    /// another group is there in its place.
    pub(crate) async fn learn_names(&self, patience: Duration) -> bool {
        let line = &self.squad.line;
        if !self.squad.servers.is_empty() || !line.is_asking() {
            return self.retired.get();
        }
        let learned = line.until(|| match (self.retired.get(), line.is_asking()) {
            (true, _) => Some(true),
            (false, true) => None,
            (false, false) => Some(false),
        });
        tokio::time::timeout(patience, learned)
            .await
            .unwrap_or(false)
    }
}

fn wanted(config: &Config) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for upstream in &config.upstreams {
        for server in &upstream.servers {
            let at = (!server.resolve).then(|| format!("{}\" in {}", server.text, server.at));
            let question = Question::about(server, upstream);
            let wanted = question.map(|question| (question, at));
            let is_new = |one: &Wanted| !all.iter().any(|known| known.0 == one.0);
            all.extend(wanted.filter(is_new));
        }
    }
    all
}

/// Asks for those that have to be known.
fn ask(all: Vec<Wanted>, book: &Book) -> Result<(), Error> {
    let needed = |(question, at): Wanted| Some((question, at?));
    let mut open: Vec<(Question, String)> = all.into_iter().filter_map(needed).collect();
    if open.is_empty() {
        return Ok(());
    }
    let questions: Vec<_> = open.iter().map(|(question, _)| question.clone()).collect();
    let (results, answers) = channel::<(Question, Result<Answer, NameError>)>();
    // It may go on asking when nobody waits any more.
    let started = std::thread::Builder::new()
        .name("names".to_owned())
        .spawn(move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async move {
                let mut tasks = JoinSet::new();
                for question in questions {
                    let results = results.clone();
                    tasks.spawn(async move {
                        let answer = match Asker::new(question.rules.as_ref()) {
                            Ok(asker) => asker.ask(&question).await,
                            Err(error) => Err(error),
                        };
                        // Nobody may be waiting any more.
                        let _ = results.send((question, answer));
                    });
                }
                drop(results);
                while tasks.join_next().await.is_some() {}
            });
            runtime.shutdown_background();
        });
    started.map_err(Error::Runtime)?;
    while !open.is_empty() {
        let Ok((question, answer)) = answers.recv() else {
            break;
        };
        let Some(at) = open.iter().position(|(one, _)| *one == question) else {
            continue;
        };
        let (question, at) = open.swap_remove(at);
        match answer {
            Ok(answer) => _ = book.put(question, answer.addresses),
            Err(error) => {
                let source = Box::new(error);
                return Err(Error::Name { at, source });
            }
        }
    }
    Ok(())
}
