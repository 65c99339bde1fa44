//! The calls of the control API on groups and on the configuration: scale, rolling restart, plan.
//! Not here: what they do (`scale`, `rolling`, `plan`), the other calls (`control`).

use super::control::{Control, ending};
use super::plan::Plan;
use crate::config;
use crate::error::Error;
use trine_control::server::{Response, json};
use trine_control::{ActionResult, ProblemDocument};

impl Control {
    pub(super) async fn scale(
        &self,
        name: &str,
        count: Option<&str>,
    ) -> Result<Response, ProblemDocument> {
        let Some(count) = count.and_then(|count| count.parse::<u32>().ok()) else {
            return Err(ProblemDocument::new(400, "count is a number of processes"));
        };
        let name = name.to_owned();
        let group = name.clone();
        let problems = self
            .handle
            .carry_out(move |supervisor, reply| {
                let problems = supervisor.scale(&group, count)?;
                let _ = reply.send(problems);
                Ok(())
            })
            .await
            .map_err(ending)?;
        if !problems.is_empty() {
            let why = format!("{name}: {}", problems.join("; "));
            return Err(ProblemDocument::new(409, why));
        }
        Ok(done(format!("{name}: {count} processes")))
    }

    pub(super) async fn rolling_restart(
        &self,
        name: &str,
        batch: Option<&str>,
    ) -> Result<Response, ProblemDocument> {
        let Ok(batch) = batch.unwrap_or("1").parse::<usize>() else {
            return Err(ProblemDocument::new(400, "batch is a number of processes"));
        };
        let name = name.to_owned();
        let group = name.clone();
        let outcome = self
            .handle
            .carry_out(move |supervisor, reply| supervisor.begin_rolling(&group, batch, reply))
            .await
            .map_err(ending)?;
        match outcome {
            Ok(count) => Ok(done(format!("{name}: restarted {count} processes"))),
            Err(why) => Err(ProblemDocument::new(
                409,
                format!("{name}: not all restarted: {why}"),
            )),
        }
    }

    pub(super) async fn plan(&self) -> Result<Response, ProblemDocument> {
        let plan = self
            .handle
            .look(
                |supervisor| match config::load(&supervisor.config.file, &supervisor.overrides) {
                    Ok(loaded) => supervisor.plan(&loaded.config),
                    Err(Error::Config(problems)) => Plan {
                        problems: problems.iter().map(ToString::to_string).collect(),
                        ..Plan::default()
                    },
                    Err(other) => Plan {
                        problems: vec![trine_service::exit::chain(&other)],
                        ..Plan::default()
                    },
                },
            )
            .await
            .map_err(ending)?;
        Ok(json(200, &plan))
    }
}

fn done(message: String) -> Response {
    json(
        200,
        &ActionResult {
            ok: true,
            message,
            programs: Vec::new(),
        },
    )
}
