//! What is on the screen, and what keys do to it. Pure: keys in, wishes out.
//! Not here: drawing (`view`), asking the supervisor (`mod`).

use std::collections::{BTreeMap, VecDeque};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use trine_control::message::ProgramStatus;

use super::figures::Usage;

/// Lines of a log that are kept to look at.
const LOG_LINES: usize = 2000;

#[derive(Debug, Default)]
pub(crate) struct App {
    pub(crate) programs: Vec<ProgramStatus>,
    pub(crate) usage: BTreeMap<u32, Usage>,
    pub(crate) selected: usize,
    pub(crate) log: VecDeque<String>,
    /// The beginning of a line whose end has not come.
    rest: Vec<u8>,
    /// What happened last.
    pub(crate) message: String,
    /// The log pane has the whole screen.
    pub(crate) zoomed: bool,
}

/// What a key wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Nothing,
    Quit,
    /// `start`, `stop` or `restart`, and the program.
    Order(&'static str, String),
    /// Another program's log.
    Follow,
}

impl App {
    pub(crate) fn pressed(&mut self, key: KeyEvent) -> Wish {
        let last = self.programs.len().saturating_sub(1);
        let before = self.selected;
        match (key.code, key.modifiers.contains(KeyModifiers::CONTROL)) {
            (KeyCode::Char('q') | KeyCode::Esc, false) | (KeyCode::Char('c'), true) => {
                return Wish::Quit;
            }
            (KeyCode::Down | KeyCode::Char('j'), _) => self.selected = (before + 1).min(last),
            (KeyCode::Up | KeyCode::Char('k'), _) => self.selected = before.saturating_sub(1),
            (KeyCode::Home | KeyCode::Char('g'), _) => self.selected = 0,
            (KeyCode::End | KeyCode::Char('G'), _) => self.selected = last,
            (KeyCode::Enter | KeyCode::Char('l'), _) => self.zoomed = !self.zoomed,
            (KeyCode::Char('s'), false) => return self.order("start"),
            (KeyCode::Char('x'), false) => return self.order("stop"),
            (KeyCode::Char('r'), false) => return self.order("restart"),
            _ => {}
        }
        if self.selected == before {
            Wish::Nothing
        } else {
            Wish::Follow
        }
    }

    fn order(&mut self, verb: &'static str) -> Wish {
        match self.name() {
            Some(name) => {
                self.message = format!("{name}: {verb} …");
                Wish::Order(verb, name)
            }
            None => Wish::Nothing,
        }
    }

    /// The selected program's name, as orders take it.
    pub(crate) fn name(&self) -> Option<String> {
        let program = self.programs.get(self.selected)?;
        Some(if program.name == program.group {
            program.name.clone()
        } else {
            format!("{}:{}", program.group, program.name)
        })
    }

    /// There are newer programs; the same one stays selected.
    pub(crate) fn take(&mut self, programs: Vec<ProgramStatus>) -> Wish {
        let name = self.name();
        self.programs = programs;
        let same = (0..self.programs.len()).find(|index| {
            self.selected = *index;
            self.name() == name
        });
        self.selected = same.unwrap_or(0);
        if same.is_some() {
            Wish::Nothing
        } else {
            Wish::Follow
        }
    }

    pub(crate) fn clear_log(&mut self) {
        self.log.clear();
        self.rest.clear();
    }

    /// More of the selected program's log.
    pub(crate) fn logged(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.log.push_back(printable(&line[..end]));
        }
        let too_many = self.log.len().saturating_sub(LOG_LINES);
        self.log.drain(..too_many);
    }
}

/// Without what a terminal would act upon.
fn printable(line: &[u8]) -> String {
    String::from_utf8_lossy(line)
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            c if c.is_control() => '·',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trine_control::message::ProgramState;

    fn program(group: &str, name: &str) -> ProgramStatus {
        ProgramStatus {
            name: name.into(),
            group: group.into(),
            state: ProgramState::Running,
            pid: None,
            uptime_ms: None,
            exit_code: None,
            restarts: 0,
            ready: true,
            description: String::new(),
            stdout_log: None,
            stderr_log: None,
        }
    }

    fn press(app: &mut App, key: char) -> Wish {
        app.pressed(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE))
    }

    #[test]
    fn keys_move_and_order() {
        let mut app = App::default();
        assert_eq!(press(&mut app, 'r'), Wish::Nothing, "there is nothing");
        app.take(vec![program("a", "a"), program("web", "web_00")]);
        assert_eq!(press(&mut app, 'k'), Wish::Nothing, "at the top");
        assert_eq!(press(&mut app, 'j'), Wish::Follow);
        assert_eq!(press(&mut app, 'j'), Wish::Nothing, "at the bottom");
        assert_eq!(
            press(&mut app, 'r'),
            Wish::Order("restart", "web:web_00".into())
        );
        // One more comes in front: the same one stays selected.
        let more = vec![
            program("a", "a"),
            program("b", "b"),
            program("web", "web_00"),
        ];
        assert_eq!(app.take(more), Wish::Nothing);
        assert_eq!(app.selected, 2);
        assert_eq!(
            app.take(vec![program("a", "a")]),
            Wish::Follow,
            "it is gone"
        );
        assert_eq!(press(&mut app, 'q'), Wish::Quit);
    }

    #[test]
    fn logs_are_cut_into_harmless_lines() {
        let mut app = App::default();
        app.logged(b"one\ntw");
        app.logged(b"o \x1b[31mred\n\xff");
        assert_eq!(app.log, ["one", "two ·[31mred"]);
        app.logged(&b"x\n".repeat(3000));
        assert_eq!(app.log.len(), LOG_LINES);
    }
}
