//! What has to be known of names before a configuration takes effect.
//!
//! In nginx's files a name is looked up once, and one that does not resolve refuses the file. A name that is followed is
//! waited for a moment, so that the first requests find servers; without an answer serving begins all the same. Not
//! here: following names (see `monitor`).

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::ask::{Asker, NameError};
use super::{Answer, Book, Question};
use crate::config::Config;
use crate::error::Error;

/// How long names that are followed may hold up a start.
const MOMENT: Duration = Duration::from_secs(2);

/// A question, and where the name stands if it has to be known.
type Wanted = (Question, Option<String>);

/// Looks up what is not known yet, and what is looked up with each configuration.
///
/// # Errors
/// A name that has to be known and is not.
pub(crate) fn look_up(config: &Config, book: &Book) -> Result<(), Error> {
    let all = wanted(config);
    let questions: Vec<_> = all.iter().map(|(question, _)| question.clone()).collect();
    book.keep(&questions);
    let open = all
        .into_iter()
        .filter(|(question, at)| at.is_some() || book.get(question).is_none());
    ask(open.collect(), book)
}

/// The same for a configuration that is only checked: what does not have to be known is not asked for.
pub(crate) fn check(config: &Config) -> Result<(), Error> {
    let mut all = wanted(config);
    all.retain(|(_, at)| at.is_some());
    ask(all, &Book::default())
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

fn ask(open: Vec<Wanted>, book: &Book) -> Result<(), Error> {
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
    let end = Instant::now() + MOMENT;
    let mut open = open;
    while !open.is_empty() {
        let needed = open.iter().any(|(_, at)| at.is_some());
        let left = end.saturating_duration_since(Instant::now());
        let next = if needed {
            answers.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            answers.recv_timeout(left)
        };
        let Ok((question, answer)) = next else { break };
        let Some(at) = open.iter().position(|(one, _)| *one == question) else {
            continue;
        };
        let (question, at) = open.swap_remove(at);
        match (answer, at) {
            (Ok(answer), _) => _ = book.put(question, answer.addresses),
            (Err(error), Some(at)) => {
                let source = Box::new(error);
                return Err(Error::Name { at, source });
            }
            (Err(error), None) => {
                tracing::warn!(name = %question.name, "cannot be resolved yet: {error}");
            }
        }
    }
    Ok(())
}
