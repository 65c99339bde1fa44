//! `trine top`: programs with what they use, and the log of one of them, live.
//! Not here: what is drawn (`view`), what keys mean (`app`), /proc (`figures`).

mod app;
mod figures;
mod view;

use std::time::Duration;

use anyhow::Context as _;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::mpsc;
use trine_control::client::Chunks;
use trine_service::exit::Exit;

use self::app::{App, Wish};
use self::figures::Figures;
use crate::supervisor::Supervisor;

/// How often processes are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How long a log that ended, or a supervisor that does not answer, is left alone.
const AGAIN: Duration = Duration::from_millis(500);
/// Lines of a log to begin with.
const TAIL: usize = 200;

pub(crate) async fn run(supervisor: Supervisor) -> anyhow::Result<Exit> {
    // Fails here, with a plain message, if there is nobody to ask.
    let programs = supervisor.programs().await?;
    let mut terminal = ratatui::try_init().context("this needs a terminal")?;
    let outcome = live(&supervisor, programs, &mut terminal).await;
    ratatui::restore();
    outcome.map(|()| Exit::Ok)
}

async fn live(
    supervisor: &Supervisor,
    programs: Vec<trine_control::message::ProgramStatus>,
    terminal: &mut ratatui::DefaultTerminal,
) -> anyhow::Result<()> {
    let mut keys = keys();
    let mut figures = Figures::new();
    let mut app = App::default();
    let (told, mut done) = mpsc::unbounded_channel::<String>();
    let mut log: Option<Chunks> = None;
    let mut wish = app.take(programs);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut log_again = tokio::time::interval(AGAIN);
    loop {
        match std::mem::replace(&mut wish, Wish::Nothing) {
            Wish::Nothing => {}
            Wish::Quit => return Ok(()),
            Wish::Follow => {
                log = None;
                app.clear_log();
                log_again.reset_immediately();
            }
            Wish::Order(verb, name) => {
                let (supervisor, told) = (supervisor.clone(), told.clone());
                // The screen goes on meanwhile.
                tokio::task::spawn_local(async move {
                    let said = match supervisor.order(&name, verb).await {
                        Ok(result) => result.message,
                        Err(error) => format!("{name}: {error:#}"),
                    };
                    let _ = told.send(said);
                });
            }
        }
        terminal.draw(|frame| view::draw(&app, frame))?;
        tokio::select! {
            key = keys.recv() => match key {
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    wish = app.pressed(key);
                }
                Some(_) => {} // a new size: drawn anew anyway
            },
            Some(said) = done.recv() => app.message = said,
            _ = look.tick() => {
                if let Some(programs) = supervisor.programs_soon().await {
                    wish = app.take(programs);
                } else {
                    app.message = "the supervisor does not answer".to_owned();
                }
                let pids: Vec<u32> = app.programs.iter().filter_map(|one| one.pid).collect();
                app.usage = figures.look(&pids);
            }
            _ = log_again.tick(), if log.is_none() => {
                if let Some(name) = app.name() {
                    log = supervisor.follow(&name, TAIL).await;
                    app.clear_log();
                }
            }
            piece = next(&mut log) => match piece {
                Some(bytes) => app.logged(&bytes),
                None => log = None,
            },
        }
    }
}

async fn next(log: &mut Option<Chunks>) -> Option<bytes::Bytes> {
    match log {
        Some(log) => log.next().await.ok().flatten(),
        None => std::future::pending().await,
    }
}

/// Keys come from a thread of their own, which ends with the process.
fn keys() -> mpsc::UnboundedReceiver<Event> {
    let (send, keys) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if send.send(event).is_err() {
                return;
            }
        }
    });
    keys
}
