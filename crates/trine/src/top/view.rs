//! Drawing: a table of programs, the log of the selected one below it, a line of help.
//! Not here: what is drawn (`app`).

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};
use trine_control::message::{ProgramState, ProgramStatus};

use super::app::App;
use super::figures::Usage;

const HELP: &str = " ↑↓ select   s start   x stop   r restart   l log only   q quit";

pub(crate) fn draw(app: &App, frame: &mut Frame<'_>) {
    let table_height = if app.zoomed {
        Constraint::Length(0)
    } else {
        Constraint::Percentage(55)
    };
    let [table, log, help] =
        Layout::vertical([table_height, Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    if !app.zoomed {
        draw_table(app, frame, table);
    }
    draw_log(app, frame, log);
    let line = if app.message.is_empty() {
        HELP.to_owned()
    } else {
        format!("{HELP}   {}", app.message)
    };
    frame.render_widget(
        Line::styled(line, Style::new().add_modifier(Modifier::DIM)),
        help,
    );
}

fn draw_table(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let running = app
        .programs
        .iter()
        .filter(|program| program.state == ProgramState::Running)
        .count();
    let title = format!(" {running} of {} programs running ", app.programs.len());
    let head = Row::new(["PROGRAM", "STATE", "PID", "CPU", "MEMORY", "RESTARTS", ""])
        .style(Style::new().add_modifier(Modifier::BOLD));
    let rows = app.programs.iter().map(|program| row(app, program));
    let widths = [
        Constraint::Min(16),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Percentage(40),
    ];
    let table = Table::new(rows, widths)
        .header(head)
        .block(Block::new().borders(Borders::TOP).title(title))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    let mut state = TableState::new().with_selected(app.selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn row<'a>(app: &App, program: &'a ProgramStatus) -> Row<'a> {
    let name = if program.name == program.group {
        program.name.clone()
    } else {
        format!("{}:{}", program.group, program.name)
    };
    let usage = program.pid.and_then(|pid| app.usage.get(&pid));
    let state = Style::new().fg(colour(program.state));
    Row::new([
        Cell::new(name),
        Cell::new(program.state.to_string()).style(state),
        Cell::new(program.pid.map_or_else(String::new, |pid| pid.to_string())),
        Cell::new(usage.map_or_else(String::new, cpu)),
        Cell::new(usage.map_or_else(String::new, |usage| bytes(usage.memory_bytes))),
        Cell::new(program.restarts.to_string()),
        Cell::new(program.description.as_str()),
    ])
}

fn colour(state: ProgramState) -> Color {
    match state {
        ProgramState::Running => Color::Green,
        ProgramState::Starting | ProgramState::Stopping => Color::Yellow,
        ProgramState::Backoff | ProgramState::Fatal => Color::Red,
        _ => Color::Reset,
    }
}

fn cpu(usage: &Usage) -> String {
    format!("{:.1} %", usage.cpu_percent)
}

fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut amount = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if amount < 1000.0 {
            break;
        }
        amount /= 1024.0;
        unit = larger;
    }
    format!("{amount:.1} {unit}")
}

fn draw_log(app: &App, frame: &mut Frame<'_>, area: Rect) {
    let title = match app.name() {
        Some(name) => format!(" log of {name} "),
        None => " no programs ".to_owned(),
    };
    let height = usize::from(area.height.saturating_sub(1));
    let from = app.log.len().saturating_sub(height);
    let lines: Vec<Line<'_>> = app
        .log
        .range(from..)
        .map(|line| line.as_str().into())
        .collect();
    let block = Block::new().borders(Borders::TOP).title(title);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(bytes(512), "0.5 KiB");
        assert_eq!(bytes(20 << 20), "20.0 MiB");
        assert_eq!(bytes(3 << 30), "3.0 GiB");
    }
}
