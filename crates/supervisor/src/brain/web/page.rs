//! The HTML of the page, every foreign text escaped. Not here: style and script, which are files beside this one.

use super::form::encode;
use crate::brain::process::Process;
use crate::brain::rpc::info;
use crate::holder::wire::Channel;
use crate::program::state::Code;
use std::fmt::Write as _;

/// One process.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) group: String,
    pub(super) name: String,
    id: String,
    code: Code,
    description: String,
    restarts: u64,
    is_up: bool,
}

impl Row {
    pub(super) fn of(process: &Process) -> Self {
        let record = &process.record;
        Self {
            group: record.settings.group.clone(),
            name: record.settings.name.clone(),
            id: record.settings.id(),
            code: process.code(),
            description: info::description(process, jiff::Timestamp::now()),
            restarts: record.restarts,
            is_up: !record.life.at_rest(),
        }
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn frame(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/style.css\">\n<script src=\"/page.js\" defer></script>\n</head>\n\
         <body>\n{body}</body>\n</html>\n",
        title = escape(title)
    )
}

fn button(action: &str, id: Option<&str>, label: &str, spoken: &str, enabled: bool) -> String {
    let name = id.map_or_else(String::new, |id| {
        format!(
            "<input type=\"hidden\" name=\"name\" value=\"{}\">",
            escape(id)
        )
    });
    format!(
        "<form method=\"post\" action=\"/action\">{name}<button name=\"action\" value=\"{action}\" \
         aria-label=\"{}\"{}>{label}</button></form>",
        escape(spoken),
        if enabled { "" } else { " disabled" }
    )
}

/// The rows of the table alone, for a page that follows what happens.
pub(super) fn rows(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let (id, state) = (&row.id, row.code.name());
        let link = |channel: &str| {
            format!(
                "<a href=\"/log?name={}&amp;channel={channel}\" aria-label=\"{channel} of {}\">{channel}</a>",
                encode(id),
                escape(id)
            )
        };
        let up = |action: &str, label: &str, enabled: bool| {
            button(action, Some(id), label, &format!("{label} {id}"), enabled)
        };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td><span class=\"state {}\">{state}</span></td><td>{}</td>\
             <td class=\"number\">{}</td><td class=\"links\">{} {}</td><td class=\"actions\">{}{}{}{}</td></tr>",
            escape(id),
            state.to_lowercase(),
            escape(&row.description),
            row.restarts,
            link("stdout"),
            link("stderr"),
            up("start", "Start", !row.is_up),
            up("stop", "Stop", row.is_up),
            up("restart", "Restart", true),
            up("clearlog", "Clear log", true),
        );
    }
    out
}

pub(super) fn index(identifier: &str, all: &[Row], message: Option<&str>) -> String {
    let running = all.iter().filter(|row| row.code == Code::Running).count();
    let message = match message {
        None | Some("") => String::new(),
        // What was done is one of our own words; a reason has its own punctuation.
        Some(text) => escape(text),
    };
    let body = format!(
        "<header><h1>{identifier}</h1><p id=\"summary\">{running} of {} running</p></header>\n<main>\n\
         <p id=\"message\" role=\"status\" aria-live=\"polite\">{message}</p>\n\
         <nav aria-label=\"All programs\"><a class=\"button\" href=\"/\">Refresh</a>{}{}{}</nav>\n\
         <div class=\"scroll\"><table>\n<caption>Programs</caption>\n<thead><tr><th scope=\"col\">Name</th>\
         <th scope=\"col\">State</th><th scope=\"col\">Description</th><th scope=\"col\">Restarts</th>\
         <th scope=\"col\">Logs</th><th scope=\"col\">Actions</th></tr></thead>\n<tbody id=\"programs\">\n{}</tbody>\n\
         </table></div>\n<section id=\"events\" hidden aria-labelledby=\"events-title\"><h2 id=\"events-title\">Events</h2>\
         <ol></ol></section>\n</main>\n",
        all.len(),
        button("startall", None, "Start all", "Start all programs", true),
        button("stopall", None, "Stop all", "Stop all programs", true),
        button(
            "restartall",
            None,
            "Restart all",
            "Restart all programs",
            true
        ),
        rows(all),
        identifier = escape(identifier),
    );
    frame(identifier, &body)
}

/// What the page of a log shows.
#[derive(Debug)]
pub(super) struct LogPage<'a> {
    pub(super) name: &'a str,
    pub(super) channel: Channel,
    /// `None`: there is no log.
    pub(super) content: Option<&'a str>,
    pub(super) limit: u64,
}

pub(super) fn log(page: &LogPage<'_>) -> String {
    let (name, channel) = (page.name, page.channel.name());
    let content = match page.content {
        Some(content) => format!(
            "<pre id=\"log\" tabindex=\"0\" aria-label=\"Log\" data-follow=\"/logtail/{}/{channel}\">{}</pre>",
            encode(name),
            escape(content)
        ),
        None => "<p>There is no such log.</p>".to_owned(),
    };
    let more = (page.limit * 4).min(super::MOST_LOG_BYTES);
    let body = format!(
        "<header><h1>{} <small>{channel}</small></h1></header>\n<main>\n<nav aria-label=\"Log\">\
         <a class=\"button\" href=\"/\">All programs</a> <a class=\"button\" href=\"/log?name={}&amp;channel={channel}\">Refresh</a> \
         <a class=\"button\" href=\"/log?name={}&amp;channel={channel}&amp;limit={more}\">More</a> \
         <label hidden id=\"follow\"><input type=\"checkbox\"> Follow</label></nav>\n{content}\n</main>\n",
        escape(name),
        encode(name),
        encode(name),
    );
    frame(&format!("{name} {channel}"), &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        let row = Row {
            group: "g".to_owned(),
            name: "n".to_owned(),
            id: "g:<b>\"'&".to_owned(),
            code: Code::Fatal,
            description: "<script>alert(1)</script>".to_owned(),
            restarts: 3,
            is_up: false,
        };
        let page = index("<i>", &[row], Some("</p><script>"));
        assert!(!page.contains("<script>"), "{page}");
        assert!(!page.contains("<b>") && !page.contains("<i>"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
        assert!(page.contains("name=\"name\" value=\"g:&lt;b&gt;&quot;&#39;&amp;\""));
        assert!(page.contains("aria-label=\"Stop g:&lt;b&gt;&quot;&#39;&amp;\" disabled"));
        let page = log(&LogPage {
            name: "a/b",
            channel: Channel::Stderr,
            content: Some("</pre><script>"),
            limit: 1024,
        });
        assert!(
            !page.contains("<script>") && page.contains("/logtail/a%2Fb/stderr"),
            "{page}"
        );
    }
}
