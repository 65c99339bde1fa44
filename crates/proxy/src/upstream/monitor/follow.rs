//! Following names: asks for the addresses of an upstream's servers again whenever the last answer has run out.
//!
//! A name that does not resolve any more keeps its last addresses, and is asked for again soon. Not here: asking (see
//! `names::ask`), or what the servers are by the answers (see `names`).

use std::time::{Duration, Instant};

use trine_service::exit::chain;

use super::Fresh;
use crate::upstream::names::Question;
use crate::upstream::names::ask::Asker;

/// A name is not asked for more often, whatever its answers say.
const SHORTEST: Duration = Duration::from_secs(1);

/// A name that is followed.
struct Followed {
    question: Question,
    due: Instant,
    failing: bool,
    asked: bool,
}

/// Follows the names of an upstream for as long as it is polled.
pub(super) async fn follow(fresh: &Fresh<'_>) {
    let (upstream, fleet) = (fresh.upstream, fresh.fleet);
    let asker = match Asker::new(upstream.names.as_ref()) {
        Ok(asker) => asker,
        Err(error) => {
            tracing::error!(upstream = %upstream.name, "names are not followed: {}", chain(&error));
            fleet.asked(fresh.index);
            return;
        }
    };
    let mut all: Vec<Followed> = Vec::new();
    for server in upstream.servers.iter().filter(|server| server.resolve) {
        if let Some(question) = Question::about(server, upstream)
            && !all.iter().any(|one| one.question == question)
        {
            all.push(Followed {
                question,
                due: Instant::now(),
                failing: false,
                asked: false,
            });
        }
    }
    while let Some(next) = all.iter_mut().min_by_key(|one| one.due) {
        tokio::time::sleep_until(next.due.into()).await;
        let name = &next.question.name;
        match asker.ask(&next.question).await {
            Ok(answer) => {
                next.due = Instant::now() + answer.valid.max(SHORTEST);
                if std::mem::take(&mut next.failing) {
                    tracing::info!(upstream = %upstream.name, %name, "resolves again");
                }
                fleet.names.put(next.question.clone(), answer.addresses);
            }
            Err(error) => {
                next.due = Instant::now() + SHORTEST;
                let is_known = fleet.names.get(&next.question).is_some();
                if !std::mem::replace(&mut next.failing, true) {
                    let what = match is_known {
                        true => "cannot be resolved, its last addresses go on",
                        false => "cannot be resolved yet",
                    };
                    tracing::error!(upstream = %upstream.name, %name, "{what}: {}", chain(&error));
                }
            }
        }
        let is_first = !std::mem::replace(&mut next.asked, true);
        fresh.servers().await;
        if is_first && all.iter().all(|one| one.asked) {
            fleet.asked(fresh.index);
        }
    }
}
